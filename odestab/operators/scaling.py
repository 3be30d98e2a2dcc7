"""Operators scaled per example, so that squares of their numbers stay within range."""

import torch
from jaxtyping import Float
from torch import Tensor

from odestab.krylov.orthogonalization import power_of_two
from odestab.operators.linear_operator import AbstractOperator, ComposedOperator

COMFORT = 16  # binary digits


def scaled(operator: AbstractOperator, factor: Float[Tensor, " batch"]) -> ComposedOperator:
    """b·A with a factor b per example."""
    factors = factor.to(operator.like).reshape(-1, *(1 for _ in operator.like.shape[1:]))
    return ComposedOperator(
        lambda v: factors * operator.mv(v),
        lambda u: factors * operator.rmv(u),
        operator.like,
        operator.mask,
        parts=(operator,),
    )


def unit_scaled(
    operator: AbstractOperator, comfort: int = COMFORT
) -> tuple[AbstractOperator, Float[Tensor, " batch"]]:
    """A/s and s, a power of two near ‖A‖ per example, where squares of A's numbers follow.

    It costs one product.

    s is 1 where ‖A‖ lies within 2^±comfort: where that holds for all examples the operator is
    handed back as it is.
    """
    size = power_of_two(operator.mv(operator.random()).flatten(1).abs().amax(1))
    scale = torch.where((size < 2.0**comfort) & (size > 0.5**comfort), 1.0, size)
    return (operator if bool((scale == 1).all()) else scaled(operator, 1 / scale)), scale
