"""IM-BERT among what it is used with: checkpointing, autocast, compilation, processes side by side,
odestab's own loader.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

import imbert
import odestab as od

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("quiet"),
    pytest.mark.filterwarnings(
        "ignore:`gradient_checkpointing_enable` is deprecated:FutureWarning"
    ),  # by some versions
]
EXACT = {
    "solver": {"name": "Anderson", "rtol": 1e-13},
    "adjoint": {"name": "ImplicitAdjoint", "rtol": 1e-12},
}


def model_of(folder: Path, **options: Any) -> Any:
    torch.manual_seed(0)
    return imbert.ImBertForSequenceClassification.from_pretrained(folder, num_labels=2, **options)


def gradients(model: Any, batch: Any) -> dict[str, Tensor]:
    torch.manual_seed(1)
    model.zero_grad()
    model(**batch).loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def gap(found: Any, expected: Any) -> float:
    return max(
        float((found[name] - g).norm() / g.norm())
        for name, g in expected.items()
        if g.norm() > 1e-12
    )


@pytest.mark.parametrize("adjoint", ["ImplicitAdjoint", "UnrolledAdjoint"])
@pytest.mark.parametrize("method", ["implicit_euler", "explicit_euler"])
def test_checkpointing_leaves_the_gradients(
    tiny_folder: Path, batch: Any, adjoint: str, method: str
) -> None:
    model = model_of(
        tiny_folder,
        method=method,
        implicit_layers=[0, 1],
        adjoint={"name": adjoint},
        dtype=torch.float64,
    ).train()
    expected = gradients(model, batch)
    model.gradient_checkpointing_enable()
    assert gap(gradients(model, batch), expected) < 1e-12
    assert len(model.solver_statistics()) == (2 if method == "implicit_euler" else 0)


def test_checkpointing_does_not_solve_again(tiny_folder: Path, batch: Any) -> None:
    model = model_of(tiny_folder, implicit_layers=[1]).train()
    model.gradient_checkpointing_enable()
    loss, calls = model(**batch).loss, []
    layer = imbert.implicit_layers(model)[0]
    layer.attention.register_forward_hook(lambda *_: calls.append(1))  # type: ignore[attr-defined]
    loss.backward()
    adjoint = model.solver_statistics()[0]["adjoint"]
    assert (
        len(calls) <= adjoint["evaluations_max"] + 3
    )  # one for each product, one for the check, one for the parameters


@pytest.mark.parametrize("training", [False, True])
def test_autocast_computes_in_bfloat16_and_learns_as_float32_does(
    tiny_folder: Path, batch: Any, training: bool
) -> None:
    model = model_of(
        tiny_folder, implicit_layers=[1, 2], solver={"name": "Auto", "rtol": 1e-2}
    ).train(training)
    expected = gradients(model, batch)
    with torch.autocast("cpu", torch.bfloat16):
        found = gradients(model, batch)
    assert all(g.isfinite().all() and g.dtype == torch.float32 for g in found.values())
    largest = max(expected, key=lambda name: float(expected[name].norm()))
    assert (
        gap({largest: found[largest]}, {largest: expected[largest]}) < 0.1
    )  # bfloat16 has eight bits


@pytest.mark.parametrize("training", [False, True])
def test_the_inner_layer_can_be_compiled(tiny_folder: Path, batch: Any, training: bool) -> None:
    model = model_of(
        tiny_folder,
        implicit_layers=[1],
        dtype=torch.float64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **EXACT,
    )
    expected = gradients(model.train(training), batch)
    imbert.implicit_layers(model)[0].compile_layer(backend="aot_eager")
    assert gap(gradients(model, batch), expected) < 1e-10
    torch.compiler.reset()


def test_a_compiled_layer_in_training_has_its_dropout_frozen(tiny_folder: Path, batch: Any) -> None:
    model = model_of(tiny_folder, implicit_layers=[1]).train()
    imbert.implicit_layers(model)[0].compile_layer(backend="eager")
    gradients(model, batch)
    assert model.solver_statistics()[0]["statuses"] == {"CONVERGED": 4}
    torch.compiler.reset()


def test_two_processes_have_the_gradient_of_one(tiny_folder: Path) -> None:
    script = Path(__file__).parent / "two_processes.py"
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        "0",
        "--standalone",
    ]
    done = subprocess.run(
        [*command, str(script), str(tiny_folder)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"field": "outer", "step_size": 0.2},
        {"substeps": 2},
        {"method": "explicit_euler", "step_size": 0.5},
    ],
)
def test_odestab_loads_it_as_plain_layers_and_their_methods(
    tiny_folder: Path, batch: Any, tmp_path: Path, options: Any
) -> None:
    model = model_of(
        tiny_folder, implicit_layers=[1, 2], dtype=torch.float64, **EXACT, **options
    ).eval()
    model.save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(tiny_folder).save_pretrained(tmp_path)
    encoder, _ = od.load_encoder(tmp_path)
    assert type(encoder) is transformers.BertModel
    trajectory = od.trace(encoder, batch)
    each = options.get("substeps", 1)
    assert trajectory.depth == 1 + 2 * each and trajectory.methods is not None
    assert trajectory.methods[0] == od.ExplicitEuler(1.0) and trajectory.fields[0].split == -1
    taken = {"implicit_euler": od.ImplicitEuler, "explicit_euler": od.ExplicitEuler}[
        options.get("method", "implicit_euler")
    ]
    assert all(
        type(one) is taken and one.step_size == options.get("step_size", 1.0) / each
        for one in trajectory.methods[1:]
    )
    with torch.no_grad():
        states = model(**batch, output_hidden_states=True).hidden_states
    for l, state in enumerate(states):
        found = trajectory.states[l if l < 2 else 1 + (l - 1) * each]
        assert torch.allclose(found, trajectory.fields[0].project(state), rtol=0, atol=1e-11)
    layer = transformers.BertModel.from_pretrained(
        tiny_folder, dtype=torch.float64, attn_implementation="eager"
    ).eval()
    plain = od.trace(layer, batch).fields[-1]
    with torch.no_grad():
        assert torch.allclose(
            trajectory.fields[-1].unsplit(states[1]), plain.unsplit(states[1]), rtol=0, atol=1e-12
        )


def test_another_field_than_the_declared_one_has_no_declared_methods(
    tiny_folder: Path, batch: Any, tmp_path: Path
) -> None:
    model_of(tiny_folder, implicit_layers=[1]).save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(tiny_folder).save_pretrained(tmp_path)
    encoder, _ = od.load_encoder(tmp_path)
    assert od.trace(encoder, batch, field="increment").methods is not None
    outer = od.trace(encoder, batch, field="outer")
    assert outer.methods is None and outer.fields[1].split == 0
    assert torch.equal(outer.states[2], od.trace(encoder, batch).states[2])
    with pytest.raises(ValueError, match="sublayers must be False"):
        od.trace(encoder, batch, sublayers=True)


def test_a_learnt_step_size_is_read_from_the_weights(
    tiny_folder: Path, batch: Any, tmp_path: Path
) -> None:
    model = model_of(tiny_folder, implicit_layers=[1, 2], learn_step_size=True)
    with torch.no_grad():
        imbert.implicit_layers(model)[1].log_step_size.fill_(-1.0)  # type: ignore[union-attr]
    model.save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(tiny_folder).save_pretrained(tmp_path)
    methods = od.trace(od.load_encoder(tmp_path)[0], batch).methods
    assert methods is not None and [float(one.step_size) for one in methods] == pytest.approx(
        [1.0, 1.0, 0.36787944]
    )
