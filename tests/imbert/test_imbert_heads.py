"""Every head of every family with steps: the plain model's weights, answers and tied decoder."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from test_imbert_kin import FAMILIES, SHAPE

import imbert
from imbert.data.tasks import task
from imbert.model.choice import FAMILIES as FAMILIES_WITH_STEPS
from imbert.model.choice import ModelChoice
from imbert.model.configuration_imbert import StepsConfig
from imbert.model.loading import load_model
from odestab.encoder_layers.declared import PLAIN_KINDS

pytestmark = pytest.mark.usefixtures("quiet")

SHAPES = {"bert": SHAPE, **{name: shape for name, (_, shape) in FAMILIES.items()}}
NAMES = {
    "bert": "Bert",
    "roberta": "Roberta",
    "electra": "Electra",
    "mpnet": "MPNet",
    "distilbert": "DistilBert",
}
HEADS = ("SequenceClassification", "TokenClassification", "QuestionAnswering", "MaskedLM")
IDS = torch.tensor([[5, 6, 7, 8], [9, 10, 1, 1]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])


def answer(output: Any) -> torch.Tensor:
    """Logits; of an answer's start and end side by side."""
    if "logits" in output:
        return output.logits
    return torch.stack([output.start_logits, output.end_logits], -1)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("kind", SHAPES)
def test_a_head_is_that_of_the_plain_checkpoint(kind: str, head: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **SHAPES[kind])
    auto = getattr(transformers, f"AutoModelFor{head}")
    plain = auto.from_config(config).eval()
    plain.save_pretrained(tmp_path / "plain")
    stepping = getattr(imbert, f"Im{NAMES[kind]}For{head}")

    explicit, report = stepping.from_pretrained(
        tmp_path / "plain", method="explicit_euler", output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert explicit.state_dict().keys() == plain.state_dict().keys()
    assert explicit._tied_weights_keys == plain._tied_weights_keys
    with torch.no_grad():
        expected = answer(plain(IDS, attention_mask=MASK))
        assert torch.equal(answer(explicit.eval()(IDS, attention_mask=MASK)), expected)

    implicit = stepping.from_pretrained(tmp_path / "plain", implicit_layers=[1, 2], step_size=0.5)
    loss = answer(implicit(IDS, attention_mask=MASK)).square().mean()
    loss.backward()
    step = imbert.implicit_layers(implicit)[0]
    gradients = [parameter.grad for parameter in step.parameters()]
    assert all(bool(gradient.isfinite().all() and gradient.any()) for gradient in gradients)
    assert [layer["layer"] for layer in implicit.solver_statistics()] == [1, 2]

    implicit.save_pretrained(tmp_path / "saved")
    again = auto.from_pretrained(tmp_path / "saved")
    assert type(again) is stepping
    # saved once, and one tensor again
    if head == "MaskedLM":
        decoder = again.get_output_embeddings().weight
        assert decoder is again.get_input_embeddings().weight
        assert torch.equal(decoder, implicit.get_input_embeddings().weight)


def test_equal_seeds_give_the_new_weights_of_the_plain_model() -> None:
    made = []
    for config, model in (
        (transformers.MPNetConfig, transformers.MPNetForTokenClassification),
        (imbert.ImMPNetConfig, imbert.ImMPNetForTokenClassification),
    ):
        torch.manual_seed(3)
        made.append(model(config(**SHAPE)).state_dict())
    assert made[0].keys() == made[1].keys()
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])


def test_the_families_are_listed_once() -> None:
    assert tuple(FAMILIES_WITH_STEPS) == tuple(NAMES)
    configurations = {kind.plain_type: kind.model_type for kind in StepsConfig.__subclasses__()}
    assert configurations == FAMILIES_WITH_STEPS
    # odestab reads what they save, and knows nothing of imbert
    assert {plain: stepping for stepping, plain in PLAIN_KINDS.items()} == FAMILIES_WITH_STEPS


@pytest.mark.parametrize("kind", SHAPES)
def test_every_real_token_counts_and_no_padding(kind: str) -> None:
    """A text beside a longer one takes the step that it takes alone."""
    torch.manual_seed(0)
    config = getattr(imbert, f"Im{NAMES[kind]}Config")(
        **SHAPES[kind], solver={"name": "Anderson", "rtol": 1e-12}, step_size=0.5
    )
    model = getattr(imbert, f"Im{NAMES[kind]}Model")(config).double().eval()
    with torch.no_grad():
        together = model(IDS, attention_mask=MASK).last_hidden_state[1, :2]
        alone = model(IDS[1:, :2]).last_hidden_state[0]
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", SHAPES)
def test_a_run_takes_the_variant_of_its_checkpoints_family(kind: str, tmp_path: Path) -> None:
    """The same new head as the plain model's, the chosen layers, the chosen dropout."""
    config = transformers.AutoConfig.for_model(kind, **SHAPES[kind])
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path)
    choices = (
        ModelChoice(str(tmp_path), dropout=0.3),
        ModelChoice(str(tmp_path), "im-bert", (1,), dropout=0.3),
    )
    plain, stepping = (load_model(choice, task("sst2"), 3) for choice in choices)
    assert [layer.layer_index for layer in imbert.implicit_layers(stepping)] == [1]
    assert stepping.config.model_type == f"im{kind}"
    for model in (plain, stepping):
        rates = {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)}
        assert rates == {0.3}
    for name, weight in plain.state_dict().items():
        assert torch.equal(stepping.state_dict()[name], weight), name


def test_step_sizes_are_learnt_from_a_plain_checkpoint(tiny_folder: Path, tmp_path: Path) -> None:
    choice = ModelChoice(
        str(tiny_folder), "im-bert", (1, 2), step_size=0.5, substeps=2, learn_step_size=True
    )
    model = load_model(choice, task("sst2"), 3)
    sizes = [layer.log_step_size for layer in imbert.implicit_layers(model)]
    assert [size.exp().item() for size in sizes if size is not None] == pytest.approx([0.5, 0.5])
    with torch.no_grad():
        for size in sizes:
            assert size is not None
            size.fill_(-1.0)
    model.save_pretrained(tmp_path)
    again = load_model(dataclasses.replace(choice, checkpoint=str(tmp_path)), task("sst2"), 4)
    assert {layer.log_step_size.item() for layer in imbert.implicit_layers(again)} == {-1.0}  # type: ignore[union-attr]
