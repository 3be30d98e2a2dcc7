"""λ Σ softplus(a_l − c): the ratios are those of the library's secants, at the end of an implicit
step, and the gradient is that of differences.
"""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from regularized import EXACT, STEPS, batch_of, penalised, regularization
from regularized import require_gradient as require
from tiny_models import implicit, plain
from torch import Tensor

import odestab as od
from imbert.training.regularizers.monotone import Monotone

STRENGTH = 0.5
MODELS: dict[str, dict[str, Any] | None] = {
    "bert": None,
    "im-bert": {**STEPS, "adjoint": EXACT},
    "learnt": {**STEPS, "adjoint": EXACT, "learn_step_size": True},
    "explicit": {"implicit_layers": [1], "method": "explicit_euler", "step_size": 0.5},
}


def model_of(folder: Path, name: str) -> Any:
    options = MODELS[name]
    return (plain(folder) if options is None else implicit(folder, **options)).double()


@pytest.mark.parametrize("name", MODELS)
def test_the_gradient_is_that_of_differences(name: str, tiny_folder: Path, quiet: None) -> None:
    model = model_of(tiny_folder, name).train()
    working = regularization(tiny_folder, "monotone", strength=STRENGTH, bound=-0.5)
    working.regularizer.require(model)
    require(model, lambda: penalised(working, model))


def states(model: Any, batch: dict[str, Tensor]) -> tuple[Tensor, ...]:
    rest = {name: value for name, value in batch.items() if name != "labels"}
    with torch.no_grad():
        return model(**rest, output_hidden_states=True).hidden_states


@pytest.mark.parametrize("name", ["bert", "im-bert"])
def test_ratios_are_those_of_the_secants(name: str, tiny_folder: Path, quiet: None) -> None:
    """Identity: od.secants evaluates the layers, the regularizer only looks at where steps end."""
    model = model_of(tiny_folder, name).eval()
    working = regularization(tiny_folder, "monotone", strength=STRENGTH)
    batch = batch_of(working.rows, list(range(4)))
    del batch["labels"]
    edited = {**batch, "input_ids": batch["input_ids"].clone()}
    edited["input_ids"][:, 2] = 14
    mask = batch["attention_mask"].bool()
    assert isinstance(working.regularizer, Monotone)
    ratios = working.regularizer.ratios(model, states(model, batch), states(model, edited), mask)
    bert = plain(tiny_folder).double().eval()
    step = od.ImplicitEuler(0.25, solver=od.NewtonKrylov(rtol=1e-13))
    methods = [od.ExplicitEuler(1.0), *((step, step) if name == "im-bert" else ())]
    methods += [od.ExplicitEuler(1.0)] * (3 - len(methods))
    traces = [od.trace(bert.bert, part) for part in (batch, edited)]
    expected = od.secants(*traces, methods).points.real
    # the solver's tolerance over the size of δ, which is a hundredth of the states' or more
    torch.testing.assert_close(ratios, expected, rtol=1e-9, atol=1e-9)


def test_layers_are_chosen_and_counted(tiny_folder: Path, quiet: None) -> None:
    model = plain(tiny_folder).double().eval()
    values = []
    for layers in ((0,), (1, 2), None):
        working = regularization(tiny_folder, "monotone", strength=STRENGTH, layers=layers)
        penalised(working, model)
        values.append(working.summary().value)
    assert values[0] + values[1] == pytest.approx(values[2])


def test_pairs_without_an_edit_count_as_nothing(tiny_folder: Path, quiet: None) -> None:
    model = plain(tiny_folder).train()
    working = regularization(tiny_folder, "monotone", strength=STRENGTH)
    working._vocabulary = working._vocabulary[:0]  # there is no token to put in
    working.rows.texts = ((" ",),) * 4
    working.rows.encoded = working.rows.tokenized(working.rows.texts)
    loss = penalised(working, model)
    loss.backward()
    summary = working.summary()
    assert summary.value == 0.0 and summary.edited == 0.0 and math.isfinite(float(loss.detach()))
    assert all(
        parameter.grad.isfinite().all()
        for parameter in model.parameters()
        if parameter.grad is not None
    )


@pytest.mark.parametrize("most", [1, 2])
def test_tokens_stand_where_they_stood(most: int, tiny_folder: Path, quiet: None) -> None:
    """Also of a text that is cut, whose end could hide that an edited word has more tokens."""
    working = regularization(
        tiny_folder, "monotone", strength=STRENGTH, edits="characters", max_edits=most
    )
    rows = working.rows
    words = "film story actor was good the a is very quite and not bad"
    rows.texts = ((words,),) * 4
    rows.max_length = 9
    rows.encoded = rows.tokenized(rows.texts)
    model = plain(tiny_folder).eval()
    calls: list[Tensor] = []
    model.register_forward_pre_hook(
        lambda _, args, options: calls.append(options["input_ids"]), with_kwargs=True
    )
    for step in range(10):
        penalised(working, model, step=step)
    pairs = zip(calls[::2], calls[1::2], strict=True)
    differing = [int(count) for text, edit in pairs for count in (text != edit).sum(1)]
    # each word is a token: more than that would be tokens that have moved
    assert 0 < max(differing) <= most


def test_equal_texts_have_no_ratio_and_no_gradient_that_is_not_finite(
    tiny_folder: Path, quiet: None
) -> None:
    model = plain(tiny_folder).eval()
    working = regularization(tiny_folder, "monotone", strength=STRENGTH)
    batch = batch_of(working.rows, [0, 1])
    assert isinstance(working.regularizer, Monotone)
    twice = model(**batch, output_hidden_states=True).hidden_states
    mask = batch["attention_mask"].bool()
    ratios = working.regularizer.ratios(model, twice, twice, mask)
    assert bool(ratios.isnan().all())
    torch.where(ratios.isfinite(), ratios, 0.0).sum().backward()
    assert all(
        parameter.grad.isfinite().all()
        for parameter in model.parameters()
        if parameter.grad is not None
    )


@pytest.mark.parametrize(
    ("options", "layers", "said"),
    [
        ({}, (0, 3), r"train.regularizer.layers must be indices from 0 to 2 .*, got \[0, 3\]"),
        ({"substeps": 2}, None, "expected model.substeps = 1, got 2"),
        (
            {"solver": {"name": "GradientDescent", "steps": 5}},
            None,
            "got GradientDescent with a given number of steps",
        ),
    ],
)
def test_a_model_whose_states_do_not_tell_f_is_refused(
    options: dict[str, Any], layers: Any, said: str, tiny_folder: Path, quiet: None
) -> None:
    working = regularization(tiny_folder, "monotone", strength=1.0, layers=layers)
    with pytest.raises(ValueError, match=said):
        working.regularizer.require(implicit(tiny_folder, **{**STEPS, **options}))
