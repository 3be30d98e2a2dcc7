import math

import pytest
import scipy.optimize
import torch
from problems import DTYPE, grcar, jordan_block, linear_operator, random_matrix
from torch import Tensor

from odestab.nonnormality.pseudospectral_extrema import (
    pseudospectral_abscissa,
    pseudospectral_radius,
)


@pytest.fixture(params=["exact", "bound"])
def kind(request, monkeypatch: pytest.MonkeyPatch) -> str:
    """Small matrices are searched through a Hamiltonian eigenproblem; a lower limit reaches the
    search by samples.
    """
    if request.param == "bound":
        monkeypatch.setattr("odestab.nonnormality.pseudospectral_extrema.CERTIFIED_LIMIT", 0)
    return request.param


def smallest(matrix: Tensor, z: Tensor) -> float:
    return float(
        torch.linalg.svdvals(z * torch.eye(len(matrix), dtype=torch.complex128) - matrix)[-1]
    )


@pytest.mark.slow
def test_grcar(kind: str) -> None:
    """Guglielmi and Overton 2011: ε = 1e-4, α_ε = 2.41276, ρ_ε = 2.85216."""
    matrix = grcar(100)
    abscissa = pseudospectral_abscissa(linear_operator(matrix), 1e-4)
    radius = pseudospectral_radius(linear_operator(matrix), 1e-4)
    assert float(abscissa.value[0]) == pytest.approx(2.41276, abs=5e-6) and abscissa.kind == kind
    assert float(radius.value[0]) == pytest.approx(2.85216, abs=5e-6)
    for found in (abscissa, radius):
        assert found.converged.all() and smallest(matrix, found.point[0]) <= 1e-4 * (1 + 1e-6)
    assert float(abscissa.point[0].real) == float(abscissa.value[0])
    assert float(radius.point[0].abs()) == pytest.approx(float(radius.value[0]), rel=1e-14)


def test_normal_matrices_reach_epsilon_further(kind: str) -> None:
    matrix = random_matrix(20, "normal")
    values, epsilon = torch.linalg.eigvals(matrix), 0.03
    abscissa = pseudospectral_abscissa(linear_operator(matrix), epsilon)
    radius = pseudospectral_radius(linear_operator(matrix), epsilon)
    assert float(abscissa.value[0]) == pytest.approx(float(values.real.max()) + epsilon, rel=1e-6)
    assert float(radius.value[0]) == pytest.approx(float(values.abs().max()) + epsilon, rel=1e-6)


def test_two_by_two_in_closed_form(kind: str) -> None:
    """[[0, c], [0, 0]]: σ_min(zI − A) = ε on the circle |z|² = ε² + cε."""
    c, epsilon = 5.0, 0.1
    operator = linear_operator(torch.tensor([[0.0, c], [0.0, 0.0]], dtype=DTYPE))
    reach = math.sqrt(epsilon**2 + c * epsilon)
    assert float(pseudospectral_abscissa(operator, epsilon).value[0]) == pytest.approx(
        reach, rel=1e-6
    )
    assert float(pseudospectral_radius(operator, epsilon).value[0]) == pytest.approx(
        reach, rel=1e-6
    )


@pytest.mark.slow
def test_small_epsilon_tends_to_the_spectrum(kind: str) -> None:
    matrix = random_matrix(30, "non-normal")
    operator, values = linear_operator(matrix), torch.linalg.eigvals(matrix)
    for extremum, limit in (
        (pseudospectral_abscissa, values.real.max()),
        (pseudospectral_radius, values.abs().max()),
    ):
        found = [float(extremum(operator, epsilon).value[0]) for epsilon in (1e-11, 1e-2, 1e-1)]
        assert found[0] == pytest.approx(float(limit), abs=1e-5) and found[0] < found[1] < found[2]


def test_examples_are_independent_and_nan_stays_with_its_own(kind: str) -> None:
    good, bad = random_matrix(12, "non-normal"), torch.full((12, 12), torch.nan, dtype=DTYPE)
    found = pseudospectral_abscissa(linear_operator(bad, good), 0.1)
    alone = pseudospectral_abscissa(linear_operator(good), 0.1)
    assert found.value[0].isnan() and not found.converged[0] and found.converged[1]
    assert float(found.value[1]) == pytest.approx(float(alone.value[0]), rel=1e-10)


def test_wrong_input() -> None:
    operator = linear_operator(torch.eye(3, dtype=DTYPE))
    with pytest.raises(ValueError, match=r"epsilon must be > 0 and finite, got 0\.0"):
        pseudospectral_abscissa(operator, 0.0)
    with pytest.raises(ValueError, match=r"method must be one of .*, got 'guess'"):
        pseudospectral_radius(operator, 0.1, "guess")


@pytest.mark.slow
@pytest.mark.parametrize("n", [26, 45])
@pytest.mark.parametrize("epsilon", [2.0, 1e-2, 1e-5, 1e-10])
def test_jordan_blocks(n: int, epsilon: float) -> None:
    """The pseudospectrum of a Jordan block is a disc: σ_min(rI − N) = ε at its radius r, about
    ε^{1/n}.
    """
    # Fails if the way from the eigenvalue is walked in steps of ε, or by slopes of a σ that is
    # rounding.
    block = jordan_block(n, 0.0)

    def gap(r: float) -> float:
        return float(torch.linalg.svdvals(r * torch.eye(n, dtype=DTYPE) - block)[-1]) - epsilon

    radius = scipy.optimize.brentq(gap, 1e-3, 4.0, xtol=1e-14)
    for found in (pseudospectral_abscissa, pseudospectral_radius):
        extremum = found(linear_operator(block), epsilon)
        assert extremum.converged.all() and extremum.kind == "exact"
        assert float(extremum.value) == pytest.approx(
            radius, rel=1e-5
        )  # rounding/(n ε) where ε is 1e-10


def test_below_rounding_an_extremum_is_not_converged() -> None:
    # Fails if any σ counts as ε that rounding cannot tell from it.
    for found in (pseudospectral_abscissa, pseudospectral_radius):
        assert not found(linear_operator(jordan_block(12, 0.5)), 1e-17).converged.any()
