import pytest
import torch
from problems import DTYPE, grcar, linear_operator, random_matrix

from odestab.nonnormality.kreiss import kreiss_constant
from odestab.nonnormality.resolvent import resolvent


@pytest.mark.parametrize("c", [3.0, 6.0, 20.0])
def test_two_by_two_in_closed_form(c: float) -> None:
    found = kreiss_constant(linear_operator(torch.tensor([[0.0, c], [0.0, 0.0]], dtype=DTYPE)))
    assert float(found.value[0]) == pytest.approx(c / 4 + 1 / c, rel=1e-10)
    assert found.kind == "bound" and float(found.scale[0]) == 1


def test_normal_contractions_have_one() -> None:
    matrix = random_matrix(6, "normal")
    for time, shift in (("discrete", 0.0), ("continuous", 1.0)):
        found = kreiss_constant(linear_operator(matrix - shift * torch.eye(6, dtype=DTYPE)), time)
        assert float(found.value[0]) == pytest.approx(1.0, abs=1e-6)


def test_powers_lie_between_the_constant_and_e_n_times_it() -> None:
    n = 10
    matrix = grcar(n)
    found = kreiss_constant(linear_operator(matrix))
    scaled = matrix / float(found.scale[0])
    assert float(found.scale[0]) == pytest.approx(
        float(torch.linalg.eigvals(matrix).abs().max()), rel=1e-9
    )
    power, largest = torch.eye(n, dtype=DTYPE), 1.0
    for _ in range(400):
        power = power @ scaled
        largest = max(largest, float(torch.linalg.matrix_norm(power, 2)))
    assert float(found.value[0]) <= largest * (1 + 1e-9) and largest <= 2.7183 * n * float(
        found.value[0]
    )
    assert float(found.value[0]) > 3  # far from normal


def test_the_flow_lies_between_the_constant_and_e_n_times_it() -> None:
    n = 10
    matrix = -grcar(n)
    found = kreiss_constant(linear_operator(matrix), "continuous")
    shifted = matrix - float(found.scale[0]) * torch.eye(n, dtype=DTYPE)
    flow = [
        float(torch.linalg.matrix_norm(torch.linalg.matrix_exp(t * shifted), 2))
        for t in torch.linspace(0, 30, 121).tolist()
    ]
    assert float(found.value[0]) <= max(flow) * 1.02 and max(flow) <= 2.7183 * n * float(
        found.value[0]
    )  # sampled in time


def test_the_value_is_that_of_the_point() -> None:
    matrix = grcar(12)
    found = kreiss_constant(linear_operator(matrix))
    z = found.point[0] * torch.eye(12, dtype=DTYPE) - matrix / float(found.scale[0])
    assert float((found.point[0].abs() - 1) / torch.linalg.svdvals(z)[-1]) == pytest.approx(
        float(found.value[0]), rel=1e-6
    )


def test_the_supremum_is_taken_where_the_resolvent_is_known() -> None:
    # Fails if a σ that is zero to rounding counts: near the eigenvalue of a long Jordan block it is
    # noise, and its quotient larger than any that is known.
    block = torch.diag(torch.full((7,), 100.0, dtype=DTYPE), 1)
    prepared = resolvent(linear_operator(block))
    found = kreiss_constant(prepared.operator, prepared=prepared)
    at_point = prepared.triplets(found.scale.double()[:, None] * found.point[:, None])
    assert (at_point.values > 10 * at_point.rounding).all()  # K is good to a tenth
    assert found.value > 1e6


def test_examples_are_independent_and_nan_stays_with_its_own() -> None:
    good, bad = grcar(6), torch.full((6, 6), torch.nan, dtype=DTYPE)
    found, alone = (
        kreiss_constant(linear_operator(bad, good)),
        kreiss_constant(linear_operator(good)),
    )
    assert found.value[0].isnan() and float(found.value[1]) == pytest.approx(
        float(alone.value[0]), rel=1e-8
    )


def test_wrong_input() -> None:
    with pytest.raises(ValueError, match="time must be one of discrete, continuous, got 'now'"):
        kreiss_constant(linear_operator(torch.eye(3, dtype=DTYPE)), "now")
