"""The linear prediction of growth along a path, and the perturbation that it says grows most."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from odestab.krylov.orthogonalization import norm
from odestab.operators.algebra import compose
from odestab.operators.coercion import OperatorLike, as_operator
from odestab.operators.linear_operator import AbstractOperator
from odestab.propagation.path import Path, require_path
from odestab.spectrum import Spectrum, singular_values


def displaced(
    delta: Float[Tensor, "batch *event"], derivatives: Sequence[OperatorLike]
) -> tuple[Float[Tensor, "batch *event"], ...]:
    """D_{l−1}⋯D_0 δ for l = 0, …, L.

    >>> f, x = od.LinearVectorField(-3 * torch.eye(2).double()), torch.zeros(1, 1, 2).double()
    >>> E = od.affine(od.Jacobian(f, x), 1.0, 1.0)  # of an explicit step
    >>> [d.tolist() for d in od.propagation.prediction.displaced(x + 1, [E, E])]
    [[[[1.0, 1.0]]], [[[-2.0, -2.0]]], [[[4.0, 4.0]]]]
    """
    moved = [delta]
    for derivative in map(as_operator, derivatives):
        moved.append(derivative.mv(moved[-1]))
    return tuple(moved)


def predict(
    delta: Float[Tensor, "batch *event"], derivatives: Sequence[OperatorLike]
) -> Float[Tensor, "batch levels"]:
    """‖D_{l−1}⋯D_0 δ‖/‖δ‖ for l = 0, …, L: the linear prediction of growth.

    It does not depend on the size of δ.

    >>> f, x = od.LinearVectorField(-3 * torch.eye(2).double()), torch.zeros(1, 1, 2).double()
    >>> E = od.affine(od.Jacobian(f, x), 1.0, 1.0)  # of an explicit step
    >>> od.predict(torch.ones(1, 1, 2).double(), [E, E]).round(decimals=6).tolist()
    [[1.0, 2.0, 4.0]]
    """
    norms = torch.stack([norm(d.flatten(1)) for d in displaced(delta, derivatives)], dim=1)
    return norms / norms[:, :1]


def worst_direction(
    path: Path,
    rtol: float = 1e-4,
    generator: torch.Generator | None = None,
    derivatives: list[AbstractOperator] | None = None,
) -> Spectrum:
    """σ_max(D_{L−1}⋯D_0) along a path with its vectors: `right` enters the stack, `left` leaves it.

    Golub–Kahan through the whole stack, forward with mv and back with rmv. Products of layer norms
    say nothing here: the worst directions of neighbouring layers are not aligned.

    >>> f = od.LinearVectorField(torch.diag(torch.tensor([0.0, -3.0])).double())
    >>> x = torch.tensor([[[1.0, 0.0]]]).double()  # one text of one token, at rest: f(x) = 0
    >>> stack = od.Trajectory((x, x, x), torch.ones(1, 1).bool(), (f, f))
    >>> worst = od.worst_direction(od.follow(stack, od.ExplicitEuler(1.0)))
    >>> round(worst.values.item(), 6), worst.right.abs().round(decimals=6).tolist()
    (4.0, [[[[0.0, 1.0]]]])
    """
    require_path(path)
    return singular_values(
        compose(path.derivatives() if derivatives is None else derivatives),
        1,
        "LM",
        rtol,
        generator,
    )
