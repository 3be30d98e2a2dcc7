"""Secants: the stability of a step at the size of a real edit, without any linearisation."""

import dataclasses

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from odestab.fields.from_anything import FieldLike, as_field
from odestab.fields.trajectory import Trajectory
from odestab.fields.vector_field import AbstractVectorField, AbstractWrappedField
from odestab.krylov.orthogonalization import norm, unit
from odestab.nonnormality.relative_graph import theta_of
from odestab.propagation.alignment import Alignment
from odestab.propagation.path import Methods, one_per_layer, require_trajectory
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
    _require_tensors(x, y)
    field = as_field(field, x)
    other = field if field_y is None else as_field(field_y, y)
    _require_states(field, other, x, y, alignment)
    return _secant(_Pair(field, other, alignment), x, y)[0]


@torch.no_grad()
def secants(
    trajectory: Trajectory,
    perturbed: Trajectory,
    methods: Methods | None = None,
    *,
    alignment: Alignment | None = None,
) -> SecantPath:
    """Secants and growth of every step between two texts, both recomputed from their first states
    under the methods (Mathematics, section 10).

    For explicit steps it costs two forwards of the stack and nothing else. For implicit ones it
    costs the solves of both and two more evaluations of each.

    Args:
        trajectory: a batch of texts; halves of layers are layers here.
        perturbed: as many other texts, through the same layers.
        methods: one for all layers or one per layer; None is what the trajectory declares, else
            explicit Euler with h = 1.
        alignment: of their tokens, which unequal counts need (`align`); None is position by
            position, on the union of both masks.

    Raises:
        ValueError: if the trajectories have not one depth, batch size, dtype and hidden size; if
            shapes differ and there is no alignment, or it is of other texts; if the methods are not
            one per layer, or one is neither explicit nor implicit Euler nor a theta method.

    Example:
        >>> import torch, odestab as od
        >>> field, mask = od.LinearVectorField(-torch.eye(2)), torch.ones(1, 1, dtype=torch.bool)
        >>> x, y = (od.Trajectory((v.view(1, 1, 2),) * 2, mask, (field,)) for v in torch.eye(2))
        >>> od.secants(x, y, od.ImplicitEuler(1.0)).growth.tolist()
        [[0.5]]
    """
    require_trajectory(trajectory)
    require_trajectory(perturbed)
    chosen = one_per_layer(trajectory, methods)
    _require_pair(trajectory, perturbed, alignment)
    x = trajectory.states[0]
    y = perturbed.states[0]
    steps = []
    differences = []
    for method, field, other in zip(chosen, trajectory.fields, perturbed.fields, strict=True):
        pair = _Pair(field, other, alignment)
        step, delta = _step(pair, method, x, y)
        x = step.x
        y = step.y
        steps.append(step)
        differences.append(delta)
    differences.append(_Pair(trajectory.fields[-1], perturbed.fields[-1], alignment).delta(x, y))
    return _path(steps, differences)


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


def _step(pair: _Pair, method: AbstractOneStepMethod, x: Tensor, y: Tensor) -> tuple[_Step, Tensor]:
    """One step of both texts, and δ before it."""
    theta = theta_of(method)
    h = float(method.step_size)
    begin, images = _secant(pair, x, y)
    fields: tuple[AbstractVectorField, ...] = (pair.field, pair.other)
    if theta == 0:
        # The step asks for no more than the value that the secant had from the field.
        fields = tuple(
            _Evaluated(field, image) for field, image in zip(fields, images, strict=True)
        )
    first, second = (method.step(f, state) for f, state in zip(fields, (x, y), strict=True))
    solved = torch.ones_like(begin.equal)
    for step in (first, second):
        if step.solution is not None:
            solved = solved & step.solution.converged
    start = begin.point
    end = torch.full_like(begin.point, complex("nan"))
    if theta > 0:
        end = _secant(pair, first.state, second.state)[0].point
    growth = _factor(theta, h, start, end)
    predicted = _factor(theta, h, start, start)
    side = SIDES[0] if theta == 0 else SIDES[1] if theta == 1 else SIDES[2]
    made = _Step(first.state, second.state, start, end, growth, predicted, solved, side)
    return made, pair.delta(x, y)


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


def _require_pair(first: Trajectory, second: Trajectory, alignment: Alignment | None) -> None:
    if first.depth != second.depth:
        raise ValueError(
            f"perturbed must have {first.depth} fields, as the trajectory has, got {second.depth}"
        )
    x = first.states[0]
    y = second.states[0]
    _require_states(first.fields[0], second.fields[0], x, y, alignment)
    if alignment is None:
        return
    for name, columns, mask in (
        ("first", alignment.first, first.mask),
        ("second", alignment.second, second.mask),
    ):
        if (columns >= 0).sum(1).tolist() != mask.sum(1).tolist():
            raise ValueError(
                f"alignment must place {mask.sum(1).tolist()} tokens of the {name} texts, got "
                f"{(columns >= 0).sum(1).tolist()}"
            )


def _require_tensors(x: Tensor, y: Tensor) -> None:
    for name, state in (("x", x), ("y", y)):
        if not isinstance(state, Tensor) or state.ndim < 2:
            got = f"{tuple(state.shape)}" if isinstance(state, Tensor) else type(state).__name__
            raise ValueError(f"{name} must be a tensor of shape (batch, ...), got {got}")


def _require_states(
    field: AbstractVectorField,
    other: AbstractVectorField,
    x: Tensor,
    y: Tensor,
    alignment: Alignment | None,
) -> None:
    if not x.is_floating_point() or x.dtype != y.dtype:
        raise ValueError(f"states must be of one floating-point dtype, got {x.dtype} and {y.dtype}")
    if alignment is None:
        if x.shape != y.shape:
            raise ValueError(
                f"states must have one shape where there is no alignment (see align), got "
                f"{tuple(x.shape)} and {tuple(y.shape)}"
            )
        return
    if (x.shape[0], *x.shape[2:]) != (y.shape[0], *y.shape[2:]):
        raise ValueError(
            f"states must have one batch and hidden size, got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    for name, columns, state in (
        ("first", alignment.first, x),
        ("second", alignment.second, y),
    ):
        rows = len(columns)
        last = int(columns.max()) if columns.numel() else -1
        if rows != state.shape[0] or last >= state.shape[1]:
            raise ValueError(
                f"alignment must be of the {name} states of shape {tuple(state.shape)}, got "
                f"{rows} texts of at least {last + 1} tokens"
            )
