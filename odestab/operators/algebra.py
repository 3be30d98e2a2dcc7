"""Operators from operators, or from matrices of any kind: shifts, sums, products, inverses."""

import functools
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from odestab.krylov import LinearSolution, gmres
from odestab.krylov.orthogonalization import norm
from odestab.operators.coercion import OperatorLike, as_operator
from odestab.operators.linear_operator import AbstractOperator, ComposedOperator


def affine(operator: OperatorLike, identity: float, factor: float) -> AbstractOperator:
    """a·P + b·A, with P the projector on the real tokens.

    >>> f = od.LinearVectorField(torch.diag(torch.tensor([-3.0, 0.5])).double())
    >>> J = od.Jacobian(f, torch.zeros(1, 2).double())
    >>> od.affine(J, 1.0, 0.5).mv(torch.ones(1, 2).double()).tolist()  # I + hJ with h = ½
    [[-0.5, 1.25]]
    """
    operator = as_operator(operator)
    return operator.affine(identity, factor)


def symmetric_part(operator: OperatorLike) -> ComposedOperator:
    """(A + Aᵀ)/2.

    >>> f = od.LinearVectorField(torch.tensor([[0.0, 4.0], [0.0, 1.0]]).double())
    >>> od.symmetric_part(od.Jacobian(f, torch.zeros(1, 2).double())).dense()[0].tolist()
    [[0.0, 2.0], [2.0, 1.0]]
    """
    operator = as_operator(operator)

    def product(v: Tensor) -> Tensor:
        return (operator.mv(v) + operator.rmv(v)) / 2

    return ComposedOperator(
        product,
        product,
        operator.like,
        operator.mask,
        rebuild=lambda change: symmetric_part(change(operator)),
        parts=(operator,),
    )


def compose(operators: Sequence[OperatorLike]) -> ComposedOperator:
    """A_k⋯A_1 A_0 for operators given in the order in which they act.

    Raises:
        ValueError: if there are none.

    >>> f = od.LinearVectorField(torch.diag(torch.tensor([-3.0, 0.5])).double())
    >>> J = od.Jacobian(f, torch.zeros(1, 2).double())
    >>> od.compose([J, J, J]).mv(torch.ones(1, 2).double()).tolist()
    [[-27.0, 0.125]]
    """
    parts = tuple(as_operator(operator) for operator in operators)
    if not parts:
        raise ValueError("operators must be at least one, got none")
    return ComposedOperator(
        lambda v: functools.reduce(lambda w, part: part.mv(w), parts, v),
        lambda u: functools.reduce(lambda w, part: part.rmv(w), reversed(parts), u),
        parts[0].like,
        parts[0].mask,
        rebuild=lambda change: compose([change(part) for part in parts]),
        parts=parts,
    )


def solve(
    operator: OperatorLike,
    b: Float[Tensor, "*tangents"],
    rtol: float = 1e-8,
    max_iterations: int = 500,
    transposed: bool = False,
) -> LinearSolution:
    """Solve A x = b, or Aᵀ x = b, by GMRES.

    Tangents and batch are one leading axis in the record that is returned: its `solution` is
    `(tangents × batch, n)`.

    >>> f = od.LinearVectorField(torch.tensor([[2.0, 1.0], [0.0, 4.0]]).double())
    >>> A = od.Jacobian(f, torch.zeros(1, 2).double())
    >>> solved = od.solve(A, torch.tensor([[3.0, 4.0]]).double())
    >>> solved.solution.round(decimals=6).tolist(), solved.converged.tolist()
    ([[1.0, 1.0]], [True])
    """
    operator = as_operator(operator)
    rows = operator.project(b).reshape(-1, math.prod(operator.like.shape[1:]))
    return gmres(
        operator.flat(operator.rmv if transposed else operator.mv), rows, rtol, max_iterations
    )


def inverse(
    operator: OperatorLike, rtol: float = 1e-8, max_iterations: int = 500
) -> ComposedOperator:
    """A⁻¹ as an operator: every product is one linear solve by GMRES.

    The solve ends at the relative residual `rtol`, or at what the precision allows.

    >>> f = od.LinearVectorField(torch.diag(torch.tensor([-3.0, 0.5])).double())
    >>> J = od.Jacobian(f, torch.zeros(1, 2).double())
    >>> step = od.inverse(od.affine(J, 1.0, -1.0))  # (I − J)⁻¹, the implicit step with h = 1
    >>> step.mv(torch.ones(1, 2).double()).round(decimals=6).tolist()
    [[0.25, 2.0]]
    """
    operator = as_operator(operator)
    # No residual gets much below rounding: to ask for it would spend the budget in vain.
    rtol = max(rtol, 20 * torch.finfo(operator.like.dtype).eps)
    return ComposedOperator(
        lambda v: solve(operator, v, rtol, max_iterations).solution.view_as(v),
        lambda u: solve(operator, u, rtol, max_iterations, transposed=True).solution.view_as(u),
        operator.like,
        operator.mask,
        inverse_of=operator,
        rebuild=lambda change: inverse(change(operator), rtol, max_iterations),
        parts=(operator,),
    )


def check_adjoint(
    operator: OperatorLike, generator: torch.Generator | None = None
) -> Float[Tensor, " batch"]:
    """|⟨u, A v⟩ − ⟨Aᵀ u, v⟩| / (‖A v‖ ‖u‖) per example, for one random pair u, v.

    It is rounding error where `rmv` is the adjoint of `mv`.

    >>> f = od.LinearVectorField(torch.tensor([[2.0, 1.0], [0.0, 4.0]]).double())
    >>> bool(od.check_adjoint(od.Jacobian(f, torch.zeros(1, 2).double())) < 1e-14)
    True
    """
    operator = as_operator(operator)
    generator = generator or torch.Generator().manual_seed(0)
    u = operator.random(generator)
    v = operator.random(generator)
    image = operator.mv(v)
    gap = ((u * image).flatten(1).sum(1) - (operator.rmv(u) * v).flatten(1).sum(1)).abs()
    size = norm(image.flatten(1)) * norm(u.flatten(1))
    return gap / torch.where(size > 0, size, 1.0)
