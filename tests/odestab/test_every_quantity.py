"""What holds for every quantity of an operator: examples that cannot be measured are marked and
leave their mates alone.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from problems import DTYPE, MixingField, linear_operator, masked_state, normal_numbers, ragged_mask
from torch import Tensor

import odestab as od
from odestab.operators.linear_operator import AbstractOperator

N = 6
STEPS = torch.tensor([0.25, 1.0], dtype=DTYPE)
POINTS = torch.tensor([0.5 + 0.5j, 2.0], dtype=torch.complex128)


def spectral(field: str) -> Callable[[AbstractOperator], Tensor]:
    def of(operator: AbstractOperator) -> Tensor:
        return getattr(
            od.spectral_growth(od.ImplicitEuler(0.25), od.full_spectrum(operator)), field
        )

    return of


# Each returns values, and which of them are to be trusted.
QUANTITIES: dict[str, Callable[[AbstractOperator], tuple[Tensor, Tensor | None]]] = {
    "full spectrum": lambda a: (r := od.full_spectrum(a)) and (r.values[:, :2], r.converged[:, :2]),
    "largest eigenvalues": lambda a: (r := od.eigenvalues(a, 2)) and (r.values, r.converged),
    "smallest eigenvalues": lambda a: (r := od.eigenvalues(a, 2, "SM")) and (r.values, r.converged),
    "largest singular values": lambda a: (
        (r := od.singular_values(a, 2)) and (r.values, r.converged)
    ),
    "smallest singular value": lambda a: (
        (r := od.singular_values(a, 1, "SM")) and (r.values, r.converged)
    ),
    "smallest singular values": lambda a: (
        (r := od.singular_values(a, 2, "SM")) and (r.values, r.converged)
    ),
    "logarithmic norm": lambda a: (r := od.logarithmic_norm(a)) and (r.values, r.converged),
    "numerical range": lambda a: (r := od.numerical_range(a, 8)) and (r.support, r.converged),
    "Henrici": lambda a: (od.henrici_departure(a).value, None),
    "Henrici's bound": lambda a: (od.henrici_departure(a, limit=1).value, None),
    "density": lambda a: (
        od.spectral_density(a, "singular", steps=4, points=STEPS, width=0.5).density,
        None,
    ),
    "pseudospectrum": lambda a: (r := od.pseudospectrum(a, POINTS)) and (r.sigma_min, r.converged),
    "projected": lambda a: (
        (r := od.pseudospectrum(a, POINTS, "projected")) and (r.sigma_min, r.converged)
    ),
    "inverse": lambda a: (
        (r := od.pseudospectrum(a, POINTS, "inverse")) and (r.sigma_min, r.converged)
    ),
    "abscissa": lambda a: (r := od.pseudospectral_abscissa(a, 0.1)) and (r.value, r.converged),
    "radius": lambda a: (r := od.pseudospectral_radius(a, 0.1)) and (r.value, r.converged),
    "discrete Kreiss": lambda a: (od.kreiss_constant(a).value, None),
    "continuous Kreiss": lambda a: (od.kreiss_constant(a, "continuous").value, None),
    "explicit growth": lambda a: (r := od.step_growth(a, STEPS)) and (r.values, r.converged),
    "implicit growth": lambda a: (r := od.step_growth(a, STEPS, 1.0)) and (r.values, r.converged),
    "outer circles": lambda a: (r := od.scaled_relative_graph(a)) and (r.outer, r.outer_converged),
    "worst growth of a graph": lambda a: (
        od.scaled_relative_graph(a, inner=False).worst_growth(od.ImplicitEuler(0.25)),
        None,
    ),
    "transient growth": lambda a: (r := od.transient_growth(a, STEPS)) and (r.growth, r.converged),
    "refinement": lambda a: (
        (r := od.frozen_refinement(a, 0.25)) and (r.implicit, r.implicit_converged)
    ),
    "spectral growth": lambda a: (spectral("value")(a), spectral("certain")(a)),
    "margin": lambda a: (od.margin(od.ExplicitEuler(0.25), od.full_spectrum(a)), None),
}


def matrices() -> list[Tensor]:
    return [
        normal_numbers(N, N, seed=s) / N**0.5 - 0.5 * torch.eye(N, dtype=DTYPE) for s in range(2)
    ]


def marked(values: Tensor, good: Tensor | None) -> bool:
    return bool(values.isnan().all()) and (good is None or not bool(good.any()))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("name", QUANTITIES)
def test_an_example_that_is_not_finite_is_marked_and_its_mates_get_what_they_get_alone(
    name: str, bad: float
) -> None:
    first, second = matrices()
    broken = second.clone()
    broken[1, 2] = bad
    values, good = QUANTITIES[name](linear_operator(first, broken, second))
    assert marked(values[1], None if good is None else good[1])
    for example, matrix in ((0, first), (2, second)):
        alone, sure = QUANTITIES[name](linear_operator(matrix))
        # Matrix products round by the number of their rows, and on some processors by where these
        # lie in memory.
        torch.testing.assert_close(values[example], alone[0], rtol=1e-12, atol=0)
        assert alone.isfinite().all()
        assert good is None or torch.equal(good[example], sure[0])


@pytest.mark.parametrize("name", QUANTITIES)
def test_an_example_of_padding_alone_is_marked(name: str) -> None:
    mask = ragged_mask(2, 0, 2)
    x, field = masked_state(mask), MixingField.random(mask, fast=True)
    values, good = QUANTITIES[name](od.Jacobian(field, x))
    assert marked(values[1], None if good is None else good[1])
    assert values[[0, 2]].isfinite().all()


def test_an_empty_batch_is_refused_in_one_line() -> None:
    with pytest.raises(
        ValueError, match=r"batch must hold at least one real entry, got a state of shape \(0, 6\)"
    ):
        od.Jacobian(od.LinearVectorField(torch.eye(N, dtype=DTYPE)), torch.zeros(0, N, dtype=DTYPE))
    with pytest.raises(
        ValueError,
        match=r"batch must hold at least one real entry, got a state of shape \(2, 3, 1\)",
    ):
        od.full_spectrum(padded_alone(torch.zeros(2, 3, dtype=torch.bool)))


def padded_alone(mask: Tensor) -> AbstractOperator:
    return od.Jacobian(
        od.LinearVectorField(torch.eye(3, dtype=DTYPE), mask=mask),
        torch.zeros(*mask.shape, 1, dtype=DTYPE),
    )


@pytest.mark.parametrize("name", QUANTITIES)
@pytest.mark.parametrize("layout", ["expanded", "transposed"])
def test_states_need_not_be_contiguous(name: str, layout: str) -> None:
    field = od.LinearVectorField(torch.stack(matrices()))
    x = (
        normal_numbers(1, 2, 3).expand(2, 2, 3)
        if layout == "expanded"
        else normal_numbers(3, 2, 2).permute(2, 1, 0)
    )
    assert not x.is_contiguous()
    values, _ = QUANTITIES[name](od.Jacobian(field, x))
    expected, _ = QUANTITIES[name](od.Jacobian(field, x.contiguous()))
    assert torch.equal(values, expected)


@pytest.mark.parametrize("name", QUANTITIES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_measured_in_float32(name: str, dtype: torch.dtype) -> None:
    # A x is linear and its columns are products with unit vectors: those are exact. Others round to
    # about 2^-8.
    field, x = (
        od.LinearVectorField(torch.stack(matrices()).to(dtype)),
        torch.zeros(2, N, dtype=dtype),
    )
    values, _ = QUANTITIES[name](od.Jacobian(field, x))
    expected, _ = QUANTITIES[name](
        od.Jacobian(od.LinearVectorField(field.matrix.float()), x.float())
    )
    assert values.dtype in (torch.float32, torch.complex64, torch.float64)
    torch.testing.assert_close(values, expected, rtol=0.1, atol=0.05)


HOMOGENEOUS = (
    "full spectrum",
    "largest eigenvalues",
    "smallest eigenvalues",
    "largest singular values",
    "smallest singular value",
    "smallest singular values",
    "logarithmic norm",
    "numerical range",
    "Henrici",
    "Henrici's bound",
    "outer circles",
)


@pytest.mark.parametrize("exponent", [-400, -40, 40, 400])
@pytest.mark.parametrize("name", HOMOGENEOUS)
def test_a_matrix_of_any_scale_has_values_of_that_scale(name: str, exponent: int) -> None:
    # Powers of two round nothing: digits are the same.
    dtype = torch.float32 if abs(exponent) < 100 else DTYPE
    matrix = matrices()[0].to(dtype)
    both = torch.stack([matrix * 2.0**exponent, matrix])
    values, good = QUANTITIES[name](
        od.Jacobian(od.LinearVectorField(both), torch.zeros(2, N, dtype=dtype))
    )
    torch.testing.assert_close(values[0] / 2.0**exponent, values[1], rtol=1e-5, atol=1e-6)
    assert good is None or good.all()


@pytest.mark.parametrize("exponent", [-500, 500])
def test_what_is_asked_for_at_a_scale_is_found_at_that_scale(exponent: int) -> None:
    unit, big = (linear_operator(matrices()[0] * s) for s in (1.0, 2.0**exponent))
    s = 2.0**exponent
    for found, expected in (
        (
            od.pseudospectrum(big, POINTS * s).sigma_min / s,
            od.pseudospectrum(unit, POINTS).sigma_min,
        ),
        (
            od.pseudospectrum(big, POINTS * s, "inverse").sigma_min / s,
            od.pseudospectrum(unit, POINTS).sigma_min,
        ),
        (
            od.pseudospectral_abscissa(big, 0.1 * s).value / s,
            od.pseudospectral_abscissa(unit, 0.1).value,
        ),
        (
            od.pseudospectral_radius(big, 0.1 * s).value / s,
            od.pseudospectral_radius(unit, 0.1).value,
        ),
        (od.kreiss_constant(big, "continuous").value, od.kreiss_constant(unit, "continuous").value),
        (od.step_growth(big, STEPS / s, 0.5).values, od.step_growth(unit, STEPS, 0.5).values),
        (od.spectral_density(big, "singular").mean / s, od.spectral_density(unit, "singular").mean),
        (od.exponential(big, 1 / s).mv(unit.like + s), s * od.exponential(unit).mv(unit.like + 1)),
        (od.solve(big, unit.like + 1).solution * s, od.solve(unit, unit.like + 1).solution),
        (od.solve(unit, unit.like + s).solution / s, od.solve(unit, unit.like + 1).solution),
    ):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def test_wrong_tangents_are_refused() -> None:
    # Fails if (1, 2, 3) is read as a tangent of states (3, 2), which has as many numbers.
    field, x = od.LinearVectorField(torch.eye(2, dtype=DTYPE)), torch.zeros(3, 2, dtype=DTYPE)
    for operator in (
        od.Jacobian(field, x),
        od.affine(od.Jacobian(field, x), 1.0, 1.0),
        od.exponential(od.Jacobian(field, x)),
    ):
        for product in (operator.mv, operator.rmv):
            with pytest.raises(
                ValueError,
                match=r"tangents must be real of shape \(\.\.\., 3, "
                r"2\), got torch.float64 of \(1, 2, 3\)",
            ):
                product(torch.zeros(1, 2, 3, dtype=DTYPE))


def test_nothing_composed_is_refused() -> None:
    with pytest.raises(ValueError, match="operators must be at least one, got none"):
        od.compose([])


def test_zero_matrices_in_a_batch() -> None:
    # Fails with an exception of LAPACK's if the half plane is measured in units of a norm that is
    # zero.
    zero, decay = torch.zeros(N, N, dtype=DTYPE), -torch.eye(N, dtype=DTYPE)
    for name, value in (
        ("discrete Kreiss", 1.0),
        ("continuous Kreiss", 1.0),
        ("smallest singular value", 0.0),
        ("Henrici", 0.0),
    ):
        found: Any = QUANTITIES[name](linear_operator(zero, decay))[0]
        torch.testing.assert_close(found[0].flatten()[:1], torch.tensor([value], dtype=DTYPE))
