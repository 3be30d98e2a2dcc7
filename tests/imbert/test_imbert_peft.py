"""PEFT adapts a model with steps as it adapts the plain one."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft.utils import constants
from tiny_models import implicit
from torch import Tensor

import imbert
import odestab as od
from odestab.encoder_layers.declared import PLAIN_KINDS

pytestmark = [
    pytest.mark.usefixtures("quiet"),
    # PEFT asks transformers by a name that some versions have deprecated
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]


def adapted(folder: Path, **options: Any) -> Any:
    """Two layers are steps, and the default modules of all layers are adapted."""
    model = implicit(folder, implicit_layers=[1, 2], step_size=0.5, **options)
    return peft.get_peft_model(model, peft.LoraConfig(task_type="SEQ_CLS", r=2))


def test_targets_are_those_of_the_plain_model() -> None:
    lora = constants.TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
    ia3 = constants.TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING
    assert lora["imbert"] == lora["bert"] and ia3["imroberta"] == ia3["roberta"]
    for kind, plain in PLAIN_KINDS.items():
        assert lora.get(kind) == lora.get(plain)


def test_an_adapter_learns_merges_and_comes_back(
    tiny_folder: Path, batch: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = adapted(tiny_folder).train()
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    for _ in range(2):  # the second factor of an adapter starts at zero, and so does its gradient
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
    moved = {
        name for name, value in model.named_parameters() if not torch.equal(value, before[name])
    }
    learnt = {name for name, value in model.named_parameters() if value.requires_grad}
    assert moved == learnt and sum("layer.2.attention" in name for name in learnt) == 4

    model.eval()
    model.save_pretrained(tmp_path / "adapter")
    with torch.no_grad():
        expected = model(**batch).logits
        again = peft.PeftModel.from_pretrained(
            implicit(tiny_folder, implicit_layers=[1, 2], step_size=0.5), tmp_path / "adapter"
        ).eval()
        torch.testing.assert_close(again(**batch).logits, expected, rtol=0, atol=1e-6)
        merged = again.merge_and_unload()
        assert type(merged) is imbert.ImBertForSequenceClassification
        # the solver ends where it is near enough: merged weights differ in their last bits
        torch.testing.assert_close(merged(**batch).logits, expected, rtol=0, atol=1e-3)
    assert len(merged.solver_statistics()) == 2


def test_an_adapted_layer_is_linearised_as_it_is(
    tiny_folder: Path, batch: dict[str, Tensor], generator: torch.Generator
) -> None:
    """odestab's own product knows plain Linears alone, and leaves adapted ones to autograd."""
    model = peft.get_peft_model(
        implicit(tiny_folder, implicit_layers=[]),
        peft.LoraConfig(task_type="SEQ_CLS", r=2, init_lora_weights=False),
    )
    encoder = model.get_base_model().bert.double().eval()
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    trajectory = od.trace(encoder, inputs)
    x = trajectory.states[1]
    v = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    field = trajectory.fields[1]
    v = field.project(v)
    _, expected = torch.func.jvp(field, (x,), (v,))
    torch.testing.assert_close(od.Jacobian(field, x).mv(v), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("order", ["import peft, imbert", "import imbert, peft"])
def test_the_order_of_imports_does_not_matter(order: str) -> None:
    program = f"{order}\nprint(peft.utils.constants.{'TRANSFORMERS_MODELS_TO_LORA_'}"
    program += "TARGET_MODULES_MAPPING['imbert'])"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['query', 'value']"
