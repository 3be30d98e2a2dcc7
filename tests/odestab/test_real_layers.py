"""Known facts about a trained encoder: the embedded default model, texts of three and four tokens,
float64.
"""

from pathlib import Path
from typing import Any

import pytest
import torch

import odestab as od

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def encoder(minilm_folder: Path) -> tuple[Any, Any]:
    return od.load_encoder(minilm_folder)


def traced(encoder: tuple[Any, Any], *texts: str, field: str = "increment") -> od.Trajectory:
    model, tokenizer = encoder
    return od.trace(model, tokenizer(list(texts), padding=True, return_tensors="pt"), field=field)


@pytest.fixture(scope="module")
def four_tokens(encoder: tuple[Any, Any]) -> od.Trajectory:
    trajectory = traced(encoder, "Hello there")
    assert trajectory.tokens == [4]
    return trajectory


@pytest.fixture(scope="module")
def full(four_tokens: od.Trajectory) -> od.Spectrum:
    return od.full_spectrum(od.Jacobian(four_tokens.fields[3], four_tokens.states[3]))


def test_layer_norm_puts_two_eigenvalues_a_token_at_minus_one(full: od.Spectrum) -> None:
    """Mathematics, section 4: n of them exact, n of size ε/(σ² + ε), and this model's ε is
    1e-12.
    """
    assert int(((full.values[0] + 1).abs() < 1e-6).sum()) >= 2 * 4
    assert full.complete and full.residuals.max() < 1e-10


@pytest.mark.parametrize(("which", "center"), [("LM", -1.0), ("LM", 0.0), ("LR", 0.0)])
def test_leading_eigenvalues_are_those_of_the_dense_matrix(
    four_tokens: od.Trajectory, full: od.Spectrum, which: str, center: float
) -> None:
    jacobian = od.Jacobian(four_tokens.fields[3], four_tokens.states[3])
    found = od.eigenvalues(
        jacobian, 6, which, rtol=1e-9, center=center, dimension=120, max_matvecs=1200
    )
    assert found.converged.all()
    rank = full.values[0].real if which == "LR" else (full.values[0] - center).abs()
    best = full.values[0][
        rank.argsort(descending=True)[:7]
    ]  # one more: a complex pair may be cut in two
    distance = (found.values[0][:, None] - best[None]).abs().amin(1)
    assert distance.max() < 1e-6
    assert found.values[0].abs().sub(best[:6].abs()).abs().max() < 1e-6 or which == "LR"


def test_singular_values_and_logarithmic_norm_are_those_of_the_dense_matrix(
    four_tokens: od.Trajectory,
) -> None:
    field, x = four_tokens.fields[3], four_tokens.states[3]
    jacobian = od.Jacobian(field, x)
    (matrix,) = jacobian.dense()
    identity = torch.eye(len(matrix), dtype=matrix.dtype)
    symmetric = torch.linalg.eigvalsh((matrix + matrix.T) / 2)
    norm = od.logarithmic_norm(jacobian, rtol=1e-7)
    assert abs(norm.values[0, 0] - symmetric[-1]) <= norm.residuals[0, 0] + 1e-10
    explicit = od.worst_growth(od.ExplicitEuler(1.0), field, x, rtol=1e-6)
    assert explicit.values[0, 0] == pytest.approx(
        float(torch.linalg.matrix_norm(identity + matrix, 2)), rel=1e-8
    )
    smallest = od.singular_values(od.affine(jacobian, 1.0, -1.0), 1, "SM", rtol=1e-5)
    assert smallest.values[0, 0] == pytest.approx(
        float(torch.linalg.svdvals(identity - matrix)[-1]), rel=1e-7
    )


def test_padding_changes_no_quantity(encoder: tuple[Any, Any]) -> None:
    texts = ("Hello there", "The ferry leaves at noon.")
    together = traced(encoder, *texts)
    for i, text in enumerate(texts):
        alone, n = traced(encoder, text), together.tokens[i]
        assert (together.states[4][i, :n] - alone.states[4][0]).abs().max() < 1e-10
        pair = [od.Jacobian(t.fields[3], t.states[3]) for t in (together, alone)]
        if i == 0:
            assert (pair[0].dense()[0] - pair[1].dense()[0]).abs().max() < 1e-10
        settings: dict[str, Any] = {"rtol": 1e-10, "dimension": 120, "max_matvecs": 1200}
        padded, single = (od.eigenvalues(jacobian, 2, center=-1.0, **settings) for jacobian in pair)
        assert (padded.values[i].abs() - single.values[0].abs()).abs().max() < 1e-10
        padded, single = (od.logarithmic_norm(jacobian, 1e-9) for jacobian in pair)
        assert (padded.values[i] - single.values[0]).abs().max() < 1e-10


@pytest.mark.parametrize(
    "method",
    [od.ExplicitEuler(1.0), od.ImplicitEuler(1.0, solver=od.Auto(rtol=1e-11))],
    ids=["explicit", "implicit"],
)
def test_the_worst_direction_through_the_stack_is_that_of_the_dense_product(
    encoder: tuple[Any, Any], method: od.AbstractOneStepMethod
) -> None:
    trajectory = traced(encoder, "Hello")
    assert trajectory.tokens == [3]
    path = od.follow(trajectory, method)
    assert path.converged.all()
    worst = od.worst_direction(path, rtol=1e-3)
    product = torch.eye(3 * 384, dtype=torch.float64)
    for field, x, y in zip(trajectory.fields, path.states, path.states[1:], strict=False):
        (matrix,) = od.Jacobian(field, x if isinstance(method, od.ExplicitEuler) else y).dense()
        identity = torch.eye(len(matrix), dtype=matrix.dtype)
        explicit = isinstance(method, od.ExplicitEuler)
        product = (
            (identity + matrix) @ product
            if explicit
            else torch.linalg.solve(identity - matrix, product)
        )
    assert worst.values[0, 0] == pytest.approx(
        float(torch.linalg.matrix_norm(product, 2)), rel=1e-4
    )


@pytest.mark.parametrize(
    "method",
    [od.ExplicitEuler(1.0), od.ImplicitEuler(1.0, solver=od.Auto(rtol=1e-11))],
    ids=["explicit", "implicit"],
)
def test_the_linear_prediction_holds_for_small_perturbations_and_fails_for_large_ones(
    encoder: tuple[Any, Any], method: od.AbstractOneStepMethod
) -> None:
    trajectory = traced(encoder, "Hello there", "Water boils at noon.")
    small, large = (
        od.propagate(trajectory, od.GaussianPerturbation(size), method) for size in (1e-5, 0.3)
    )
    assert small.converged.all()
    assert small.prediction_error.max() < 1e-3
    assert large.prediction_error.max() > 10 * small.prediction_error.max()
