import dataclasses

import pytest
import torch
from problems import (
    DTYPE,
    EPS,
    MixingField,
    linear_trajectory,
    masked_state,
    mixing_trajectory,
    normal_numbers,
    ragged_mask,
    random_matrix,
    slope,
)
from torch import Tensor

from odestab.fields.trajectory import Trajectory
from odestab.fields.vector_field import AbstractVectorField, LayerVectorField, LinearVectorField
from odestab.propagation.alignment import Alignment, align
from odestab.propagation.path import follow
from odestab.propagation.secants import secant, secants
from odestab.solver import Anderson, FixedPoint
from odestab.steps.one_step import AbstractOneStepMethod, ExplicitEuler, ImplicitEuler, ThetaMethod

EXACT = Anderson(rtol=1e-13, memory=8, max_iterations=300)
METHODS: dict[str, AbstractOneStepMethod] = {
    "explicit": ExplicitEuler(0.7),
    "implicit": ImplicitEuler(0.7, solver=EXACT),
    "theta ½": ThetaMethod(0.7, theta=0.5, solver=EXACT),
    "theta ¾": ThetaMethod(0.7, theta=0.75, solver=EXACT),
}
each_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())


def other_text(trajectory: Trajectory, size: float = 0.4, seed: int = 5) -> Trajectory:
    """Other states through the same layers."""
    x = trajectory.states[0]
    y = trajectory.fields[0].project(x + size * normal_numbers(*x.shape, seed=seed).to(x))
    return dataclasses.replace(trajectory, states=(y,) * len(trajectory.states))


def texts_of(*lengths: int, layers: int = 3, seed: int = 1, side: str = "right") -> Trajectory:
    """Texts of any token counts through one stack of layers."""
    mask = ragged_mask(*lengths)
    mask = mask if side == "right" else mask.flip(1)
    fields = tuple(
        MixingField.random(mask, seed=10 + l, size=1.0, split=-0.5, fast=True)
        for l in range(layers)
    )
    return Trajectory((masked_state(mask, seed=seed),) * (layers + 1), mask, fields)


def ids_of(trajectory: Trajectory, shift: int = 0) -> Tensor:
    return torch.arange(trajectory.mask.shape[1]).expand(trajectory.mask.shape) + shift


def paired(first: Trajectory, second: Trajectory, shift: int = 1) -> Alignment:
    return align(ids_of(first), ids_of(second, shift), first.mask, second.mask)


@each_method
def test_growth_is_the_stability_function_at_the_secant(method: AbstractOneStepMethod) -> None:
    trajectory = mixing_trajectory((4, 2), size=0.8)
    other = other_text(trajectory)
    path = secants(trajectory, other, method)
    ends = [follow(one, method).states for one in (trajectory, other)]
    sizes = torch.stack([(b - a).flatten(1).norm(dim=1) for a, b in zip(*ends, strict=True)], 1)
    tolerance = 1e-12 if isinstance(method, ExplicitEuler) else 1e-10
    torch.testing.assert_close(path.sizes, sizes, rtol=1e-13, atol=0)
    torch.testing.assert_close(path.growth, sizes[:, 1:] / sizes[:, :-1], rtol=tolerance, atol=0)
    torch.testing.assert_close(path.cumulative, path.measured, rtol=4 * tolerance, atol=0)
    assert path.converged.all()
    added = torch.cat([torch.zeros(2, 1, dtype=DTYPE), path.growth.log().cumsum(1)], 1)
    torch.testing.assert_close(path.cumulative.log(), added, rtol=0, atol=1e-13)
    assert torch.equal(path.tokens.norm(dim=2), path.sizes) or torch.allclose(
        path.tokens.norm(dim=2), path.sizes, rtol=1e-14
    )


def test_the_side_that_decides() -> None:
    trajectory = mixing_trajectory((4, 2), layers=3, size=0.8)
    methods = [METHODS["explicit"], METHODS["implicit"], METHODS["theta ½"]]
    path = secants(trajectory, other_text(trajectory), methods)
    assert path.sides == ("start", "end", "both")
    assert torch.equal(path.points[:, 0], path.start[:, 0]) and path.end[:, 0].isnan().all()
    assert torch.equal(path.points[:, 1:], path.end[:, 1:])
    z = 0.7 * path.points
    torch.testing.assert_close(path.growth[:, 0], (1 + z[:, 0]).abs(), rtol=1e-14, atol=0)
    torch.testing.assert_close(path.growth[:, 1], 1 / (1 - z[:, 1]).abs(), rtol=1e-14, atol=0)
    start = 0.7 * path.start
    expected = (1 + start[:, 2] / 2).abs() / (1 - z[:, 2] / 2).abs()
    torch.testing.assert_close(path.growth[:, 2], expected, rtol=1e-14, atol=0)
    torch.testing.assert_close(
        path.predicted[:, 1], 1 / (1 - start[:, 1]).abs(), rtol=1e-14, atol=0
    )
    assert ((path.predicted - path.growth)[:, 1:].abs() > 1e-4).all()  # the secants moved


@each_method
def test_of_a_linear_field_both_secants_are_one_for_a_normal_matrix(
    method: AbstractOneStepMethod,
) -> None:
    # A scaled rotation has one secant everywhere: its eigenvalue.
    matrix = torch.tensor([[-0.3, -1.2], [1.2, -0.3]], dtype=DTYPE)
    trajectory = linear_trajectory(matrix.expand(3, 2, 2, 2), tokens=1)
    path = secants(trajectory, other_text(trajectory), method)
    expected = torch.full((2, 3), complex(-0.3, 1.2), dtype=torch.complex128)
    torch.testing.assert_close(path.start, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(path.predicted, path.growth, rtol=1e-9, atol=0)
    if path.sides[0] != "start":
        torch.testing.assert_close(path.end, expected, rtol=1e-9, atol=1e-9)


def test_of_any_linear_field_the_end_secant_is_that_of_the_ends() -> None:
    trajectory = linear_trajectory(random_matrix(6, "non-normal").expand(2, 2, 6, 6), tokens=2)
    other = other_text(trajectory)
    method = METHODS["implicit"]
    path = secants(trajectory, other, method)
    x, y = follow(trajectory, method).states[1], follow(other, method).states[1]
    assert torch.equal(secant(trajectory.fields[0], x, y).point, path.end[:, 0])


def test_prothero_and_robinson() -> None:
    # f(x) = λ(x − g): every secant is λ, however stiff (Hairer and Wanner, section IV.15).
    goal = normal_numbers(1, 2, 3, seed=3)
    for stiffness in (-1.0, -1e3, -1e6):
        field = LayerVectorField(lambda x, a=stiffness: a * (x - goal), kind="outer")
        x, y = normal_numbers(2, 2, 3), normal_numbers(2, 2, 3, seed=1)
        mask = torch.ones(2, 2, dtype=torch.bool)
        one, two = (Trajectory((state,) * 2, mask, (field,)) for state in (x, y))
        # The residual is met to 1e-12 of states of size |λ|h.
        path = secants(one, two, ImplicitEuler(0.5))
        torch.testing.assert_close(
            path.points.real, torch.full((2, 1), stiffness, dtype=DTYPE), rtol=1e-5, atol=0
        )
        expected = torch.full((2, 1), 1 / (1 - 0.5 * stiffness), dtype=DTYPE)
        torch.testing.assert_close(path.growth, expected, rtol=1e-5, atol=0)
        explicit = secants(one, two, ExplicitEuler(0.5)).growth
        torch.testing.assert_close(
            explicit, torch.full_like(expected, abs(1 + 0.5 * stiffness)), rtol=1e-12, atol=0
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Descent(AbstractVectorField):
    """f = −∇V of the convex V(x) = Σ log cosh(x W) + ¼ Σ x⁴."""

    w: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return -torch.tanh(x @ self.w) @ self.w.T - x**3


@pytest.mark.parametrize("h", [0.1, 1.0, 10.0, 100.0])
def test_no_pair_is_expanded_by_an_implicit_step_on_a_gradient_field(h: float) -> None:
    field = Descent(normal_numbers(3, 3, seed=2))
    ends = 3 * normal_numbers(2, 10_000, 3, seed=4)
    path = secant(field, ends[0], ends[1])
    assert (path.re <= 10 * EPS * path.gain).all()
    starts = ends - h * field(ends)  # the implicit step leads from here to there
    growth = (ends[1] - ends[0]).norm(dim=1) / (starts[1] - starts[0]).norm(dim=1)
    assert (growth <= 1).all()
    torch.testing.assert_close(growth, 1 / (1 - h * path.point).abs(), rtol=1e-10, atol=0)


def test_every_pair_is_expanded_by_an_explicit_step_on_a_rotation() -> None:
    skew = torch.tensor([[0.0, -2.0], [2.0, 0.0]], dtype=DTYPE)
    x, y = normal_numbers(2, 1000, 2)
    for h in (0.01, 1.0, 10.0):
        point = secant(LinearVectorField(skew), x, y).point
        growth = (1 + h * point).abs()
        assert (growth > 1).all()
        torch.testing.assert_close(
            growth, torch.full_like(growth, (1 + 4 * h * h) ** 0.5), rtol=1e-13, atol=0
        )


def test_the_limit_of_small_perturbations_is_that_of_the_jacobian() -> None:
    mask = ragged_mask(4, 2)
    field, x = MixingField.random(mask, size=1.5, split=-0.5), masked_state(mask, seed=1)
    v = masked_state(mask, seed=2)
    sizes, errors = [1e-1, 1e-2, 1e-3, 1e-4], []
    for size in sizes:
        found = secant(field, x, x + size * v)
        error = 0.0
        for b in range(2):
            direction = v[b, mask[b]].flatten()
            image = field.matrix(x, b) @ direction
            re = (image @ direction) / (direction @ direction)
            gain = image.norm() / direction.norm()
            error += float((found.re[b] - re).abs() + (found.gain[b] - gain).abs())
        errors.append(error)
    assert slope(sizes, errors) == pytest.approx(1, abs=0.1) and errors[-1] < 1e-3


def test_the_imaginary_part_is_no_difference_of_squares() -> None:
    # f = −x turned by 1e-9: L² − a² would be rounding.
    angle = 1e-9
    matrix = torch.tensor([[-1.0, -angle], [angle, -1.0]], dtype=DTYPE)
    x, y = normal_numbers(2, 5, 2)
    assert secant(LinearVectorField(matrix), x, y).point.imag == pytest.approx(angle, rel=1e-6)
    scaled = secant(LinearVectorField(-3.0 * torch.eye(2, dtype=DTYPE)), x, y)
    assert (scaled.point.imag <= 10 * EPS).all() and (scaled.re + 3).abs().max() <= 10 * EPS


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [(DTYPE, 1e150), (DTYPE, 1e-150), (torch.float32, 1e12), (torch.float32, 1e-12)],
)
def test_states_and_fields_of_any_scale(dtype: torch.dtype, scale: float) -> None:
    matrix = random_matrix(6, "non-normal").to(dtype)
    x, y = normal_numbers(2, 3, 6).to(dtype)
    plain = secant(LinearVectorField(matrix), x, y)
    rtol = 1e3 * torch.finfo(dtype).eps
    states = secant(LinearVectorField(matrix), scale * x, scale * y)
    torch.testing.assert_close(states.point, plain.point, rtol=rtol, atol=0)
    torch.testing.assert_close(states.size, scale * plain.size, rtol=rtol, atol=0)
    field = secant(LinearVectorField(scale * matrix), x, y)
    torch.testing.assert_close(field.point / scale, plain.point, rtol=rtol, atol=0)
    assert field.point.abs().isfinite().all()


def test_equal_states_and_states_that_are_not_finite_are_marked() -> None:
    x, y = normal_numbers(2, 4, 3)
    y = y.clone()
    y[0], y[1, 1], y[2, 0] = x[0], torch.nan, torch.inf
    field = LinearVectorField(random_matrix(4, "normal")[:3, :3])
    found = secant(field, x, y)
    assert found.equal.tolist() == [True, False, False, False]
    assert found.point.real[:3].isnan().all() and found.gain[:3].isnan().all()
    assert found.size[0] == 0 and found.size[1:3].isnan().all()
    alone = secant(field, x[3:], y[3:])
    assert torch.equal(alone.point, found.point[3:]) and found.point[3].isfinite()


def test_equal_texts_have_no_growth_and_leave_their_mates_alone() -> None:
    trajectory = mixing_trajectory((4, 2))
    other = other_text(trajectory)
    same = other.states[0].clone()
    same[0] = trajectory.states[0][0]
    path = secants(trajectory, dataclasses.replace(other, states=(same,) * 5), METHODS["explicit"])
    alone = secants(trajectory, other, METHODS["explicit"])
    assert path.equal.tolist() == [True, False]
    assert path.growth[0].isnan().all() and path.cumulative[0].isnan().all()
    assert torch.equal(path.growth[1], alone.growth[1])


def test_padding_alone_is_marked() -> None:
    mask = ragged_mask(3, 0)
    field = MixingField.random(mask, fast=True)
    found = secant(field, masked_state(mask), masked_state(mask, seed=1))
    assert found.equal.tolist() == [False, True] and found.point[1].isnan()


def test_padding_is_no_part_of_a_state() -> None:
    mask = ragged_mask(4, 2)
    field, x, y = MixingField.random(mask), masked_state(mask), masked_state(mask, seed=1)
    junk = torch.where(mask[..., None], 0.0, 1e3)
    together = secant(field, x + junk, y - junk)
    assert torch.equal(together.point, secant(field, x, y).point)
    alone = secant(dataclasses.replace(field, mask=mask[1:, :2]), x[1:, :2], y[1:, :2])
    torch.testing.assert_close(together.point[1:], alone.point, rtol=1e-12, atol=0)


@each_method
def test_texts_of_unequal_lengths_obey_the_identity(method: AbstractOneStepMethod) -> None:
    first, second = texts_of(4, 2), texts_of(3, 5, seed=2)
    pair = paired(first, second)
    path = secants(first, second, method, alignment=pair)
    states = [follow(one, method).states for one in (first, second)]
    sizes = torch.stack(
        [
            (pair.of_second(b) - pair.of_first(a)).flatten(1).norm(dim=1)
            for a, b in zip(*states, strict=True)
        ],
        1,
    )
    tolerance = 1e-12 if isinstance(method, ExplicitEuler) else 1e-10
    torch.testing.assert_close(path.growth, sizes[:, 1:] / sizes[:, :-1], rtol=tolerance, atol=0)
    assert path.tokens.shape == (2, 4, pair.mask.shape[1])
    # A token of one text only counts with all of its state.
    only = pair.inserted[1].nonzero()[0, 0]
    position = int(pair.second[1, only])
    assert path.tokens[1, 0, only] == pytest.approx(float(second.states[0][1, position].norm()))


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_padded_batch_of_unequal_pairs_equals_each_pair_alone(side: str) -> None:
    first, second = texts_of(4, 2, side=side), texts_of(3, 5, seed=2, side=side)
    together = secants(first, second, alignment=paired(first, second, 2))
    for b in range(2):
        alone = []
        for text in (first, second):
            keep = text.mask[b]
            mask = torch.ones(1, int(keep.sum()), dtype=torch.bool)
            fields = tuple(dataclasses.replace(field, mask=mask) for field in text.fields)
            state = text.states[0][b : b + 1, keep]
            alone.append(Trajectory((state,) * 4, mask, fields))
        ids = [
            ids_of(text, shift)[b, text.mask[b]].tolist()
            for text, shift in ((first, 0), (second, 2))
        ]
        found = secants(alone[0], alone[1], alignment=align(*ids))
        torch.testing.assert_close(together.points[b], found.points[0], rtol=1e-11, atol=0)


def test_the_other_text_may_have_another_mask_at_one_length() -> None:
    first, second = texts_of(4, 2), texts_of(4, 3, seed=2)
    second = dataclasses.replace(second, mask=second.mask)
    path = secants(first, second, METHODS["explicit"])
    torch.testing.assert_close(path.cumulative, path.measured, rtol=1e-12, atol=0)
    # The third token of the second text stands opposite padding, which counts as 0.
    assert path.tokens[1, 0, 2] == pytest.approx(float(second.states[0][1, 2].norm()))


def test_fields_of_different_splits_are_compared_as_they_are() -> None:
    matrix = random_matrix(6, "non-normal")
    x, y = normal_numbers(2, 2, 6)
    same, split = LinearVectorField(matrix), LinearVectorField(matrix, split=-1.0)
    torch.testing.assert_close(
        secant(same, x, y, split).point, secant(same, x, y).point, rtol=1e-12, atol=0
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Counted(AbstractVectorField):
    """A field that counts its evaluations."""

    calls: list[int]

    def __call__(self, x: Tensor) -> Tensor:
        self.calls[0] += 1
        return torch.tanh(x)


def test_explicit_secants_cost_two_forwards() -> None:
    calls = [0]
    mask = torch.ones(1, 2, dtype=torch.bool)
    x, y = normal_numbers(2, 1, 2, 3)
    one, two = (Trajectory((s,) * 6, mask, (Counted(calls),) * 5) for s in (x, y))
    secants(one, two)
    assert calls == [2 * 5]


def test_solves_that_failed_are_flagged() -> None:
    field = LinearVectorField(5.0 * torch.eye(4, dtype=DTYPE))
    x, y = normal_numbers(2, 1, 2, 2)
    mask = torch.ones(1, 2, dtype=torch.bool)
    one, two = (Trajectory((s,) * 2, mask, (field,)) for s in (x, y))
    assert secants(one, two, ImplicitEuler(1.0, solver=FixedPoint())).converged.tolist() == [
        [False]
    ]


def test_declared_methods_are_taken() -> None:
    trajectory = mixing_trajectory((4, 2), layers=2, size=0.8)
    other = other_text(trajectory)
    methods = (METHODS["implicit"], METHODS["explicit"])
    declared = dataclasses.replace(trajectory, methods=methods)
    assert torch.equal(secants(declared, other).growth, secants(trajectory, other, methods).growth)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precisions(dtype: torch.dtype) -> None:
    trajectory = linear_trajectory(random_matrix(6, "non-normal").expand(3, 2, 6, 6), tokens=2)
    other, exact = other_text(trajectory), None
    exact = secants(trajectory, other)
    fields = tuple(LinearVectorField(f.matrix.to(dtype)) for f in trajectory.fields)
    low = [
        Trajectory(tuple(s.to(dtype) for s in one.states), one.mask, fields)
        for one in (trajectory, other)
    ]
    path = secants(*low)
    assert path.points.dtype == torch.complex64 and path.growth.dtype == torch.float32
    tolerance = 100 * torch.finfo(dtype).eps
    torch.testing.assert_close(path.growth.double(), exact.growth, rtol=tolerance, atol=tolerance)


def test_states_may_be_expanded_or_transposed_and_a_batch_may_be_empty() -> None:
    field = LinearVectorField(random_matrix(6, "non-normal"))
    x = normal_numbers(1, 2, 3).expand(4, 2, 3)
    y = normal_numbers(3, 2, 4).permute(2, 1, 0)
    found = secant(field, x, y)
    assert torch.equal(found.point, secant(field, x.contiguous(), y.contiguous()).point)
    assert secant(field, x[:0], y[:0]).point.shape == (0,)
    empty = Trajectory((x[:0],) * 2, torch.ones(0, 2, dtype=torch.bool), (field,))
    path = secants(empty, empty)
    assert path.growth.shape == (0, 1) and path.cumulative.shape == (0, 2)


def test_wrong_input() -> None:
    first, second = texts_of(4, 2), texts_of(3, 5, seed=2)
    x, y = first.states[0], second.states[0]
    pair = paired(first, second)
    with pytest.raises(ValueError, match="states must have one shape where there is no alignment"):
        secants(first, second)
    with pytest.raises(ValueError, match="perturbed must have 3 fields, as the trajectory has"):
        secants(first, texts_of(4, 2, layers=2))
    with pytest.raises(ValueError, match="states must be of one floating-point dtype"):
        secant(first.fields[0], x, x.float())
    with pytest.raises(ValueError, match=r"methods must be one, or one per layer \(3\), got 0"):
        secants(first, first, [])
    with pytest.raises(ValueError, match=r"alignment must place \[4, 2\] tokens of the first"):
        secants(first, first, alignment=align(ids_of(first)[:, :2], ids_of(first)[:, :2]))
    with pytest.raises(ValueError, match="alignment must be of the second states of shape"):
        secant(first.fields[0], x, y[:, :2], alignment=pair)
    with pytest.raises(ValueError, match="states must have one batch and hidden size"):
        secant(first.fields[0], x, y[..., :1], alignment=pair)


def test_what_is_no_state_or_no_field_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # Fails with an AttributeError about what an array, None or a function lacks.
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    field = LinearVectorField(torch.eye(2))
    x = torch.zeros(1, 2)
    for wrong, got in ((x.numpy(), "ndarray"), (None, "NoneType"), (x[0], r"\(2,\)")):
        with pytest.raises(ValueError, match=rf"x must be a tensor of .*, got {got}"):
            secant(field, wrong, x)
        with pytest.raises(ValueError, match=rf"y must be a tensor of .*, got {got}"):
            secant(field, x, wrong)
    for wrong, got in ((None, "NoneType"), (3.0, "float"), ("tanh", "str")):
        with pytest.raises(ValueError, match=rf"field must be an AbstractVectorField.*, got {got}"):
            secant(wrong, x, x)
    with pytest.raises(ValueError, match=r"field must be an AbstractVectorField.*, got float"):
        secant(field, x, x, 3.0)


def test_a_method_that_is_no_theta_method_is_refused() -> None:
    @dataclasses.dataclass(frozen=True)
    class Midpoint(ExplicitEuler):
        def stability_function(self, z: Tensor) -> Tensor:
            return 1 + z + z * z / 2

    first = mixing_trajectory((4, 2))
    with pytest.raises(ValueError, match="method must be explicit or implicit Euler or a theta"):
        secants(first, other_text(first), Midpoint(1.0))
