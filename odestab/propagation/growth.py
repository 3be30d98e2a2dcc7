"""Growth of a perturbation through depth, measured on perturbed trajectories and predicted by
products of step derivatives.
"""

import abc
import dataclasses
import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odestab.fields.trajectory import Trajectory
from odestab.fields.vector_field import AbstractVectorField
from odestab.krylov.orthogonalization import norm
from odestab.operators.linear_operator import AbstractOperator, compose
from odestab.spectrum import Spectrum, singular_values
from odestab.steps.one_step import AbstractOneStepMethod, ExplicitEuler

Methods = AbstractOneStepMethod | Sequence[AbstractOneStepMethod]


@dataclasses.dataclass(frozen=True, eq=False)
class Growth:
    """Growth G_l = ‖x̃_l − x_l‖/‖x̃_0 − x_0‖ of one perturbation per example, l = 0, …, L
    (Mathematics, section 5).

    Attributes:
        measured: `(batch, L + 1)`, both paths recomputed under the methods.
        predicted: `(batch, L + 1)`, ‖D_{l−1}⋯D_0 δ‖/‖δ‖ with D the derivative of each step on the
            unperturbed path.
        relative: `(batch, L + 1)`, measured with each difference divided by ‖x_l‖ of the
            unperturbed path.
        size: `(batch,)`, ‖δ_0‖/‖x_0‖.
        converged: `(batch, L)`, the implicit solves of both paths converged (always True for
            explicit steps).
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
    """A family of perturbations of the state that enters the first layer."""

    @abc.abstractmethod
    def delta(self, path: "Path") -> Float[Tensor, "batch tokens hidden"]:
        """δ_0 on a path, zero on padding."""


@dataclasses.dataclass(frozen=True, eq=False)
class GaussianPerturbation(AbstractPerturbation):
    """Isotropic Gaussian noise on real tokens, scaled to ‖δ‖ = size · ‖x_0‖ for each example.

    Attributes:
        size: relative size.
        generator: source of the noise; None is a fixed seed.
    """

    size: float = 1e-5
    generator: torch.Generator | None = None

    def delta(self, path: "Path") -> Float[Tensor, "batch tokens hidden"]:
        """Noise, the same direction at every size for the same generator state."""
        x = path.states[0]
        generator = self.generator or torch.Generator().manual_seed(0)
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
        return scaled(path.trajectory.fields[0].project(noise), x, self.size)


@dataclasses.dataclass(frozen=True, eq=False)
class WorstPerturbation(AbstractPerturbation):
    """The perturbation that the linearised stack amplifies most: the leading right singular vector
    of D_{L−1}⋯D_0.

    Attributes:
        size: relative size ‖δ‖/‖x_0‖.
        rtol: tolerance on the singular triplet's residual.
        generator: source of the start vector.
    """

    size: float = 1e-5
    rtol: float = 1e-4
    generator: torch.Generator | None = None

    def delta(self, path: "Path") -> Float[Tensor, "batch tokens hidden"]:
        """The worst direction through the whole stack, by Golub–Kahan on the product of step
        derivatives.
        """
        worst = worst_direction(path, self.rtol, self.generator).right
        assert worst is not None
        return scaled(worst[:, 0], path.states[0], self.size)


@dataclasses.dataclass(frozen=True, eq=False)
class EditPerturbation(AbstractPerturbation):
    """What an edit of the text does to the embeddings: δ = x̃_0 − x_0, at its natural size.

    Attributes:
        edited: the state entering the first layer for the edited texts, with the same real tokens
            as the originals.
    """

    edited: Float[Tensor, "batch tokens hidden"]

    def delta(self, path: "Path") -> Float[Tensor, "batch tokens hidden"]:
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


@dataclasses.dataclass(frozen=True, eq=False)
class Path:
    """A trajectory recomputed under one-step methods.

    Attributes:
        trajectory: the encoder's own trajectory; its fields are stepped through.
        methods: one per layer.
        states: L + 1 states.
        converged: `(batch, L)`.
    """

    trajectory: Trajectory
    methods: tuple[AbstractOneStepMethod, ...]
    states: tuple[Float[Tensor, "batch tokens hidden"], ...]
    converged: Bool[Tensor, "batch layers"]

    def derivatives(self) -> list[AbstractOperator]:
        """D_0, …, D_{L−1}: the derivative of each step on this path."""
        return [
            method.derivative(field, x, y)
            for method, field, x, y in zip(
                self.methods, self.trajectory.fields, self.states[:-1], self.states[1:], strict=True
            )
        ]


def follow(
    trajectory: Trajectory,
    methods: Methods,
    start: Float[Tensor, "batch tokens hidden"] | None = None,
) -> Path:
    """Step through all fields of a trajectory from `start` (its own first state by default).

    Args:
        trajectory: the fields.
        methods: one for all layers, or one per layer.
        start: x_0, zero on padding.

    Raises:
        ValueError: if the number of methods is not the number of layers.
    """
    chosen = (
        (methods,) * trajectory.depth
        if isinstance(methods, AbstractOneStepMethod)
        else tuple(methods)
    )
    if len(chosen) != trajectory.depth:
        raise ValueError(
            f"methods must be one, or one per layer ({trajectory.depth}), got {len(chosen)}"
        )
    states = [trajectory.states[0] if start is None else start]
    ends = []
    with torch.no_grad():
        for method, field in zip(chosen, trajectory.fields, strict=True):
            step = method.step(field, states[-1])
            states.append(step.state)
            ends.append(
                torch.ones_like(trajectory.mask[:, 0])
                if step.solution is None
                else step.solution.converged
            )
    return Path(trajectory, chosen, tuple(states), torch.stack(ends, dim=1))


def propagate(
    trajectory: Trajectory,
    perturbation: AbstractPerturbation | Float[Tensor, "batch tokens hidden"],
    methods: Methods | None = None,
) -> Growth:
    """Growth of a perturbation through all layers under one-step methods, measured and predicted.

    Args:
        trajectory: the encoder on a batch.
        perturbation: a family, or δ_0 itself.
        methods: one for all layers or one per layer; None is what the trajectory declares, else
            explicit Euler with h = 1.

    Raises:
        ValueError: if the number of methods is not the number of layers, a perturbation is zero, or
            the batch holds nothing.
    """
    if not trajectory.states[0].numel():
        raise ValueError(
            "batch must hold at least one real entry, got a "
            f"state of shape {tuple(trajectory.states[0].shape)}"
        )
    declared: Methods = trajectory.methods if trajectory.methods is not None else ExplicitEuler(1.0)
    path = follow(trajectory, declared if methods is None else methods)
    return grow(
        path,
        perturbation.delta(path)
        if isinstance(perturbation, AbstractPerturbation)
        else perturbation,
    )


def grow(
    path: Path,
    delta: Float[Tensor, "batch tokens hidden"],
    predicted: Float[Tensor, "batch levels"] | None = None,
    methods: Methods | None = None,
) -> Growth:
    """Growth of δ_0 along a path.

    Args:
        path: the unperturbed path.
        delta: δ_0.
        predicted: the linear prediction, if it is known: it does not depend on the size of δ_0.
        methods: the path's methods with another solver tolerance, for the perturbed path: a large
            perturbation needs no tight one.

    Raises:
        ValueError: if δ has another shape than a state, or is zero for an example: growth is a
            ratio to its norm.
    """
    if delta.shape != path.states[0].shape:
        raise ValueError(
            "perturbation must have the shape "
            f"{tuple(path.states[0].shape)} of a state, got {tuple(delta.shape)}"
        )
    delta = path.trajectory.fields[0].project(delta)
    initial = _norm(delta)
    zero = (initial == 0) & path.trajectory.mask.any(
        1
    )  # an example of padding alone has no growth: NaN
    if bool(zero.any()):
        raise ValueError(
            f"perturbation must not be zero, got zero for examples {zero.nonzero()[:, 0].tolist()}"
        )
    other = follow(
        path.trajectory, path.methods if methods is None else methods, path.states[0] + delta
    )
    sizes = torch.stack([_norm(x) for x in path.states], dim=1)
    differences = torch.stack(
        [_norm(b - a) for a, b in zip(path.states, other.states, strict=True)], dim=1
    )
    measured = differences / differences[:, :1]  # x̃_0 − x_0 as it was rounded
    relative = measured * sizes[:, :1] / sizes
    if predicted is None:
        predicted = predict(delta, path.derivatives())
    return Growth(
        measured, predicted, relative, initial / sizes[:, 0], path.converged & other.converged
    )


def predict(
    delta: Float[Tensor, "batch tokens hidden"], derivatives: Sequence[AbstractOperator]
) -> Float[Tensor, "batch levels"]:
    """‖D_{l−1}⋯D_0 δ‖/‖δ‖ for l = 0, …, L: the linear prediction of growth, whatever the size of
    δ.
    """
    norms = [_norm(delta)]
    for derivative in derivatives:
        delta = derivative.mv(delta)
        norms.append(_norm(delta))
    return torch.stack(norms, dim=1) / norms[0][:, None]


def worst_direction(
    path: Path,
    rtol: float = 1e-4,
    generator: torch.Generator | None = None,
    derivatives: list[AbstractOperator] | None = None,
) -> Spectrum:
    """The largest singular value of D_{L−1}⋯D_0 along a path with its vectors: `right` enters the
    stack, `left` leaves it.

    Golub–Kahan through the whole stack, forward with mv and back with rmv. Products of layer norms
    say nothing here: the worst directions of neighbouring layers are not aligned.
    """
    return singular_values(
        compose(path.derivatives() if derivatives is None else derivatives),
        1,
        "LM",
        rtol,
        generator,
    )


def worst_growth(
    method: AbstractOneStepMethod,
    field: AbstractVectorField,
    x: Float[Tensor, "batch *event"],
    rtol: float = 1e-4,
    generator: torch.Generator | None = None,
    y: Float[Tensor, "batch *event"] | None = None,
    *,
    work_dtype: torch.dtype | None = None,
) -> Spectrum:
    """The largest singular value of the derivative of one step at x: explicit σ_max(I + hJ(x)),
    implicit 1/σ_min(I − hJ(y)).

    Args:
        method: the one-step method.
        field: f.
        x: where the step begins.
        rtol: tolerance on the residual relative to the value; the value's own error is of second
            order in it.
        generator: source of the start vector.
        y: where the step ended, if known; else the step is taken here.
        work_dtype: precision of the Krylov spaces, as `singular_values` takes it.

    Returns:
        A Spectrum with k = 1 whose `right` is the worst input direction. An implicit method that
        could not be solved has `converged` False.
    """
    solved = None
    if y is None:
        with torch.no_grad():
            step = method.step(field, x)
        y = step.state
        solved = step.solution
    spectrum = singular_values(
        method.derivative(field, x, y), 1, "LM", rtol, generator, work_dtype=work_dtype
    )
    if solved is None:
        return spectrum
    return dataclasses.replace(spectrum, converged=spectrum.converged & solved.converged[:, None])


def _norm(x: Tensor) -> Tensor:
    return norm(x.flatten(1))


def scaled(
    direction: Float[Tensor, "batch *event"], x: Float[Tensor, "batch *event"], size: float
) -> Float[Tensor, "batch *event"]:
    """The direction scaled to ‖δ‖ = size·‖x‖ for each example.

    Raises:
        ValueError: if size is not positive and finite.
    """
    if not (math.isfinite(size) and size > 0):
        raise ValueError(f"size must be > 0 and finite, got {size}")
    factor = size * _norm(x) / _norm(direction)
    return direction * factor.view(-1, *(1 for _ in x.shape[1:]))
