"""Bad input and bad fields: named, confined to their example, and never called converged."""

import dataclasses

import pytest
import torch
from problems import DTYPE, MixingField, masked_state, normal_numbers, orthogonal, ragged_mask
from torch import Tensor

from odestab.fields.vector_field import AbstractVectorField, LinearVectorField
from odestab.solver import (
    AbstractImplicitSolver,
    Anderson,
    Auto,
    FixedPoint,
    GradientDescent,
    ImplicitEquation,
    NewtonKrylov,
    Status,
)

SOLVERS: dict[str, AbstractImplicitSolver] = {
    "fixed point": FixedPoint(),
    "Anderson": Anderson(),
    "Newton–Krylov": NewtonKrylov(),
    "gradient descent": GradientDescent(steps=None, max_iterations=300),
    "auto": Auto(),
}
each_solver = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())


@pytest.fixture(params=["recorded", "in place"], autouse=True)
def recording(request: pytest.FixtureRequest):
    with torch.set_grad_enabled(request.param == "recorded"):
        yield


class Breaking(AbstractVectorField):
    """f(y) = A y, but one example's image is spoilt from the given evaluation on."""

    def __init__(self, spoilt: float, after: int) -> None:
        self.spoilt, self.after, self.calls = spoilt, after, 0

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        image = -0.7 * x.roll(1, 1)
        if self.calls <= self.after:
            return image
        bad = torch.zeros(len(x), dtype=torch.bool)
        bad[1] = True
        return torch.where(bad[:, None], self.spoilt, image)


@each_solver
@pytest.mark.parametrize("spoilt", [torch.nan, torch.inf])
@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_field_that_breaks_for_one_example(
    solver: AbstractImplicitSolver, spoilt: float, after: int
) -> None:
    x = normal_numbers(3, 8)
    sound = solver.solve(ImplicitEquation(Breaking(spoilt, 10**9), x, 1.0), x)
    broken = solver.solve(ImplicitEquation(Breaking(spoilt, after), x, 1.0), x)
    for example in (0, 2):
        for name in ("state", "status", "residual", "iterations", "evaluations"):
            assert torch.equal(getattr(sound, name)[example], getattr(broken, name)[example]), name
    assert broken.status[1] == Status.NON_FINITE and broken.state[1].isfinite().all()
    assert torch.equal(broken.state[1], x[1]) or after > 1


def test_a_pole_is_ill_posed() -> None:
    # hλ = 1 exactly: y = x + λhy has no solution, and every y with the right other components is as
    # good as any.
    q = orthogonal(6)
    matrices = torch.stack(
        [
            q @ torch.diag(torch.tensor([1.0, *(-0.5,) * 5], dtype=DTYPE)) @ q.T,
            -0.5 * torch.eye(6, dtype=DTYPE),
        ]
    )
    x = normal_numbers(2, 6)
    solution = Auto().solve(ImplicitEquation(LinearVectorField(matrices), x, 1.0), x)
    assert [Status(int(s)).name for s in solution.status] == ["ILL_POSED", "CONVERGED"]
    assert (
        float(solution.residual[0]) >= 0.999 * abs(float(x[0] @ q[:, 0])) / 6**0.5
    )  # the component of x that nothing can reach
    assert torch.equal(solution.state[0], x[0])


class Parabola(AbstractVectorField):
    """f(y) = 1 + y + y²."""

    def __call__(self, x: Tensor) -> Tensor:
        return x + x * x + 1.0


def test_a_local_minimum_of_the_residual_is_ill_posed() -> None:
    # y = x + y + y² + 1 means y² = −(1 + x): none for x = 1, with the residual least and stationary
    # at y = 0.
    x = torch.full((1, 1), 1.0, dtype=DTYPE)
    solution = Auto().solve(ImplicitEquation(Parabola(), x, 1.0), x)
    assert solution.status[0] == Status.ILL_POSED


def test_an_example_of_padding_alone() -> None:
    mask = ragged_mask(4, 0, 3)
    equation = ImplicitEquation(
        MixingField.random(mask, size=1.0, split=-0.5), masked_state(mask), 0.8
    )
    for solver in SOLVERS.values():
        solution = solver.solve(equation, equation.rhs)
        assert (
            solution.status[1] == Status.CONVERGED
            and solution.iterations[1] == 0
            and solution.residual[1] == 0
        )
        assert torch.equal(solution.state[1], equation.rhs[1])


@each_solver
def test_shapes_and_masks(solver: AbstractImplicitSolver) -> None:
    mask = ragged_mask(4, 2, 3)
    field, x = MixingField.random(mask, size=1.0), masked_state(mask)
    for wrong in (mask[:2], mask.to(torch.int64), mask[:, :3]):
        with pytest.raises(
            ValueError, match=r"mask must be bool of shape \(batch, tokens\) = \(3, 4\)"
        ):
            solver.solve(ImplicitEquation(dataclasses.replace(field, mask=wrong), x, 1.0), x)
    with pytest.raises(ValueError, match="right-hand side must have the state's shape"):
        solver.solve(ImplicitEquation(field, x[:2], 1.0), x)


class Shrinking(AbstractVectorField):
    def __call__(self, x: Tensor) -> Tensor:
        return x[:, :1]

    unsplit = __call__


class Noisy(AbstractVectorField):
    def __call__(self, x: Tensor) -> Tensor:
        return -0.5 * x + 1e-9 * torch.randn_like(x)


@each_solver
def test_fields_that_are_none(solver: AbstractImplicitSolver) -> None:
    x = normal_numbers(2, 3)
    with pytest.raises(
        ValueError, match=r"field must keep the shape of the state \(2, 3\), got \(2, 1\)"
    ):
        solver.solve(ImplicitEquation(Shrinking(), x, 1.0), x)
    with pytest.raises(
        ValueError, match="drew random numbers: freeze them, or say deterministic=False"
    ):
        solver.solve(ImplicitEquation(Noisy(), x, 1.0), x)
    assert (
        dataclasses.replace(solver, deterministic=False)
        .solve(ImplicitEquation(Noisy(), x, 1.0), x)
        .state.isfinite()
        .all()
    )


def test_counts_are_whole_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    with pytest.raises(ValueError, match=r"memory must be a whole number, got 2\.5"):
        Anderson(memory=2.5)
    with pytest.raises(ValueError, match=r"max_iterations must be a whole number, got 1\.5"):
        FixedPoint(max_iterations=1.5)
    with pytest.raises(ValueError, match=r"max_iterations must be a whole number, got 1\.5"):
        GradientDescent(steps=1.5)


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ValueError, match="memory must be >= 1, got 0"):
        Anderson(memory=0)
    with pytest.raises(ValueError, match="period must be >= 1, got 0"):
        Anderson(period=0)
    with pytest.raises(ValueError, match="damping must be > 0, got 0"):
        Anderson(damping=0.0)
    with pytest.raises(ValueError, match=r"cap must be > 1, got 0\.5"):
        Anderson(cap=0.5)
    for solver in SOLVERS.values():
        with pytest.raises(TypeError, match="unexpected keyword"):
            type(solver)(rtoll=1e-3)
