import pytest
import torch
from problems import DTYPE, as_complex, rotated_ones, rotation_scaling

from odestab.fields.vector_field import LinearVectorField
from odestab.solver import FixedPoint, ImplicitEquation

POINTS = (-0.6 + 0.3j, 0.4 - 0.7j, -0.2 + 0j)


@pytest.mark.parametrize(
    "split, damping, preconditioned",
    [(0.0, 1.0, True), (-1.0, 1.0, True), (-1.0, 1.0, False), (0.0, 0.4, True)],
)
def test_the_error_contracts_by_the_documented_factor(
    split: float, damping: float, preconditioned: bool
) -> None:
    h = 0.9
    z, x = rotated_ones(*POINTS)
    equation = ImplicitEquation(LinearVectorField(rotation_scaling(z / h), split), x, h)
    g = damping / (1 - h * split) if preconditioned else damping
    errors = []
    for k in (3, 4):
        solver = FixedPoint(
            damping=damping,
            preconditioned=preconditioned,
            max_iterations=k,
            rtol=0.0,
            keep_last=True,
        )
        errors.append(as_complex(solver.solve(equation, x).state) - 1 / (1 - z))
    torch.testing.assert_close(errors[1] / errors[0], 1 - g * (1 - z), rtol=1e-12, atol=0)


def test_the_resolvent_solves_the_declared_linear_part_in_one_iteration() -> None:
    x = torch.ones(1, 4, dtype=DTYPE)
    equation = ImplicitEquation(
        LinearVectorField(-50.0 * torch.eye(4, dtype=DTYPE), split=-50.0), x, 1.0
    )
    solution = FixedPoint(rtol=1e-12).solve(equation, x)
    assert solution.converged.all() and solution.iterations[0] == 1
    torch.testing.assert_close(solution.state, x / 51, rtol=1e-14, atol=0)
    assert not FixedPoint(preconditioned=False).solve(equation, x).converged.any()
