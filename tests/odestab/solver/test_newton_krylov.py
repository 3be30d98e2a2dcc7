import itertools
import math

import torch
from problems import (
    DTYPE,
    Decay,
    MixingField,
    masked_state,
    normal_numbers,
    ragged_mask,
    random_matrix,
)

import odestab as od
from odestab.fields.vector_field import AbstractVectorField, LinearVectorField
from odestab.solver import ImplicitEquation, NewtonKrylov, Status


def implicit_decay(x: torch.Tensor, h: float) -> torch.Tensor:
    """The positive root of h y² + y − x = 0."""
    return (-1 + (1 + 4 * h * x).sqrt()) / (2 * h)


def test_known_solution_of_a_quadratic() -> None:
    x = torch.linspace(0.1, 5, 12, dtype=DTYPE).view(2, 6)
    solution = NewtonKrylov(rtol=1e-13).solve(ImplicitEquation(Decay(), x, 2.0), x)
    assert solution.converged.all()
    torch.testing.assert_close(solution.state, implicit_decay(x, 2.0), rtol=1e-12, atol=0)


def test_one_step_solves_a_linear_problem_to_the_forcing_term() -> None:
    x = normal_numbers(1, 20)
    equation = ImplicitEquation(LinearVectorField(random_matrix(20, "stiff")), x, 1.0)
    first = NewtonKrylov(max_iterations=1, forcing=1e-3).solve(equation, x)
    assert float(first.residual[0]) <= 1e-3 * float(equation.field.rms(equation.residual(x))[0])


def test_convergence_is_superlinear_near_the_solution() -> None:
    mask = ragged_mask(3, 4)
    equation = ImplicitEquation(MixingField.random(mask, size=1.5, seed=2), masked_state(mask), 0.8)
    norms = [
        NewtonKrylov(max_iterations=k, rtol=0.0, keep_last=True)
        .solve(equation, equation.rhs)
        .residual.max()
        .item()
        for k in range(9)
    ]
    ratios = [b / a for a, b in itertools.pairwise(norms) if b > 1e-13]
    assert len(ratios) >= 3 and ratios[-1] < 1e-2 * ratios[0]


def test_steps_that_leave_the_basin_are_cut_back() -> None:
    """Newton for arctan diverges from |y| > 1.39 without a line search (Kelley 1995, section
    8.1).
    """

    class Arctan(AbstractVectorField):
        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            return x - torch.atan(x)  # y = 0 + f(y) is arctan(y) = 0

    start = torch.full((1, 1), 10.0, dtype=DTYPE)
    solution = NewtonKrylov(rtol=0.0, atol=1e-10).solve(
        ImplicitEquation(Arctan(), torch.zeros(1, 1, dtype=DTYPE), 1.0), start
    )
    assert solution.converged.all() and solution.state.abs().max() < 1e-9


def test_without_a_solution_it_stalls_and_says_so() -> None:
    """y = x + h(−y²) has no real solution below x = −1/(4h); the residual's minimum over y is x +
    1/(4h).
    """
    x = torch.full((1, 1), -2.0, dtype=DTYPE)
    solution = NewtonKrylov().solve(ImplicitEquation(Decay(), x, 1.0), x)
    assert solution.status[0] in (Status.STALLED, Status.MAX_ITERATIONS)
    assert float(solution.residual[0]) >= 1.75 and math.isfinite(float(solution.residual[0]))


def test_a_layer_with_fused_attention_is_differentiated() -> None:
    """torch's fused attention has no forward-mode derivatives; the products go through the kernel
    that has.
    """
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(3, 8, 8, generator=generator, dtype=DTYPE) / 4

    def attend(y: torch.Tensor) -> torch.Tensor:
        query, key, value = ((y @ one).unflatten(-1, (2, 4)).transpose(1, 2) for one in w)
        return (
            torch.nn.functional.scaled_dot_product_attention(query, key, value)
            .transpose(1, 2)
            .flatten(2)
        )

    x = torch.randn(2, 5, 8, generator=generator, dtype=DTYPE)
    field = od.LayerVectorField(attend)
    solution = NewtonKrylov(rtol=1e-10).solve(ImplicitEquation(field, x, 1.0), x)
    assert solution.converged.all() and solution.iterations.max() < 8
    jacobian = od.Jacobian(field, x)
    assert jacobian.linearization.path == "torch.func"
    torch.testing.assert_close(jacobian.mv(x), central(field, x), rtol=1e-6, atol=1e-7)


def central(field: od.AbstractVectorField, x: torch.Tensor) -> torch.Tensor:
    step = 1e-5
    return (field(x + step * x) - field(x - step * x)) / (2 * step)
