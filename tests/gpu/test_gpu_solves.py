"""Whole solves on the device: as on the processor in float64, each example for itself, and without
waiting.
"""

import contextlib
import dataclasses
from collections.abc import Iterator

import pytest
import torch
from layers import both

import odestab as od
from odestab.solver import ImplicitEquation
from odestab.watch import AHEAD

SOLVERS = {
    "fixed point": od.FixedPoint(rtol=1e-5, max_iterations=300),
    "Anderson": od.Anderson(rtol=1e-5),
    "Auto": od.Auto(rtol=1e-5),
    "Newton–Krylov": od.NewtonKrylov(rtol=1e-5),
}


@contextlib.contextmanager
def no_wait() -> Iterator[None]:
    """Any wait of the host for the device inside is a RuntimeError."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", SOLVERS)
def test_a_solve_is_that_of_the_processor(device: str, name: str) -> None:
    (field, x), (exact_field, exact_x) = both(device, torch.float32)
    exact = od.Anderson(rtol=1e-12).solve(ImplicitEquation(exact_field, exact_x, 0.5), exact_x)
    assert exact.converged.all()
    with torch.no_grad():
        found = SOLVERS[name].solve(ImplicitEquation(field, x, 0.5), x)
    assert found.state.device == x.device and found.converged.all()
    # ‖y − y*‖ ≤ ‖M⁻¹‖ ‖r‖: the residual is 1e-5, ‖M⁻¹‖ a few units.
    torch.testing.assert_close(
        found.state.cpu().double(), exact.state, rtol=0, atol=2e-4 * float(exact.state.abs().max())
    )


def test_a_solve_in_bf16_stops_at_what_rounding_leaves(device: str) -> None:
    (field, x), (exact_field, exact_x) = both(device, torch.bfloat16)
    exact = od.Anderson(rtol=1e-12).solve(ImplicitEquation(exact_field, exact_x, 0.5), exact_x)
    with torch.no_grad():
        found = od.Anderson(rtol=1e-2).solve(ImplicitEquation(field, x, 0.5), x)
    assert found.state.dtype == torch.bfloat16 and found.converged.all()
    gap = (found.state.cpu().double() - exact.state).flatten(1).norm(dim=1) / exact.state.flatten(
        1
    ).norm(dim=1)
    assert (
        gap < 0.1
    ).all()  # a residual of 1e-2, eps of 2⁻⁸ in every product of F, ‖M⁻¹‖ a few units


@pytest.mark.parametrize(
    "solver", [od.FixedPoint(rtol=1e-3), od.Anderson(rtol=1e-3)], ids=["fixed point", "Anderson"]
)
def test_an_example_that_is_not_finite_leaves_the_others_as_they_are(
    device: str, solver: od.AbstractImplicitSolver
) -> None:
    (field, x), _ = both(device, torch.float32)
    poisoned = x.clone()
    poisoned[1, 0, 0] = torch.nan
    with torch.no_grad():
        plain, found = (
            solver.solve(ImplicitEquation(field, state, 0.5), state) for state in (x, poisoned)
        )
    assert od.Status(int(found.status[1])) == od.Status.NON_FINITE
    for example in (0, 2):
        assert torch.equal(found.state[example], plain.state[example])
        assert found.evaluations[example] == plain.evaluations[example]


@pytest.mark.parametrize(
    "solver", [od.FixedPoint(rtol=0.0), od.Anderson(rtol=0.0), od.Anderson(rtol=0.0, memory=3)]
)
def test_no_iteration_waits_for_the_device(cuda: str, solver: od.AbstractImplicitSolver) -> None:
    (field, x), _ = both(cuda, torch.float32)
    equation = ImplicitEquation(field, x, 0.5, differentiable=False)
    with torch.no_grad():
        solver.solve(equation, x)  # compiles the kernels
        torch.cuda.synchronize()
        with no_wait():
            solver.solve(equation, x)


def test_the_end_is_seen_soon(cuda: str) -> None:
    """The loop runs on for a few iterations after the last example has ended, which changes
    nothing, and then stops.
    """
    (field, x), _ = both(cuda, torch.float32)
    calls = [0]

    def counted(y: torch.Tensor) -> torch.Tensor:
        calls[0] += 1
        return field.layer(y)

    with torch.no_grad():
        found = od.Anderson(rtol=1e-2).solve(
            ImplicitEquation(dataclasses.replace(field, layer=counted), x, 0.5), x
        )
    needed = int(found.evaluations.max())
    assert needed <= calls[0] <= needed + AHEAD
