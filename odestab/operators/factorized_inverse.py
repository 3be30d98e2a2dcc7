"""The inverse of an operator by the LU factors of its dense matrices."""

from collections.abc import Callable

import torch
from torch import Tensor

from odestab.operators.coercion import OperatorLike, as_operator
from odestab.operators.linear_operator import ComposedOperator


def factorized_inverse(operator: OperatorLike, *, regular: bool = False) -> ComposedOperator:
    """A⁻¹ by LU factors of the dense matrices.

    The factors take n products once. No clustering of eigenvalues about 0 can hinder the solves.

    Args:
        operator: A, an operator or a matrix of any kind.
        regular: replace pivots below √eps of the largest, so that the factors of a singular matrix
            serve for inverse iteration; else products with its inverse are not finite.

    >>> f = od.LinearVectorField(torch.diag(torch.tensor([4.0, 2.0**-30])).double())
    >>> A = od.Jacobian(f, torch.zeros(1, 2).double())
    >>> od.factorized_inverse(A).mv(torch.ones(1, 2).double()).log2().tolist()
    [[-2.0, 30.0]]
    """
    operator = as_operator(operator)
    real = operator.real_entries()
    n = max(operator.sizes)
    # Behind the matrix of a shorter example stands the identity, which factorises with it.
    matrices = torch.eye(n, dtype=operator.like.dtype, device=operator.like.device).repeat(
        len(real), 1, 1
    )
    for matrix, dense in zip(matrices, operator.dense(), strict=True):
        # NaN throughout: factors of a matrix with one infinite entry are finite in part.
        matrix[: len(dense), : len(dense)] = dense if bool(dense.isfinite().all()) else torch.nan
    factors = torch.linalg.lu_factor_ex(matrices)[:2]
    if regular:
        pivots = factors[0].diagonal(dim1=1, dim2=2)
        # Not less than √eps: a residual is free of null vectors to eps, and both solves must leave
        # it something else.
        least = torch.finfo(pivots.dtype).eps ** 0.5 * pivots.abs().amax(1, keepdim=True)
        pivots.copy_(torch.where(pivots.abs() < least, torch.where(least > 0, least, 1.0), pivots))
    entries = torch.nn.utils.rnn.pad_sequence(real, batch_first=True).to(operator.like.device)
    alive = (
        torch.arange(n, device=entries.device)
        < torch.tensor(operator.sizes, device=entries.device)[:, None]
    )

    def solved(adjoint: bool) -> Callable[[Tensor], Tensor]:
        def apply(b: Tensor) -> Tensor:
            rows = b.reshape(-1, *operator.like.shape).flatten(2)  # (tangents, batch, n)
            columns = rows.gather(2, entries.expand(len(rows), -1, -1)) * alive
            x = torch.linalg.lu_solve(
                *factors, columns.permute(1, 2, 0).contiguous(), adjoint=adjoint
            ).permute(2, 0, 1)
            return (
                torch.zeros_like(rows)
                .scatter_add(2, entries.expand(len(rows), -1, -1), x * alive)
                .reshape(b.shape)
            )

        return apply

    return ComposedOperator(
        solved(False), solved(True), operator.like, operator.mask, parts=(operator,)
    )
