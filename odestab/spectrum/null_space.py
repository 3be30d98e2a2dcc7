"""Null vectors of operators that are known by their products, and solves beside them."""

import dataclasses
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odestab.krylov.orthogonalization import fresh_vectors, norm, orthogonalize, unit
from odestab.operators.algebra import solve
from odestab.operators.linear_operator import AbstractOperator, ComposedOperator

REFINEMENTS = 3  # solves for one null vector, each to √eps
ROUNDINGS = 10  # eps·‖A‖: an image below is zero


@dataclasses.dataclass(frozen=True, eq=False)
class NullSpace:
    """Orthonormal null vectors of A and of Aᵀ, rows of zeros where an example has fewer.

    Attributes:
        right: v with A v = 0 to rounding, `(batch, m, n)`.
        left: u with Aᵀ u = 0 to rounding, as many.
        size: ‖A‖ per example, roughly.
    """

    right: Float[Tensor, "batch m n"]
    left: Float[Tensor, "batch m n"]
    size: Float[Tensor, " batch"]

    def filled(self, operator: AbstractOperator) -> ComposedOperator:
        """A + ‖A‖ Σ u vᵀ: regular where the null space is known, and A itself beside it."""

        def product(
            apply: Callable[[Tensor], Tensor], inner: Tensor, outer: Tensor
        ) -> Callable[[Tensor], Tensor]:
            def filled(v: Tensor) -> Tensor:
                rows = v.reshape(-1, len(inner), inner.shape[2])  # (tangents, batch, n)
                weights = torch.einsum("tbn,bmn->tbm", rows, inner.to(v.dtype))
                sized = weights * self.size.to(v.dtype)[:, None]
                added = torch.einsum("tbm,bmn->tbn", sized, outer.to(v.dtype))
                return apply(v) + added.reshape(v.shape)

            return filled

        return ComposedOperator(
            product(operator.mv, self.right, self.left),
            product(operator.rmv, self.left, self.right),
            operator.like,
            operator.mask,
            parts=(operator,),
        )


def null_space(
    operator: AbstractOperator, suspects: Bool[Tensor, " batch"], most: int
) -> NullSpace:
    """Up to `most` null vectors of those examples that are suspected to be singular.

    A x = A w has a solution whatever the rank, and GMRES finds one where A is singular too (of
    index one: Brown and Walker 1997). Where that is not w, w − x is a null vector; where A is
    regular, nothing but rounding is left of it.

    Args:
        operator: A.
        suspects: examples of which a solve did not converge.
        most: how many vectors.
    """
    noise = operator.random(torch.Generator().manual_seed(1)).flatten(1)
    flat = operator.flat(operator.mv)
    size = norm(flat(noise)) / norm(noise).clamp(min=torch.finfo(noise.dtype).tiny)
    right = left = noise.new_zeros(len(noise), 0, noise.shape[1])
    going = suspects & size.isfinite() & (size > 0)
    while right.shape[1] < most and bool(going.any()):
        w = torch.where(going[:, None], fresh_vectors(noise, 1 + right.shape[1]), 0.0)
        space = NullSpace(right, left, size)
        v, is_null = _null_vector(space.filled(operator), operator, w, right, size, False)
        u, is_left_null = _null_vector(space.filled(operator), operator, w, left, size, True)
        going = going & is_null & is_left_null
        if bool(going.any()):
            right = torch.cat([right, torch.where(going[:, None], v, 0.0)[:, None]], 1)
            left = torch.cat([left, torch.where(going[:, None], u, 0.0)[:, None]], 1)
    return NullSpace(right, left, size)


def _null_vector(
    filled: AbstractOperator,
    operator: AbstractOperator,
    w: Tensor,
    known: Tensor,
    size: Tensor,
    transposed: bool,
) -> tuple[Tensor, Tensor]:
    """A unit vector in the complement of the known ones, and where its image is zero to
    rounding.
    """
    eps = torch.finfo(w.dtype).eps
    product = operator.flat(operator.rmv if transposed else operator.mv)
    v, _ = unit(orthogonalize(known, w)[0])
    is_null = torch.zeros_like(size, dtype=torch.bool)
    # A solve leaves √eps of the image: two reach rounding, and one is to spare.
    for _ in range(REFINEMENTS):
        image = product(v)
        is_null = (norm(v) > 0) & (norm(image) <= ROUNDINGS * eps * size)
        pending = torch.where(is_null[:, None], 0.0, image)
        if not bool((pending != 0).any()):
            break
        rows = pending.view(operator.like.shape)
        step = solve(filled, rows, eps**0.5, transposed=transposed).solution
        # A solve that broke down must not spoil what is known.
        moved = torch.where(step.isfinite(), v - step, v)
        v, _ = unit(orthogonalize(known, moved)[0])
    return v, is_null
