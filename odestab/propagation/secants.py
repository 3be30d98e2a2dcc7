"""Secants: the stability of a step at the size of a real edit, without any linearisation."""

import dataclasses
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from odestab.fields.from_anything import FieldLike, as_field
from odestab.fields.trajectory import Trajectory
from odestab.fields.vector_field import AbstractVectorField, AbstractWrappedField
from odestab.krylov.orthogonalization import norm, unit
from odestab.nonnormality.relative_graph import theta_of
from odestab.propagation.alignment import Alignment
from odestab.propagation.path import Methods, Path, converged, one_per_layer, require_trajectory
from odestab.propagation.secant_checks import require_pair, require_states, require_tensors
from odestab.steps.one_step import AbstractOneStepMethod

SIDES = ("start", "end", "both")  # of explicit steps, implicit ones, theta methods between them


@dataclasses.dataclass(frozen=True, eq=False)
class Secant:
    """ζ = a + i(L² − a²)^½ of a field between two states of each example, one point of the field's
    scaled relative graph (Mathematics, section 10).

    Attributes:
        re: a = ⟨Δf, δ⟩/‖δ‖², the one-sided ratio, with δ = y − x and Δf = f(y) − f(x).
        gain: L = ‖Δf‖/‖δ‖.
        point: ζ, in the upper half-plane: |ζ| = L.
        size: ‖δ‖ over the real tokens of either state.
        equal: δ = 0, also where an example is padding alone: there is no secant, and re, gain and
            point are NaN. They are NaN as well, and `equal` False, where a state or f is not
            finite.

    Example:
        >>> import torch, odestab as od
        >>> decay = od.LinearVectorField(-3 * torch.eye(2))
        >>> chord = od.secant(decay, torch.zeros(2, 2), torch.tensor([[0.0, 2.0], [0.0, 0.0]]))
        >>> chord.re.tolist(), chord.size.tolist(), chord.equal.tolist()
        ([-3.0, nan], [2.0, 0.0], [False, True])
    """

    re: Float[Tensor, " batch"]
    gain: Float[Tensor, " batch"]
    point: Complex[Tensor, " batch"]
    size: Float[Tensor, " batch"]
    equal: Bool[Tensor, " batch"]


@dataclasses.dataclass(frozen=True, eq=False)
class SecantPath:
    """How the steps of a stack change the difference δ_l = x̃_l − x_l of two texts: growth of layer
    l is |R(hζ_l)|, at any size of δ (Mathematics, section 10).

    Attributes:
        points: ζ_l on the side that decides: that of `start` for explicit steps, else of `end`.
        growth: ‖δ_{l+1}‖/‖δ_l‖ by the stability function: explicit |1 + hζ| with ζ at the start;
            implicit 1/|1 − hζ| with ζ at the end, to the tolerance of the solver; theta methods
            |1 + h(1 − θ)ζ(start)|/|1 − hθζ(end)|.
        cumulative: Π growth, from 1: ‖δ_l‖/‖δ_0‖. Logarithms of `growth` add up to its logarithm.
        sides: per layer "start", "end", or "both" for a theta method.
        start: ζ between the states that enter each step.
        end: ζ between those that leave it; NaN for explicit steps, which never ask.
        predicted: |R(hζ(start))|: what a step would do whose secant did not move. Not a
            measurement.
        tokens: ‖δ_l‖ of each token, columns of the alignment where there is one.
        sizes: ‖δ_l‖.
        converged: both texts' implicit solves converged; always True for explicit steps.

    Example:
        >>> import torch, odestab as od
        >>> field, mask = od.LinearVectorField(torch.eye(2)), torch.ones(1, 1, dtype=torch.bool)
        >>> x, y = (od.Trajectory((v.view(1, 1, 2),) * 3, mask, (field,) * 2) for v in torch.eye(2))
        >>> path = od.secants(x, y)
        >>> path.growth.tolist(), path.cumulative.tolist(), path.sides
        ([[2.0, 2.0]], [[1.0, 2.0, 4.0]], ('start', 'start'))
    """

    points: Complex[Tensor, "batch layers"]
    growth: Float[Tensor, "batch layers"]
    cumulative: Float[Tensor, "batch levels"]
    sides: tuple[str, ...]
    start: Complex[Tensor, "batch layers"]
    end: Complex[Tensor, "batch layers"]
    predicted: Float[Tensor, "batch layers"]
    tokens: Float[Tensor, "batch levels tokens"]
    sizes: Float[Tensor, "batch levels"]
    converged: Bool[Tensor, "batch layers"]

    @property
    def measured(self) -> Float[Tensor, "batch levels"]:
        """‖δ_l‖/‖δ_0‖ from the states themselves: `cumulative`, found another way."""
        return self.sizes / self.sizes[:, :1]

    @property
    def equal(self) -> Bool[Tensor, " batch"]:
        """δ_0 = 0: texts that enter the first layer alike have no growth, and all of it is NaN."""
        return self.sizes[:, 0] == 0


@torch.no_grad()
def secant(
    field: FieldLike,
    x: Float[Tensor, "batch *event"],
    y: Float[Tensor, "batch *other"],
    field_y: FieldLike | None = None,
    *,
    alignment: Alignment | None = None,
) -> Secant:
    """ζ = a + i(L² − a²)^½, a = ⟨Δf, δ⟩/‖δ‖², L = ‖Δf‖/‖δ‖ (Ryu, Hannah and Yin 2022; Mathematics,
    section 10).

    An explicit Euler step of size h multiplies ‖δ‖ by |1 + hζ| exactly, an implicit one by
    1/|1 − hζ| with ζ where it ends. As y tends to x, ζ tends to a point of the scaled relative
    graph of the Jacobian. The imaginary part is the length of what of Δf is orthogonal to δ, never
    a difference of squares. It costs one evaluation of f at either state; states in half precision
    are subtracted in float32.

    Args:
        field: f, whatever `od.field` takes.
        x: one state.
        y: the other.
        field_y: f of the other text, whose mask may be another; None is the same.
        alignment: which token of y stands opposite which of x; None is position by position.

    Raises:
        ValueError: if a field or a state is none, the states are not of one floating-point dtype,
            or not of one shape although there is no alignment; if the alignment is of other texts.

    Example:
        >>> import torch, odestab as od
        >>> rotation = od.LinearVectorField(torch.tensor([[0.0, -2.0], [2.0, 0.0]]))
        >>> od.secant(rotation, torch.zeros(1, 2), torch.ones(1, 2)).point.tolist()
        [2j]
    """
    require_tensors(x, y)
    field = as_field(field, x)
    other = field if field_y is None else as_field(field_y, y)
    require_states(field, other, x, y, alignment)
    return _secant(_Pair(field, other, alignment), x, y)[0]


@torch.no_grad()
def secants(
    trajectory: Trajectory | Path,
    perturbed: Trajectory | Path,
    methods: Methods | None = None,
    *,
    alignment: Alignment | None = None,
) -> SecantPath:
    """Secants and growth of every step between two texts, both recomputed from their first states
    under the methods (Mathematics, section 10).

    For explicit steps it costs two forwards of the stack and nothing else. For implicit ones it
    costs the solves of both and two more evaluations of each, and of paths that were followed
    already two evaluations.

    Args:
        trajectory: a batch of texts, or their path; halves of layers are layers here.
        perturbed: as many other texts, through the same layers, or likewise their path.
        methods: one for all layers or one per layer; None is those of the paths, or what the
            trajectory declares, else explicit Euler with h = 1.
        alignment: of their tokens, which unequal counts need (`align`); None is position by
            position, on the union of both masks.

    Raises:
        ValueError: if the trajectories have not one depth, batch size, dtype and hidden size; if
            shapes differ and there is no alignment, or it is of other texts; if the methods are not
            one per layer, or one is neither explicit nor implicit Euler nor a theta method; if one
            of two is a path, or their steps differ, or methods are given beside them.

    Example:
        >>> import torch, odestab as od
        >>> field, mask = od.LinearVectorField(-torch.eye(2)), torch.ones(1, 1, dtype=torch.bool)
        >>> x, y = (od.Trajectory((v.view(1, 1, 2),) * 2, mask, (field,)) for v in torch.eye(2))
        >>> od.secants(x, y, od.ImplicitEuler(1.0)).growth.tolist()
        [[0.5]]
    """
    first = trajectory.trajectory if isinstance(trajectory, Path) else trajectory
    second = perturbed.trajectory if isinstance(perturbed, Path) else perturbed
    require_trajectory(first)
    require_trajectory(second)
    require_pair(first, second, alignment)
    ends: Sequence[Ends | None] = [None] * first.depth
    if isinstance(trajectory, Path) and isinstance(perturbed, Path):
        chosen = _shared_methods(trajectory, perturbed, methods)
        ends = list(zip(_ends(trajectory), _ends(perturbed), strict=True))
    elif first is trajectory and second is perturbed:
        chosen = one_per_layer(first, methods)
    else:
        raise ValueError("trajectory and perturbed must be two trajectories or two paths, got one")
    x = trajectory.states[0]
    y = perturbed.states[0]
    steps = []
    differences = []
    for method, field, other, known in zip(chosen, first.fields, second.fields, ends, strict=True):
        pair = _Pair(field, other, alignment)
        step, delta = _step(pair, method, x, y, known)
        x = step.x
        y = step.y
        steps.append(step)
        differences.append(delta)
    differences.append(_Pair(first.fields[-1], second.fields[-1], alignment).delta(x, y))
    return _path(steps, differences)


Ends = tuple[tuple[Tensor, Tensor], ...]  # of either text: y, and whether it converged


def _ends(path: Path) -> Iterator[tuple[Tensor, Tensor]]:
    """Where each step ended, and whether it converged."""
    return zip(path.states[1:], path.converged.unbind(1), strict=True)


def _shared_methods(
    path: Path, other: Path, methods: Methods | None
) -> tuple[AbstractOneStepMethod, ...]:
    """Those of both paths; their solvers may differ.

    Raises:
        ValueError: if the steps are not the same, or methods are given beside them.
    """
    if methods is not None:
        raise ValueError("methods must be None for paths, which have their own")
    for pair in zip(path.methods, other.methods, strict=True):
        kinds = [(theta_of(method), float(method.step_size)) for method in pair]
        if kinds[0] != kinds[1]:
            raise ValueError(f"both paths must take the same steps, got {pair[0]} and {pair[1]}")
    return path.methods


@dataclasses.dataclass(frozen=True, eq=False)
class _Pair:
    """One field for either text, and where their tokens stand."""

    field: AbstractVectorField
    other: AbstractVectorField
    alignment: Alignment | None

    def delta(self, x: Tensor, y: Tensor) -> Tensor:
        """ỹ − x on the union, in float32 at least."""
        a = self.field.project(x)
        b = self.other.project(y)
        if self.alignment is not None:
            a = self.alignment.of_first(a)
            b = self.alignment.of_second(b)
        wide = torch.promote_types(x.dtype, torch.float32)
        return b.to(wide) - a.to(wide)


@dataclasses.dataclass(frozen=True, eq=False)
class _Evaluated(AbstractWrappedField):
    """A field at the one state where its value is known, so that an explicit step costs none."""

    image: Tensor

    def unsplit(self, x: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch *event"]:
        return self.image

    def __call__(self, x: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch *event"]:
        return self.image + self.split * x


@dataclasses.dataclass(frozen=True, eq=False)
class _Step:
    """One step of both texts."""

    x: Tensor
    y: Tensor
    start: Tensor
    end: Tensor
    growth: Tensor
    predicted: Tensor
    converged: Tensor
    side: str


def _step(
    pair: _Pair, method: AbstractOneStepMethod, x: Tensor, y: Tensor, known: Ends | None
) -> tuple[_Step, Tensor]:
    """One step of both texts, taken where its ends are not known, and δ before it."""
    theta = theta_of(method)
    h = float(method.step_size)
    begin, images = _secant(pair, x, y)
    first, second = known or _taken(pair, method, (x, y), images)
    start = begin.point
    end = torch.full_like(begin.point, complex("nan"))
    if theta > 0:
        end = _secant(pair, first[0], second[0])[0].point
    growth = _factor(theta, h, start, end)
    predicted = _factor(theta, h, start, start)
    side = SIDES[0] if theta == 0 else SIDES[1] if theta == 1 else SIDES[2]
    solved = first[1] & second[1]
    made = _Step(first[0], second[0], start, end, growth, predicted, solved, side)
    return made, pair.delta(x, y)


def _taken(
    pair: _Pair,
    method: AbstractOneStepMethod,
    states: tuple[Tensor, Tensor],
    images: tuple[Tensor, Tensor],
) -> Ends:
    """Where a step of both texts ends."""
    fields: tuple[AbstractVectorField, ...] = (pair.field, pair.other)
    if theta_of(method) == 0:
        # The step asks for no more than the value that the secant had from the field.
        fields = tuple(
            _Evaluated(field, image) for field, image in zip(fields, images, strict=True)
        )
    steps = [method.step(field, state) for field, state in zip(fields, states, strict=True)]
    return tuple(
        (step.state, converged(step, state)) for step, state in zip(steps, states, strict=True)
    )


def _factor(theta: float, h: float, start: Tensor, end: Tensor) -> Tensor:
    """|1 + h(1 − θ)ζ(start)|/|1 − hθζ(end)|."""
    above = torch.ones_like(end.real)
    below = torch.ones_like(end.real)
    # Each factor alone: what a method does not ask for is NaN, and 0·NaN would be too.
    if theta < 1:
        above = torch.hypot(1 + h * (1 - theta) * start.real, h * (1 - theta) * start.imag)
    if theta > 0:
        below = torch.hypot(1 - h * theta * end.real, h * theta * end.imag)
    return above / below


def _path(steps: list[_Step], differences: list[Tensor]) -> SecantPath:
    def stacked(name: str) -> Tensor:
        return torch.stack([getattr(step, name) for step in steps], 1)

    tokens = torch.stack([norm(delta) for delta in differences], 1)
    sizes = norm(tokens)
    growth = stacked("growth")
    sides = tuple(step.side for step in steps)
    at_end = torch.tensor([side != SIDES[0] for side in sides], device=growth.device)
    points = torch.where(at_end, stacked("end"), stacked("start"))
    # Texts that begin alike have no growth, whatever they are multiplied by.
    first = torch.where(sizes[:, :1] > 0, 1.0, torch.nan).to(growth)
    cumulative = torch.cat([first, growth], 1).cumprod(1)
    return SecantPath(
        points,
        growth,
        cumulative,
        sides,
        stacked("start"),
        stacked("end"),
        stacked("predicted"),
        tokens,
        sizes,
        stacked("converged"),
    )


def _secant(pair: _Pair, x: Tensor, y: Tensor) -> tuple[Secant, tuple[Tensor, Tensor]]:
    """The secant, and F at either state."""
    images = pair.field.unsplit(x), pair.other.unsplit(y)
    split = pair.field.split
    moved = images[1]
    # Texts whose fields are split in different ways are brought to the split of the first.
    if pair.other.split != split:
        moved = moved + (pair.other.split - split) * y
    delta = pair.delta(x, y).flatten(1)
    change = pair.delta(images[0], moved).flatten(1)
    direction, size = unit(delta)
    along = (change * direction).sum(1)
    across = change - along[:, None] * direction
    again = (across * direction).sum(1)  # what rounding has left of δ's direction
    across = norm(across - again[:, None] * direction)
    known = size > 0
    divisor = torch.where(known, size, 1.0)
    # The split is exact: f = F + cx has the secant of F, moved by c.
    re = (along + again) / divisor + split
    im = across / divisor
    finite = delta.isfinite().all(1) & change.isfinite().all(1)
    re, im = (torch.where(known & finite, part, torch.nan) for part in (re, im))
    size = torch.where(delta.isfinite().all(1), size, torch.nan)
    chord = Secant(re, torch.hypot(re, im), torch.complex(re, im), size, size == 0)
    return chord, images
