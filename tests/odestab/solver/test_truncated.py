"""A solver that is stopped is a polynomial: what the closed formula says, what the library says,
and what the solver does.
"""

import pytest
import torch
from problems import as_complex, rotated_ones, rotation_scaling
from torch import Tensor

from odestab.fields.vector_field import LinearVectorField
from odestab.solver import (
    AbstractImplicitSolver,
    FixedPoint,
    GradientDescent,
    truncated_stability_function,
)
from odestab.steps.one_step import ImplicitEuler

POINTS = (-2.0 + 0.5j, -0.7 + 1.1j, 0.3 - 0.4j, -1.0 + 0.0j, 0.9 + 0.8j, 1.5 + 0.0j)
ETA = 0.15
CASES = ("Picard", "resolvent Picard", "gradient descent")


def closed_formula(case: str, z: Tensor, h: float, k: int, start: str) -> Tensor:
    """R_k(z) = (1 − c^k)/(1 − z) + c^k R_0(z), Mathematics, section 2; written here independently
    of the library.
    """
    c = {
        "Picard": z,
        "resolvent Picard": (h + z) / (1 + h),
        "gradient descent": 1 - ETA * abs(1 - z) ** 2 + 0j,
    }[case]
    first = 1.0 if start == "state" else 1 + z
    return (1 - c**k) / (1 - z) + c**k * first


def solver_of(case: str, k: int, start: str) -> tuple[AbstractImplicitSolver, float]:
    """The solver and the split of the field."""
    if case == "gradient descent":
        return GradientDescent(steps=k, step_size=ETA, start=start, rtol=0.0), 0.0
    plain = case == "Picard"
    return FixedPoint(
        max_iterations=k, rtol=0.0, keep_last=True, start=start, preconditioned=not plain
    ), 0.0 if plain else -1.0


@pytest.mark.parametrize("start", ["state", "explicit"])
@pytest.mark.parametrize("k", [0, 1, 2, 5, 12])
@pytest.mark.parametrize("h", [0.25, 1.0, 2.5])
@pytest.mark.parametrize("case", CASES)
def test_polynomial_is_what_the_solver_does(case: str, h: float, k: int, start: str) -> None:
    z, x = rotated_ones(*POINTS)
    expected = closed_formula(case, z, h, k, start)
    solver, split = solver_of(case, k, start)
    method = ImplicitEuler(h, solver=solver)
    executed = as_complex(method.step(LinearVectorField(rotation_scaling(z / h), split), x).state)
    size = expected.abs().clamp(min=1)
    assert ((executed - expected).abs() <= 1e-10 * size).all()
    library = truncated_stability_function(solver, z, h, k, start, split=split)
    assert ((library - expected).abs() <= 1e-10 * size).all()


@pytest.mark.parametrize("case", CASES)
def test_finite_at_the_pole_of_the_exact_function(case: str) -> None:
    """At z = 1 every c is 1 and the polynomial is R_0 + k·g, g = (1 − c)/(1 − z) there."""
    z, k, h = torch.ones(1, dtype=torch.complex128), 6, 0.5
    solver, split = solver_of(case, k, "state")
    gain = {"Picard": 1.0, "resolvent Picard": 1 / (1 + h), "gradient descent": 0.0}[case]
    torch.testing.assert_close(
        truncated_stability_function(solver, z, h, k, split=split), z + k * gain, rtol=1e-14, atol=0
    )


def test_unbounded_far_out_where_the_exact_function_vanishes() -> None:
    far = torch.tensor([-1e3 + 0j, 1e3j], dtype=torch.complex128)
    for case in CASES:
        solver, split = solver_of(case, 3, "state")
        assert (truncated_stability_function(solver, far, 1.0, 3, split=split).abs() > 1e3).all()
        assert (ImplicitEuler(1.0).stability_function(far).abs() < 1.1e-3).all()


def test_converges_to_the_exact_function_inside_its_disc() -> None:
    z = torch.tensor([-0.3 + 0.2j, 0.5j], dtype=torch.complex128)
    for case in CASES:
        solver, split = solver_of(case, 400, "state")
        torch.testing.assert_close(
            truncated_stability_function(solver, z, 1.0, 400, split=split),
            1 / (1 - z),
            rtol=1e-10,
            atol=0,
        )


def test_wrong_input() -> None:
    z = torch.zeros(1, dtype=torch.complex128)
    with pytest.raises(ValueError, match="iterations must be >= 0, got -1"):
        truncated_stability_function(FixedPoint(), z, 1.0, -1)
    with pytest.raises(ValueError, match="start must be one of state, explicit, got 'x'"):
        truncated_stability_function(FixedPoint(), z, 1.0, 1, "x")
