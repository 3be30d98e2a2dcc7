"""The loop that grows a space until its pairs have converged."""

import torch
from problems import DTYPE, EPS, normal_numbers, orthogonal
from torch import Tensor

from odestab.krylov import lanczos
from odestab.krylov.ritz import Ritz, grow_until, lanczos_ritz

N = 30
FIRST = 6


def largest_pair(*matrices: Tensor) -> tuple[Tensor, Ritz]:
    """The rows of the space and the leading pair of symmetric matrices, from one start each."""
    stacked = torch.stack(matrices)

    def product(v: Tensor) -> Tensor:
        return (stacked @ v[..., None])[..., 0]

    start = normal_numbers(1, N).expand(len(matrices), -1)
    space, ritz = grow_until(
        lambda previous, steps: lanczos(product, start, steps, previous),
        lanczos_ritz,
        lambda pairs: 1e-5 * pairs.values.abs(),
        (FIRST, 4, N),
    )
    return space.basis, ritz


def test_an_example_that_has_converged_keeps_its_pair_while_its_mate_goes_on() -> None:
    # Fails if pairs are taken from the last space for all: what an example gets would depend on how
    # long its batch mates need.
    q = orthogonal(N)
    decaying = torch.linspace(0, 1, N - 1, dtype=DTYPE) * 0.2
    easy = q @ torch.diag(torch.cat([torch.ones(1, dtype=DTYPE), decaying])) @ q.T
    hard = q @ torch.diag(torch.linspace(0, 1, N, dtype=DTYPE)) @ q.T
    alone, pair_alone = largest_pair(easy)
    together, pair = largest_pair(easy, hard)
    assert alone.shape[1] < together.shape[1]
    assert (pair.right[0, alone.shape[1] :] == 0).all()
    torch.testing.assert_close(pair.values[0], pair_alone.values[0], rtol=4 * EPS, atol=0)
    torch.testing.assert_close(
        pair.right[0, : alone.shape[1]].abs(), pair_alone.right[0].abs(), rtol=0, atol=100 * EPS
    )
