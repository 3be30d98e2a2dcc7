"""Balancing of operators that are known by their products alone."""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from odestab.krylov.orthogonalization import power_of_two
from odestab.operators.linear_operator import AbstractOperator, ComposedOperator

PROBES = 4  # random signs, from which the lengths of rows and columns are estimated
ROUNDS = 40
EVEN = 4.0  # a row this much longer than its column is balanced
UNEVEN = -0.4  # exponent of eps: from there on norms say little about the smallest couplings


@dataclasses.dataclass(frozen=True, eq=False)
class Balanced:
    """B = D⁻¹ A D with a diagonal D of powers of two per example.

    Attributes:
        operator: B.
        diagonal: D, a state.
    """

    operator: AbstractOperator
    diagonal: Float[Tensor, "batch *event"]


def balanced(operator: AbstractOperator) -> Balanced | None:
    """Rows and columns of like length (Chen and Demmel 2000, algorithm KrylovAtz); None where the
    rows of no example are longer or shorter than their columns by more than eps^−0.4.

    An operator that is not badly scaled costs one product and one with the transpose, of PROBES
    tangents each.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.stack([operator.random(generator) for _ in range(PROBES)])
    signs = noise.sign()
    diagonal = torch.ones_like(operator.like)
    uneven = torch.finfo(operator.like.dtype).eps ** UNEVEN
    for round_ in range(ROUNDS):
        ratio = _row_over_column(operator, diagonal, signs)
        largest = torch.maximum(ratio, 1 / ratio).flatten(1).amax(1)
        if round_ == 0:
            # Decided once: an example is balanced to the end or left as it is.
            needed = largest > uneven
        if not bool((needed & (largest > EVEN)).any()):
            break
        # √(row/column) makes both alike; as a power of two it changes no digit of A.
        moved = diagonal * power_of_two(ratio.sqrt())
        diagonal = torch.where(needed.view(-1, *(1 for _ in ratio.shape[1:])), moved, diagonal)
    if bool((diagonal == 1).all()):
        return None
    similar = ComposedOperator(
        lambda v: operator.mv(v * diagonal.to(v.dtype)) / diagonal.to(v.dtype),
        lambda u: operator.rmv(u / diagonal.to(u.dtype)) * diagonal.to(u.dtype),
        operator.like,
        operator.mask,
        parts=(operator,),
    )
    return Balanced(similar, diagonal)


def _row_over_column(operator: AbstractOperator, diagonal: Tensor, signs: Tensor) -> Tensor:
    """The estimated length of every row of D⁻¹AD over that of its column; 1 where one of them has
    none, or is not finite.
    """
    # The largest of some sums with random signs is about as large as the row is long.
    rows = (operator.mv(signs * diagonal) / diagonal).abs().amax(0)
    columns = (operator.rmv(signs / diagonal) * diagonal).abs().amax(0)
    ratio = rows / columns
    usable = ratio.isfinite() & (ratio > 0)
    return torch.where(usable, ratio, 1.0)
