"""Growth of a perturbation through depth, measured on paths and predicted by derivatives."""

import abc
import dataclasses
import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odestab.fields.trajectory import Trajectory
from odestab.krylov.orthogonalization import norm
from odestab.operators.linear_operator import AbstractOperator
from odestab.propagation.path import (
    Methods,
    Neighbour,
    Path,
    follow,
    one_per_layer,
    require_path,
    require_trajectory,
    solver_of,
)
from odestab.propagation.prediction import displaced, worst_direction

SEEN = 1e-4  # a tolerance relative to δ_0 with which a solve sees where it should end
NEAR = 1e-2  # ‖δ_0‖/‖x_0‖ up to which a perturbed path follows the solutions of the unperturbed one


@dataclasses.dataclass(frozen=True, eq=False)
class Growth:
    """G_l = ‖x̃_l − x_l‖/‖x̃_0 − x_0‖ of one perturbation per example (Mathematics, section 5).

    The levels are l = 0, …, L.

    Attributes:
        measured: `(batch, L + 1)`, both paths recomputed under the methods.
        predicted: `(batch, L + 1)`, ‖D_{l−1}⋯D_0 δ‖/‖δ‖ with D the derivative of each step on the
            unperturbed path.
        relative: `(batch, L + 1)`, measured with each difference divided by ‖x_l‖ of the
            unperturbed path.
        size: `(batch,)`, ‖δ_0‖/‖x_0‖.
        converged: `(batch, L)`, the implicit solves of both paths converged (always True for
            explicit steps).

    >>> f = od.LinearVectorField(torch.diag(torch.tensor([0.0, -3.0])).double())
    >>> x = torch.tensor([[[1.0, 0.0]]]).double()  # one text of one token, at rest: f(x) = 0
    >>> stack = od.Trajectory((x, x, x), torch.ones(1, 1).bool(), (f, f))
    >>> growth = od.propagate(stack, torch.tensor([[[0.0, 0.1]]]).double())
    >>> growth.measured.round(decimals=6).tolist(), growth.predicted.round(decimals=6).tolist()
    ([[1.0, 2.0, 4.0]], [[1.0, 2.0, 4.0]])
    """

    measured: Float[Tensor, "batch levels"]
    predicted: Float[Tensor, "batch levels"]
    relative: Float[Tensor, "batch levels"]
    size: Float[Tensor, " batch"]
    converged: Bool[Tensor, "batch layers"]

    @property
    def prediction_error(self) -> Float[Tensor, "batch levels"]:
        """|log G measured − log G predicted|, in nats."""
        return (self.measured.log() - self.predicted.log()).abs()


class AbstractPerturbation(abc.ABC):
    """A family of perturbations of the state that enters the first layer.

    >>> class Stretch(od.AbstractPerturbation):
    ...     delta = lambda self, path: 0.1 * path.states[0]
    >>> f, x = od.LinearVectorField(torch.eye(2).double()), torch.ones(1, 1, 2).double()
    >>> layer = od.Trajectory((x, 2 * x), torch.ones(1, 1).bool(), (f,))
    >>> od.propagate(layer, Stretch()).measured.round(decimals=6).tolist()
    [[1.0, 2.0]]
    """

    @abc.abstractmethod
    def delta(self, path: Path) -> Float[Tensor, "batch tokens hidden"]:
        """δ_0 on a path, zero on padding."""


@dataclasses.dataclass(frozen=True, eq=False)
class GaussianPerturbation(AbstractPerturbation):
    """Isotropic Gaussian noise on real tokens, scaled to ‖δ‖ = size · ‖x_0‖ for each example.

    Attributes:
        size: relative size.
        generator: source of the noise; None is a fixed seed.

    >>> f, x = od.LinearVectorField(torch.eye(2).double()), torch.ones(1, 1, 2).double()
    >>> layer = od.Trajectory((x, 2 * x), torch.ones(1, 1).bool(), (f,))
    >>> growth = od.propagate(layer, od.GaussianPerturbation(size=0.01))
    >>> round(growth.size.item(), 6), growth.measured.round(decimals=6).tolist()
    (0.01, [[1.0, 2.0]])
    """

    size: float = 1e-5
    generator: torch.Generator | None = None

    def delta(self, path: Path) -> Float[Tensor, "batch tokens hidden"]:
        """Noise, the same direction at every size for the same generator state."""
        x = path.states[0]
        generator = self.generator or torch.Generator().manual_seed(0)
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
        return scaled(path.trajectory.fields[0].project(noise), x, self.size)


@dataclasses.dataclass(frozen=True, eq=False)
class WorstPerturbation(AbstractPerturbation):
    """The perturbation that the linearised stack amplifies most.

    It is the leading right singular vector of D_{L−1}⋯D_0.

    Attributes:
        size: relative size ‖δ‖/‖x_0‖.
        rtol: tolerance on the singular triplet's residual.
        generator: source of the start vector.

    >>> f = od.LinearVectorField(torch.diag(torch.tensor([0.0, -3.0])).double())
    >>> x = torch.tensor([[[1.0, 0.0]]]).double()  # one text of one token, at rest: f(x) = 0
    >>> stack = od.Trajectory((x, x, x), torch.ones(1, 1).bool(), (f, f))
    >>> od.propagate(stack, od.WorstPerturbation()).measured.round(decimals=6).tolist()  # 2^l
    [[1.0, 2.0, 4.0]]
    """

    size: float = 1e-5
    rtol: float = 1e-4
    generator: torch.Generator | None = None

    def delta(self, path: Path) -> Float[Tensor, "batch tokens hidden"]:
        """The worst direction through the whole stack, scaled to its size."""
        worst = worst_direction(path, self.rtol, self.generator).right
        assert worst is not None
        return scaled(worst[:, 0], path.states[0], self.size)


@dataclasses.dataclass(frozen=True, eq=False)
class EditPerturbation(AbstractPerturbation):
    """What an edit of the text does to the embeddings: δ = x̃_0 − x_0, at its natural size.

    Attributes:
        edited: the state entering the first layer for the edited texts, with the same real tokens
            as the originals.

    >>> f, x = od.LinearVectorField(-torch.eye(2).double()), torch.ones(1, 1, 2).double()
    >>> layer = od.Trajectory((x, 0 * x), torch.ones(1, 1).bool(), (f,))
    >>> edit = od.EditPerturbation(edited=torch.tensor([[[1.0, 2.0]]]).double())
    >>> od.propagate(layer, edit, od.ImplicitEuler(1.0)).measured.round(decimals=6).tolist()
    [[1.0, 0.5]]
    """

    edited: Float[Tensor, "batch tokens hidden"]

    def delta(self, path: Path) -> Float[Tensor, "batch tokens hidden"]:
        """x̃_0 − x_0.

        Raises:
            ValueError: if the edited state has another shape.
        """
        x = path.states[0]
        if self.edited.shape != x.shape:
            raise ValueError(
                f"edited states must have the shape {tuple(x.shape)} of "
                f"the originals, got {tuple(self.edited.shape)}"
            )
        return path.trajectory.fields[0].project(self.edited - x)


def propagate(
    trajectory: Trajectory | Path,
    perturbation: AbstractPerturbation | Float[Tensor, "batch tokens hidden"],
    methods: Methods | None = None,
    *,
    predicted: Float[Tensor, "batch levels"] | None = None,
) -> Growth:
    """‖x̃_l − x_l‖/‖δ_0‖ through all layers under one-step methods, measured and predicted.

    Args:
        trajectory: the encoder on a batch; or a path that was followed already, which several
            perturbations share.
        perturbation: a family, or δ_0 itself.
        methods: one for all layers or one per layer; None is what the trajectory declares, else
            explicit Euler with h = 1. With a path, of the perturbed path alone: its own methods
            with another solver tolerance, as a large perturbation needs no tight one.
        predicted: the linear prediction, if it is known: that of another size of δ_0.

    Raises:
        ValueError: if the number of methods is not the number of layers, a perturbation is zero, or
            the batch holds nothing.

    >>> f = od.LinearVectorField(torch.diag(torch.tensor([0.0, -3.0])).double())
    >>> x = torch.tensor([[[1.0, 0.0]]]).double()  # one text of one token, at rest: f(x) = 0
    >>> stack = od.Trajectory((x, x, x), torch.ones(1, 1).bool(), (f, f))
    >>> growth = od.propagate(stack, torch.tensor([[[0.0, 0.1]]]).double(), od.ImplicitEuler())
    >>> growth.measured.round(decimals=6).tolist()  # explicit steps give 1, 2, 4
    [[1.0, 0.25, 0.0625]]
    """
    if not isinstance(trajectory, Path):
        require_trajectory(trajectory)
    if not trajectory.states[0].numel():
        raise ValueError(
            "batch must hold at least one real entry, got a "
            f"state of shape {tuple(trajectory.states[0].shape)}"
        )
    if isinstance(trajectory, Path):
        path = trajectory
    else:
        path = follow(trajectory, methods)
        methods = None
    if isinstance(perturbation, AbstractPerturbation):
        perturbation = perturbation.delta(path)
    return grow(path, perturbation, predicted, methods)


def grow(
    path: Path,
    delta: Float[Tensor, "batch tokens hidden"],
    predicted: Float[Tensor, "batch levels"] | None = None,
    methods: Methods | None = None,
) -> Growth:
    """Growth of δ_0 along a path: the measured one, and the linear prediction beside it.

    The implicit solves of a small perturbation begin beside the path. Those of a larger one, or of
    one that is not far above the solver's tolerance, begin at the state that enters the step, as
    the step itself does: where there are several solutions it may end at another one.

    Args:
        path: the unperturbed path.
        delta: δ_0.
        predicted: the linear prediction, if it is known: it does not depend on the size of δ_0.
        methods: the path's methods with another solver tolerance, for the perturbed path: a large
            perturbation needs no tight one.

    Raises:
        ValueError: if δ has another shape than a state, or is zero for an example: growth is a
            ratio to its norm.

    >>> f, x = od.LinearVectorField(-3 * torch.eye(2).double()), torch.zeros(1, 1, 2).double()
    >>> stack = od.Trajectory((x, x, x), torch.ones(1, 1).bool(), (f, f))
    >>> path = od.follow(stack, od.ImplicitEuler(1.0))
    >>> od.grow(path, torch.ones(1, 1, 2).double()).measured.round(decimals=6).tolist()
    [[1.0, 0.25, 0.0625]]
    """
    require_path(path)
    delta = _required_delta(path, delta)
    beside = Neighbour(path)
    if predicted is None:
        beside = Neighbour(path, displaced(delta, path.derivatives()))
        predicted = beside.growth
    return growth_between(path, _perturbed(beside, delta, methods), predicted)


def grow_each(
    path: Path,
    deltas: Sequence[Float[Tensor, "batch tokens hidden"]],
    methods: Sequence[Methods] | None = None,
    *,
    derivatives: Sequence[AbstractOperator] | None = None,
) -> list[Growth]:
    """`grow` for perturbations of one direction and growing size: one linear prediction for all,
    and every small one begins its implicit solves beside the one before it.

    Args:
        path: the unperturbed path.
        deltas: δ_0 of each size, smallest first.
        methods: for each size the path's methods with another solver tolerance.
        derivatives: of the path's steps, if they are known.

    Raises:
        ValueError: as `grow`.

    >>> f, x = od.LinearVectorField(-3 * torch.eye(2).double()), torch.zeros(1, 1, 2).double()
    >>> path = od.follow(od.Trajectory((x, x), torch.ones(1, 1).bool(), (f,)), od.ImplicitEuler())
    >>> sizes = od.grow_each(path, [size + x for size in (0.01, 1.0)])
    >>> [growth.measured.round(decimals=6).tolist() for growth in sizes]
    [[[1.0, 0.25]], [[1.0, 0.25]]]
    """
    require_path(path)
    deltas = [_required_delta(path, delta) for delta in deltas]
    beside = Neighbour(
        path, displaced(deltas[0], path.derivatives() if derivatives is None else derivatives)
    )
    predicted = beside.growth
    growths = []
    for delta, chosen in zip(deltas, methods or [path.methods] * len(deltas), strict=True):
        other = _perturbed(beside, delta, chosen)
        growths.append(growth_between(path, other, predicted))
        beside = Neighbour(path, _differences(path, other))
    return growths


def _perturbed(beside: Neighbour, delta: Tensor, methods: Methods | None) -> Path:
    """The path from x_0 + δ_0, begun beside a known one where δ_0 is small."""
    path = beside.path
    start = path.states[0]
    chosen = path.methods if methods is None else one_per_layer(path.trajectory, methods)
    field = path.trajectory.fields[0]
    size = field.rms(start)
    shift = field.rms(delta)
    near = bool((shift <= NEAR * size).all())
    # A tolerance of the size of δ_0 would take any beginning for the end: a prediction would be
    # its own measurement.
    solvers = [solver for method in chosen if (solver := solver_of(method)) is not None]
    tolerances = [solver.stopping.rtol * size + solver.stopping.atol for solver in solvers]
    seen = all(bool((tolerance <= SEEN * shift).all()) for tolerance in tolerances)
    return follow(path.trajectory, chosen, start + delta, beside if near and seen else None)


def growth_between(path: Path, other: Path, predicted: Float[Tensor, "batch levels"]) -> Growth:
    """Growth of the difference of two paths that were followed, with a linear prediction of it.

    >>> f, x = od.LinearVectorField(-3 * torch.eye(2).double()), torch.ones(1, 1, 2).double()
    >>> stack = od.Trajectory((x, x), torch.ones(1, 1).bool(), (f,))
    >>> path, other = (od.follow(stack, od.ImplicitEuler(), start) for start in (x, 2 * x))
    >>> od.growth_between(path, other, torch.ones(1, 2)).measured.round(decimals=6).tolist()
    [[1.0, 0.25]]
    """
    require_path(path)
    require_path(other)
    sizes = torch.stack([_norm(x) for x in path.states], dim=1)
    differences = torch.stack([_norm(d) for d in _differences(path, other)], dim=1)
    # By x̃_0 − x_0 as it was rounded, which is not δ_0 where that is small beside x_0.
    measured = differences / differences[:, :1]
    return Growth(
        measured,
        predicted,
        measured * sizes[:, :1] / sizes,
        differences[:, 0] / sizes[:, 0],
        path.converged & other.converged,
    )


def _required_delta(path: Path, delta: Tensor) -> Tensor:
    """δ_0, zero on padding.

    Raises:
        ValueError: if it has another shape than a state, or is zero for an example.
    """
    if delta.shape != path.states[0].shape:
        raise ValueError(
            "perturbation must have the shape "
            f"{tuple(path.states[0].shape)} of a state, got {tuple(delta.shape)}"
        )
    delta = path.trajectory.fields[0].project(delta)
    # An example of padding alone has no growth: NaN.
    zero = (_norm(delta) == 0) & path.trajectory.mask.any(1)
    if bool(zero.any()):
        raise ValueError(
            f"perturbation must not be zero, got zero for examples {zero.nonzero()[:, 0].tolist()}"
        )
    return delta


def _differences(path: Path, other: Path) -> tuple[Tensor, ...]:
    """x̃_l − x_l."""
    return tuple(b - a for a, b in zip(path.states, other.states, strict=True))


def _norm(x: Tensor) -> Tensor:
    return norm(x.flatten(1))


def scaled(
    direction: Float[Tensor, "batch *event"], x: Float[Tensor, "batch *event"], size: float
) -> Float[Tensor, "batch *event"]:
    """The direction scaled to ‖δ‖ = size·‖x‖ for each example.

    Raises:
        ValueError: if size is not positive and finite.

    >>> direction, x = torch.tensor([[3.0, 4.0]]).double(), torch.tensor([[0.0, 2.0]]).double()
    >>> od.scaled(direction, x, 0.5).round(decimals=6).tolist()
    [[0.6, 0.8]]
    """
    if not (math.isfinite(size) and size > 0):
        raise ValueError(f"size must be > 0 and finite, got {size}")
    factor = size * _norm(x) / _norm(direction)
    return direction * factor.view(-1, *(1 for _ in x.shape[1:]))
