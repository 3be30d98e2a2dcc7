"""Singular values of operators whose products cost linear solves."""

import pytest
import torch
from problems import DTYPE, linear_operator, normal_numbers, orthogonal

from odestab.spectrum.inexact import inexact_singular_values

N = 24


@pytest.mark.parametrize("seed", [0, 1])
def test_a_start_near_the_second_vector_does_not_pass_for_the_first(seed: int) -> None:
    # Fails if the vector after the wanted one need not have begun to converge: three dimensions
    # hold the second value, 0.9, to the loose tolerance, and have not seen the first.
    values = torch.cat([torch.tensor([1.0, 0.9]), torch.linspace(0.5, 0.1, N - 2)]).to(DTYPE)
    right = orthogonal(N, seed + 50)
    operator = linear_operator(orthogonal(N, seed) @ torch.diag(values) @ right.T)
    start = right[:, 1] + 1e-3 * normal_numbers(N, seed=seed + 9) / N**0.5
    spectrum = inexact_singular_values(operator, operator, start.view_as(operator.like), 1, 0.1)
    assert spectrum.converged.all()
    assert spectrum.values.item() == pytest.approx(1.0, abs=0.01)  # of second order in 0.1
