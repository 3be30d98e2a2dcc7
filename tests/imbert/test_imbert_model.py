"""IM-BERT as a transformers model: BERT where it takes explicit steps, and exact gradients where it
takes implicit ones.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tiny import save_tiny, tokenized
from tiny_models import implicit, plain, run
from torch import Tensor

import imbert
import odestab as od

pytestmark = pytest.mark.usefixtures("quiet")
EXACT = {"name": "Anderson", "rtol": 1e-13}
EXACT_ADJOINT = {"name": "ImplicitAdjoint", "rtol": 1e-12}


def exact(folder: Path, **options: Any) -> Any:
    """In double precision, solved as far as that goes, without dropout."""
    model = implicit(
        folder, **{"solver": EXACT, "adjoint": EXACT_ADJOINT, "dtype": torch.float64, **options}
    )
    return model.eval()


def gradients(model: Any, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    model.zero_grad()
    run(model, batch).loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def gap(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    """The largest relative difference of two gradients."""
    return max(
        float((found[name] - g).norm() / g.norm().clamp(min=1e-30))
        for name, g in expected.items()
        if g.norm() > 1e-12
    )


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("training", [False, True])
def test_an_explicit_step_of_the_increment_is_bert_bit_for_bit(
    tiny_folder: Path, batch: Any, attention: str, training: bool
) -> None:
    bert = plain(tiny_folder, attn_implementation=attention).train(training)
    model = implicit(tiny_folder, method="explicit_euler", attn_implementation=attention).train(
        training
    )
    expected, found = (run(one, batch, output_hidden_states=True) for one in (bert, model))
    assert torch.equal(found.logits, expected.logits)
    assert all(
        torch.equal(a, b) for a, b in zip(found.hidden_states, expected.hidden_states, strict=True)
    )
    for name, g in gradients(bert, batch).items():
        assert torch.equal(gradients(model, batch)[name], g), name


@pytest.mark.slow
@pytest.mark.parametrize("field", ["increment", "outer"])
@pytest.mark.parametrize("training", [False, True])
def test_the_gradient_of_the_loss_is_that_of_central_differences(
    tiny_folder: Path, batch: Any, field: str, training: bool
) -> None:
    step_size = {"increment": 1.0, "outer": 0.2}[field]
    model = exact(tiny_folder, field=field, step_size=step_size, implicit_layers=[0, 1, 2]).train(
        training
    )
    found = gradients(model, batch)
    generator = torch.Generator().manual_seed(0)
    parameters = dict(model.named_parameters())
    direction = {
        name: torch.randn(p.shape, generator=generator, dtype=p.dtype)
        for name, p in parameters.items()
    }
    eps, losses = 1e-5, []
    with torch.no_grad():
        for sign in (1, -2):
            for name, p in parameters.items():
                p.add_(direction[name], alpha=sign * eps)
            losses.append(run(model, batch).loss)
    expected = float((losses[0] - losses[1]) / (2 * eps))
    assert float(sum((found[name] * direction[name]).sum() for name in found)) == pytest.approx(
        expected, rel=1e-6
    )


@pytest.mark.slow
@pytest.mark.parametrize("training", [False, True])
def test_implicit_and_unrolled_gradients_agree_where_the_solve_is_exact(
    tiny_folder: Path, batch: Any, training: bool
) -> None:
    model = exact(tiny_folder, implicit_layers=[0, 2]).train(training)
    found = gradients(model, batch)
    with imbert.stepping(model, adjoint=od.UnrolledAdjoint()):
        expected = gradients(model, batch)
        assert model.solver_statistics()[0]["adjoint"] is None
    assert gap(found, expected) < 1e-9  # the unrolled derivative converges as the iteration does


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_gradient_descent_unrolled_is_the_published_connection(
    tiny_folder: Path, batch: Any, attention: str
) -> None:
    options = {
        "solver": {"name": "GradientDescent", "steps": 3, "step_size": 0.1},
        "adjoint": {"name": "UnrolledAdjoint"},
    }
    model = (
        implicit(
            tiny_folder,
            field="outer",
            implicit_layers=[2],
            attn_implementation=attention,
            **options,
        )
        .double()
        .eval()
    )
    state = run(model, batch, output_hidden_states=True).hidden_states
    x = state[2].detach()
    y = x.clone().requires_grad_()
    layer = plain(tiny_folder, attn_implementation="eager").double().eval().bert.encoder.layer[2]
    real = batch["attention_mask"].bool()
    blocked = torch.zeros(real.shape, dtype=x.dtype).masked_fill(~real, torch.finfo(x.dtype).min)[
        :, None, None
    ]
    for _ in range(3):
        r = x + layer(y, blocked) - y
        r = torch.where(real[..., None], r, 0.0)
        y = y - 0.1 * torch.autograd.grad((r**2).sum() / 2, y, create_graph=True)[0]
    assert torch.allclose(state[3][real], y[real], rtol=0, atol=1e-11)


@pytest.mark.slow
def test_four_micro_batches_are_one_batch(tiny_folder: Path) -> None:
    model = exact(tiny_folder, implicit_layers=[0, 1, 2])
    whole = tokenized(tiny_folder, 16)
    expected, loss = gradients(model, whole), run(model, whole).loss
    model.zero_grad()
    parts = [
        run(model, {name: value[4 * i : 4 * i + 4] for name, value in whole.items()}).loss / 4
        for i in range(4)
    ]
    sum(parts).backward()
    assert float(sum(parts).detach()) == pytest.approx(float(loss.detach()), rel=1e-12)
    assert gap({name: p.grad for name, p in model.named_parameters()}, expected) < 1e-10
    assert model.accepts_loss_kwargs is False


def test_hidden_states_are_the_states_and_not_the_evaluations(
    tiny_folder: Path, batch: Any
) -> None:
    model = implicit(tiny_folder).eval()
    found = run(model, batch, output_hidden_states=True)
    assert (
        len(found.hidden_states) == 4
        and max(one["evaluations_max"] for one in model.solver_statistics()) > 3
    )
    assert torch.equal(
        found.hidden_states[-1],
        run(model.bert, {k: v for k, v in batch.items() if k != "labels"}).last_hidden_state,
    )


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_padding_changes_nothing(tiny_folder: Path, batch: Any, attention: str) -> None:
    model = exact(tiny_folder, attn_implementation=attention)
    together = run(model, batch).logits
    for i, length in enumerate(batch["attention_mask"].sum(1).tolist()):
        alone = run(
            model,
            {
                name: value[i : i + 1] if value.ndim == 1 else value[i : i + 1, :length]
                for name, value in batch.items()
            },
        ).logits
        assert torch.allclose(alone[0], together[i], rtol=0, atol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("padded", [False, True])
def test_a_batch_shrinks_to_what_is_not_solved(
    tiny_folder: Path, padded: bool, attention: str, training: bool
) -> None:
    """Also without padding, where there is no mask that tells how large it is."""
    batch = tokenized(tiny_folder, 9)
    batch = (
        batch
        if padded
        else {
            name: value[1:] if value.ndim == 1 else value[1:, :7] for name, value in batch.items()
        }
    )
    assert bool((batch["attention_mask"] == 0).any()) == padded
    found = []
    for compaction in (False, True):
        solver = {
            "name": "FixedPoint",
            "rtol": 1e-11,
            "max_iterations": 400,
            "compaction": compaction,
        }
        model = exact(
            tiny_folder, solver=solver, attn_implementation=attention, implicit_layers=[1]
        ).train(training)
        sizes: list[int] = []
        (layer,) = imbert.implicit_layers(model)
        layer.attention.register_forward_hook(
            lambda _, inputs, __, sizes=sizes: sizes.append(len(inputs[0]))
        )
        with torch.no_grad():
            found.append(
                (run(model, batch).logits, model.solver_statistics()[0]["evaluations_mean"], sizes)
            )
    (whole, evaluations, all_of), (cut, again, sizes) = found
    assert set(all_of) == {len(whole)} and min(sizes) < len(whole) and sum(sizes) < sum(all_of)
    assert evaluations == again and torch.allclose(whole, cut, rtol=0, atol=1e-9)


def test_the_statistics_say_how_each_solve_went(tiny_folder: Path, batch: Any) -> None:
    model = implicit(
        tiny_folder,
        implicit_layers=[0, 2],
        solver={"name": "FixedPoint", "rtol": 1e-3, "max_iterations": 4},
    )
    assert model.solver_statistics() == []
    run(model, batch)
    first, last = model.solver_statistics()
    assert (first["layer"], last["layer"], first["examples"], first["adjoint"]) == (0, 2, 4, None)
    assert (
        sum(first["statuses"].values()) == 4
        and 0 < first["residual_median"] <= first["residual_max"]
    )
    assert 1 <= first["evaluations_mean"] <= first["evaluations_max"] <= 5
    gradients(model, batch)
    adjoint = model.solver_statistics()[1]["adjoint"]
    assert (
        adjoint["statuses"] == {"CONVERGED": 4}
        and adjoint["residual_max"] <= 1e-2
        and adjoint["evaluations_max"] >= 1
    )


def test_the_residual_of_the_statistics_is_that_of_the_equation(
    tiny_folder: Path, batch: Any
) -> None:
    model = exact(tiny_folder, implicit_layers=[1], solver={"name": "Anderson", "rtol": 1e-3})
    states = run(model, batch, output_hidden_states=True).hidden_states
    encoder = transformers.BertModel.from_pretrained(
        tiny_folder, dtype=torch.float64, attn_implementation="eager"
    ).eval()
    field = od.trace(encoder, batch).fields[1]
    with torch.no_grad():
        residual = field.rms(states[1] + field(states[2]) - states[2]) / field.rms(states[2])
    assert model.solver_statistics()[0]["residual_max"] == pytest.approx(
        float(residual.max()), rel=1e-6
    )


def test_substeps_are_steps_of_a_share(tiny_folder: Path, batch: Any) -> None:
    model = exact(tiny_folder, implicit_layers=[1], substeps=2)
    states = run(model, batch, output_hidden_states=True).hidden_states
    encoder = transformers.BertModel.from_pretrained(
        tiny_folder, dtype=torch.float64, attn_implementation="eager"
    ).eval()
    field, half = od.trace(encoder, batch).fields[1], od.ImplicitEuler(0.5, od.Auto(rtol=1e-13))
    expected = half.step(field, half.step(field, states[1]).state).state
    assert torch.allclose(field.project(states[2]), field.project(expected), rtol=0, atol=1e-11)
    assert model.solver_statistics()[0]["evaluations_mean"] > 4


def test_stepping_is_for_a_while(tiny_folder: Path, batch: Any) -> None:
    model = implicit(tiny_folder).eval()
    before = [layer.method for layer in imbert.implicit_layers(model)]
    with (
        pytest.raises(RuntimeError, match="inside"),
        imbert.stepping(model, solver=od.FixedPoint(max_iterations=1, rtol=0.0)),
    ):
        run(model, batch)
        assert {one["evaluations_max"] for one in model.solver_statistics()} == {2}
        adjoints = [layer.method.adjoint for layer in imbert.implicit_layers(model)]
        assert len({id(one) for one in adjoints}) == 3
        raise RuntimeError("inside")
    assert [layer.method for layer in imbert.implicit_layers(model)] == before


def test_a_learnt_step_size_is_a_parameter_with_its_gradient(
    tiny_folder: Path, batch: Any, tmp_path: Path
) -> None:
    model = exact(tiny_folder, implicit_layers=[1, 2], learn_step_size=True, step_size=0.8)
    names = [name for name, _ in model.named_parameters() if name.endswith("log_step_size")]
    assert len(names) == 2
    found = gradients(model, batch)[names[0]]
    h, eps, losses = model.get_parameter(names[0]), 1e-5, []
    assert float(h.detach().exp()) == pytest.approx(0.8)
    with torch.no_grad():
        for sign in (1, -2):
            h.add_(sign * eps)
            losses.append(float(run(model, batch).loss))
        assert float(found) == pytest.approx((losses[0] - losses[1]) / (2 * eps), rel=1e-6)
        h.fill_(-0.5)
    model.save_pretrained(tmp_path)
    again = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert again.get_parameter(names[0]).item() == pytest.approx(-0.5)
    assert again.get_parameter(names[1]).item() == pytest.approx(
        model.get_parameter(names[1]).item()
    )


def test_regression(tiny_folder: Path, batch: Any) -> None:
    model = implicit(tiny_folder, num_labels=1, problem_type="regression")
    labels = torch.tensor([0.5, 1.0, 2.0, 5.0])
    found = run(model, {**batch, "labels": labels})
    expected = ((found.logits[:, 0] - labels) ** 2).mean()
    assert found.logits.shape == (4, 1) and torch.allclose(found.loss, expected)


def test_embeddings_stand_for_tokens(tiny_folder: Path, batch: Any) -> None:
    model = implicit(tiny_folder).eval()
    embeddings = model.get_input_embeddings()(batch["input_ids"]).detach().requires_grad_()
    others = {name: value for name, value in batch.items() if name != "input_ids"}
    found = model(inputs_embeds=embeddings, **others)
    assert torch.equal(found.logits, run(model, batch).logits)
    found.loss.backward()
    assert embeddings.grad is not None and float(embeddings.grad.abs().max()) > 0


@pytest.mark.parametrize("training", [False, True])
def test_a_solve_ends_in_training_as_the_masks_of_dropout_stay(
    tiny_folder: Path, batch: Any, training: bool
) -> None:
    model = implicit(tiny_folder, solver={"name": "Auto", "rtol": 1e-5}).train(training)
    first, second, other = (run(model, batch, seed).logits for seed in (1, 1, 2))
    assert torch.equal(first, second) and torch.equal(first, other) is not training
    assert all(one["statuses"] == {"CONVERGED": 4} for one in model.solver_statistics())


def test_a_tiny_model_of_four_layers_takes_the_last_one(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "four", layers=4)
    assert [
        layer.layer_index for layer in imbert.implicit_layers(implicit(folder, implicit_layers=[3]))
    ] == [3]
    assert len(imbert.implicit_layers(implicit(folder))) == 4 and not imbert.implicit_layers(
        implicit(folder, implicit_layers=[])
    )
