import pytest
import torch
from problems import DTYPE, linear_operator, ragged_operator, random_matrix
from torch import Tensor

from odestab.steps.step_growth import step_growth

STEPS = torch.tensor([0.1, 0.3, 0.5, 1.0, 1.5], dtype=DTYPE)
N = 40


def exact(matrix: Tensor, theta: float) -> Tensor:
    eye = torch.eye(len(matrix), dtype=DTYPE)
    steps = [
        (eye + h * (1 - theta) * matrix) @ torch.linalg.inv(eye - h * theta * matrix)
        for h in STEPS.tolist()
    ]
    return torch.stack([torch.linalg.matrix_norm(step, 2) for step in steps])


@pytest.mark.parametrize("theta", [0.0, 0.5, 1.0])
def test_all_step_sizes_against_dense(theta: float) -> None:
    matrices = [0.5 * random_matrix(N, "non-normal", seed) for seed in (0, 5)]
    found = step_growth(linear_operator(*matrices), STEPS, theta, rtol=1e-6)
    expected = torch.stack([exact(matrix, theta) for matrix in matrices])
    assert found.converged.all() and found.kind == "estimate"
    assert (found.values <= expected * (1 + 1e-10)).all()  # a lower bound
    torch.testing.assert_close(
        found.values, expected, rtol=1e-9, atol=0
    )  # of second order in the residual


def test_one_space_serves_all_steps() -> None:
    operator = linear_operator(random_matrix(N, "non-normal"))
    one = step_growth(operator, STEPS[-1:], rtol=1e-3)
    five = step_growth(operator, STEPS, rtol=1e-3)
    assert five.matvecs < 3 * one.matvecs


@pytest.mark.parametrize("theta", [0.0, 1.0])
def test_a_spent_space_is_flagged_and_its_residual_is_true(theta: float) -> None:
    matrix = 0.5 * random_matrix(N, "non-normal")
    found = step_growth(linear_operator(matrix), STEPS, theta, rtol=1e-10, max_dimension=4)
    assert not found.converged.any() and (found.values[0] < exact(matrix, theta)).all()
    assert (found.residuals > 1e-10 * found.values).all()


def test_a_batch_gives_each_example_what_it_gets_alone() -> None:
    large, small = 0.5 * random_matrix(N, "non-normal"), random_matrix(6, "non-normal", 1)
    for theta in (0.0, 1.0):
        together = step_growth(ragged_operator(large, small), STEPS, theta)
        for example, matrix in enumerate((large, small)):
            alone = step_growth(ragged_operator(matrix), STEPS, theta)
            torch.testing.assert_close(
                together.values[example], alone.values[0], rtol=1e-10, atol=0
            )


def test_an_example_that_is_not_finite_is_data() -> None:
    good, bad = random_matrix(N, "normal"), torch.full((N, N), torch.nan, dtype=DTYPE)
    found = step_growth(linear_operator(bad, good), STEPS, 0.0)
    assert (
        found.values[0].isnan().all() and not found.converged[0].any() and found.converged[1].all()
    )


def test_wrong_input() -> None:
    operator = linear_operator(random_matrix(N, "normal"))
    with pytest.raises(ValueError, match=r"step_sizes must be > 0 and finite, got \[0.0\]"):
        step_growth(operator, torch.zeros(1, dtype=DTYPE))
    with pytest.raises(ValueError, match=r"theta must be in \[0, 1\], got 2.0"):
        step_growth(operator, STEPS, 2.0)
