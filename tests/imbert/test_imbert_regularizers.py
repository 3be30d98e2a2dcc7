"""[train.regularizer]: what it takes, that it is part of a run and nothing changes without it, and
that a new kind is a class, a line and its options.
"""

import dataclasses
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from regularized import EXACT, STEPS, UNROLLED, gradients, penalised, regularization
from tiny_classifiers import LinearModel
from tiny_models import implicit, plain
from tiny_runs import tiny_run
from torch import Tensor

import odestab.adjoint.implicit as implicit_adjoint
from imbert.data.tasks import Examples, task
from imbert.model.solver_log import LayerBatch
from imbert.records import LogEntry, Losses, Training
from imbert.study.plan import study_config
from imbert.toml_tables import section
from imbert.training.regularizers.chance import no_better_than_chance
from imbert.training.regularizers.choice import RegularizerChoice
from imbert.training.regularizers.registry import NEEDED, REGULARIZERS, markdown
from imbert.training.regularizers.regularizer import AbstractRegularizer
from imbert.training.run_config import RunConfig, TrainChoice, run_config
from imbert.training.trainer_arguments import trainer_arguments

DOCS = Path(__file__).parents[2] / "docs"
GIVEN: dict[str, dict[str, Any]] = {  # what each kind must be told
    name: {"kind": name, **({"strength": 0.5} if kind.options.get("strength") is NEEDED else {})}
    for name, kind in REGULARIZERS.items()
}


def run_with(regularizer: Any, **tables: Any) -> RunConfig:
    train = {"regularizer": regularizer, **tables.pop("train", {})}
    return run_config({"train": train, **tables})


@pytest.mark.parametrize("name", REGULARIZERS)
def test_a_line_of_the_registry_says_what_its_class_takes(name: str) -> None:
    kind = REGULARIZERS[name]
    regularizer = kind.load()
    assert issubclass(regularizer, AbstractRegularizer)
    assert {field.name for field in dataclasses.fields(regularizer)} == {*kind.options}
    assert {*kind.options} <= {*RegularizerChoice.__struct_fields__}
    choice = run_with(GIVEN[name]).train.regularizer
    assert choice is not None
    assert isinstance(choice.regularizer(), regularizer)


def test_the_documentation_has_the_table_of_the_registry() -> None:
    text = (DOCS / "how-to" / "regularizers.md").read_text(encoding="utf-8")
    assert markdown() in text


@pytest.mark.parametrize("name", REGULARIZERS)
def test_a_regularizer_is_part_of_the_run(name: str) -> None:
    run = run_with(GIVEN[name])
    assert run.digest != RunConfig().digest and run_config(run.as_dict()) == run
    recorded = run.as_dict()["train"]["regularizer"]
    # what was used stands there, also where it was not said
    assert set(recorded) == {"kind", *REGULARIZERS[name].options}
    assert run_with(recorded).digest == run.digest


def test_a_run_without_one_is_what_it_was() -> None:
    assert "regularizer" not in RunConfig().as_dict()["train"]
    first = "1f85ce8a6dd88f52f4a6f7271bb5de8d3fe8b4df8b0e7393c2f7de52e2ff3988"
    assert RunConfig().digest == run_config({"train": {"seed": 0}}).digest == first


@pytest.mark.parametrize(
    ("regularizer", "said"),
    [
        (
            {},
            r"\.kind must be one of margin-gradient, monotone, .*, r3f, none, got ''",
        ),
        ({"kind": "magic"}, r"\.kind must be one of .*, got 'magic'"),
        ({"kind": "r3f", "power": 1}, r"\]: expected keys among kind, strength, .*, got power"),
        (3, " must be a table, got 3"),
        ({"kind": "monotone"}, r"\.strength must be given for kind 'monotone', got none"),
        ({"kind": "freelb", "strength": 1.0}, r"\.strength means nothing for kind 'freelb': "),
        ({"kind": "r3f", "layers": [1]}, r"\.layers means nothing for kind 'r3f': "),
        ({"kind": "r3f", "strength": -0.1}, r"\.strength must be >= 0, got -0.1"),
        ({"kind": "r3f", "strength": math.nan}, r"\.strength must be a finite number, got nan"),
        ({"kind": "r3f", "strength": True}, r"\.strength must be a finite number, got True"),
        ({"kind": "r3f", "noise": "pink"}, r"\.noise must be one of uniform, normal, got 'pink'"),
        ({"kind": "r3f", "scale": -1}, r"\.scale must be >= 0, got -1"),
        ({"kind": "freelb", "steps": 0}, r"\.steps must be >= 1 and <= 100, got 0"),
        ({"kind": "freelb", "steps": 1.5}, r"\.steps must be a whole number, got 1.5"),
        ({"kind": "freelb", "step_size": 0}, r"\.step_size must be > 0, got 0"),
        ({"kind": "freelb", "radius": -1}, r"\.radius must be >= 0, got -1"),
        (
            {"kind": "consistency", "strength": 1, "edits": "words"},
            r"\.edits must be one of tokens, characters, got 'words'",
        ),
        ({"kind": "consistency", "strength": 1, "max_edits": 0}, r"\.max_edits must be >= 1"),
        ({"kind": "monotone", "strength": 1, "layers": []}, r"\.layers must be .*, got \[\]"),
        ({"kind": "monotone", "strength": 1, "layers": [1, 1]}, r"\.layers must .*, got \[1, 1\]"),
        ({"kind": "monotone", "strength": 1, "layers": [-1]}, r"\.layers must be .*, got \[-1\]"),
        ({"kind": "monotone", "strength": 1, "bound": "0"}, r"\.bound must be a finite number"),
    ],
)
def test_what_is_wrong_is_named_in_a_line(regularizer: Any, said: str) -> None:
    with pytest.raises(ValueError, match=rf"train\.regularizer{said}") as raised:
        run_with(regularizer)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 200


def test_every_numeric_option_is_held_to_be_finite_in_python_too() -> None:
    numeric = {"strength": "r3f", "scale": "r3f", "radius": "freelb", "step_size": "freelb"}
    for name, kind in {**numeric, "bound": "monotone"}.items():
        options = {**GIVEN[kind], name: math.inf}
        with pytest.raises(ValueError, match=rf"train\.regularizer\.{name} must be .*, got inf"):
            RegularizerChoice(**options)


@pytest.mark.parametrize("name", REGULARIZERS)
def test_bfloat16_is_refused(name: str) -> None:
    said = "train.precision must be 'float32' with a regularizer, .*, got 'bfloat16'"
    with pytest.raises(ValueError, match=said):
        run_with(GIVEN[name], train={"precision": "bfloat16"})


@pytest.mark.parametrize("data", [{"task": "stsb"}, {"regression": True, "text_column": "text"}])
def test_a_regression_has_no_margin_and_no_probabilities(data: dict[str, Any]) -> None:
    for name, kind in REGULARIZERS.items():
        if not kind.classes:
            assert run_with(GIVEN[name], data=data).train.regularizer is not None
            continue
        said = rf"kind = '{name}' needs a task with classes, got a regression"
        with pytest.raises(ValueError, match=said):
            run_with(GIVEN[name], data=data)


@pytest.mark.parametrize("name", REGULARIZERS)
def test_a_model_must_take_embeddings_where_they_are_perturbed(name: str) -> None:
    class OfIds(torch.nn.Module):
        """A classifier that takes token ids alone."""

        config = LinearModel(4).config

        def forward(self, input_ids: Any = None, attention_mask: Any = None) -> None: ...

    OfIds.config.num_hidden_layers = 2
    regularizer = RegularizerChoice(**GIVEN[name]).regularizer()
    if not regularizer.perturbs_embeddings:
        regularizer.require(OfIds())
        return
    with pytest.raises(ValueError, match="whose forward takes inputs_embeds, got OfIds"):
        regularizer.require(OfIds())


def test_several_processes_are_refused(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    run = tiny_run(tiny_folder, train={"regularizer": {"kind": "r3f"}})
    with pytest.raises(ValueError, match=r"train\.regularizer: expected one process, got 2"):
        trainer_arguments(run, tmp_path)


def test_a_study_gives_each_model_its_own() -> None:
    own = {"train": {"regularizer": {"kind": "monotone", "strength": 0.1, "layers": [0, 1]}}}
    study = study_config(
        {"study": {}, "models": {"bert": {}, "monotone": {"kind": "im-bert", **own}}}
    )
    runs = {cell.model: cell.run for cell in study.cells()}
    assert runs["bert"].train.regularizer is None
    assert runs["monotone"].train.regularizer == RegularizerChoice(
        "monotone", strength=0.1, layers=(0, 1)
    )
    with pytest.raises(ValueError, match=r"models\.r3f: train\.regularizer\.scale must be >= 0"):
        own = {"train": {"regularizer": {"kind": "r3f", "scale": -1}}}
        study_config({"study": {}, "models": {"bert": {}, "r3f": own}})


def test_a_model_of_a_study_is_trained_without_the_shared_one() -> None:
    shared = {"regularizer": {"kind": "r3f"}}
    own = {"train": {"regularizer": {"kind": "none"}}}
    study = study_config({"study": {}, "train": shared, "models": {"bert": own, "r3f": {}}})
    runs = {cell.model: cell.run for cell in study.cells()}
    assert runs["bert"].train.regularizer is None and runs["r3f"].train.regularizer is not None
    assert run_with({"kind": "none"}).digest == RunConfig().digest
    with pytest.raises(ValueError, match=r"\.scale means nothing for kind 'none': .* none, got 1"):
        run_with({"kind": "none", "scale": 1})


def test_a_list_of_layers_is_a_tuple() -> None:
    layers: Any = [0, 1]
    choice = RegularizerChoice("monotone", strength=1.0, layers=layers)
    assert choice == RegularizerChoice("monotone", strength=1.0, layers=(0, 1))
    with pytest.raises(ValueError, match=r"layers must be different indices >= 0, at least one"):
        RegularizerChoice("monotone", strength=1.0, layers=[])  # type: ignore[arg-type]


def test_the_gradient_s_solves_that_are_logged_are_those_of_the_text_as_it_is(
    tiny_folder: Path, quiet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a penalty of next to nothing the edited pass has a gradient of next to nothing."""
    sizes: list[float] = []
    solve = implicit_adjoint.solve_linear

    def watched(product: Any, gradient: Tensor, *arguments: Any, **options: Any) -> Any:
        sizes.append(float(gradient.norm()))
        return solve(product, gradient, *arguments, **options)

    monkeypatch.setattr(implicit_adjoint, "solve_linear", watched)
    for kind in ("consistency", "monotone", "r3f"):
        sizes.clear()
        model = implicit(tiny_folder, **{**STEPS, "adjoint": EXACT}).double().train()
        penalised(regularization(tiny_folder, kind, strength=1e-12), model).backward()
        half = len(sizes) // 2
        assert len(sizes) == 4 and max(sizes[:half]) < 1e-6 * min(sizes[half:])


def test_each_pass_of_freelb_logs_the_solves_of_its_gradient(
    tiny_folder: Path, quiet: None
) -> None:
    model = implicit(tiny_folder, **{**STEPS, "adjoint": EXACT}).double().train()
    logged: list[list[LayerBatch]] = []
    working = regularization(tiny_folder, "freelb", steps=3)
    loss = penalised(working, model, log_solves=logged.append)
    assert [[layer.adjoint is not None for layer in layers] for layers in logged] == [
        [True] * 2
    ] * 2
    logged.clear()
    penalised(
        regularization(tiny_folder, "consistency", strength=1.0),
        model,
        None,
        3,
        log_solves=logged.append,
    )
    # an older pass's gradient is not this one's
    assert [[layer.adjoint for layer in layers] for layers in logged] == [[None] * 2]
    assert loss.isfinite()


def test_a_table_inside_a_table_is_a_record() -> None:
    made = section("train", TrainChoice, {"regularizer": {"kind": "freelb", "radius": 1}})
    assert made.regularizer == RegularizerChoice("freelb", radius=1.0)


@pytest.mark.parametrize("kind", ["bert", "im-bert"])
@pytest.mark.parametrize("name", REGULARIZERS)
def test_the_passes_are_those_that_are_counted(
    name: str, kind: str, tiny_folder: Path, quiet: None
) -> None:
    model = plain(tiny_folder) if kind == "bert" else implicit(tiny_folder, **STEPS)
    if name == "margin-gradient" and kind == "im-bert":
        model = implicit(tiny_folder, **{**STEPS, "adjoint": UNROLLED})
    calls = dict.fromkeys(("forward", "backward"), 0)

    def count(way: str) -> Callable[..., None]:
        def hook(*_: object) -> None:
            calls[way] += 1

        return hook

    model.register_forward_hook(count("forward"))
    model.bert.encoder.layer[1].register_full_backward_pre_hook(count("backward"))
    options = {option: value for option, value in GIVEN[name].items() if option != "kind"}
    working = regularization(tiny_folder, name, **options)
    # in float64, where the solver reaches its tolerance
    penalised(working, model.double().train()).backward()
    summary = working.summary()
    assert calls["forward"] == 1 + summary.forward_passes
    # hooks do not see the derivative of a gradient, which is one of its two passes
    unseen = 1 if name == "margin-gradient" else 0
    assert calls["backward"] + unseen == 1 + summary.backward_passes


@pytest.mark.parametrize("name", REGULARIZERS)
def test_accumulated_micro_batches_are_one_batch(name: str, tiny_folder: Path, quiet: None) -> None:
    """Without dropout the penalty of a batch is the mean over its examples, however it is cut."""
    model = plain(tiny_folder).double()
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "dropout") and isinstance(module.dropout, float):
            module.dropout = 0.0
    options = {option: value for option, value in GIVEN[name].items() if option != "kind"}
    taken = []
    for parts in ([[0, 1, 2, 3]], [[0, 1], [2, 3]]):
        model.zero_grad()
        working = regularization(tiny_folder, name, **options)
        scale = len(parts)
        for chosen in parts:
            loss = penalised(
                working, model, chosen, backward=lambda part, scale=scale: (part / scale).backward()
            )
            found = gradients(model, loss / scale)
        taken.append(found)
    torch.testing.assert_close(taken[0], taken[1], rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(("accuracy", "warned"), [(0.5, True), (0.625, True), (0.75, False)])
def test_a_model_no_better_than_the_commonest_class_is_told_of(
    accuracy: float, warned: bool
) -> None:
    labels = [1, 1, 1, 1, 1, 0, 0, 0]
    texts = (("a",),) * 8
    validation = Examples(task("sst2"), texts, labels, tuple("12345678"), "made")
    losses = Losses(0.7, [], 0.0, 0.0, accuracy=accuracy)
    log = [LogEntry(3, 1.0, None, losses), LogEntry(6, 2.0, None, Losses(0.7, [], 0.0, 0.0))]
    training = Training(log, 6, 3, False, 1, {}, "cpu", 1)
    told = no_better_than_chance(run_with({"kind": "r3f"}), training, validation)
    assert bool(told) == warned
    if warned:
        said = rf"regularizer r3f: validation accuracy {accuracy:.1%} .* 62\.5% of the commonest"
        assert re.match(said, told[0])
    assert no_better_than_chance(RunConfig(), training, validation) == []
