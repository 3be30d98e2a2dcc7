import dataclasses
import math

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

from odestab.fields.vector_field import LinearVectorField
from odestab.propagation.growth import (
    EditPerturbation,
    GaussianPerturbation,
    WorstPerturbation,
    grow,
    propagate,
    scaled,
)
from odestab.propagation.path import follow
from odestab.propagation.prediction import predict, worst_direction
from odestab.propagation.worst_growth import worst_growth
from odestab.solver import Anderson, FixedPoint
from odestab.steps.one_step import AbstractOneStepMethod, ExplicitEuler, ImplicitEuler, ThetaMethod

EXACT = Anderson(rtol=1e-13, memory=8, max_iterations=300)  # quicker here than Newton
EXPLICIT, IMPLICIT = ExplicitEuler(0.7), ImplicitEuler(0.7, solver=EXACT, linear_rtol=1e-12)
THETA = ThetaMethod(0.7, theta=0.6, solver=EXACT, linear_rtol=1e-12)
each_method = pytest.mark.parametrize(
    "method", [EXPLICIT, IMPLICIT, THETA], ids=["explicit", "implicit", "theta"]
)
LAYERS, BATCH, N = 3, 2, 6


def matrices() -> Tensor:
    """`(layers, batch, n, n)`, non-normal."""
    return torch.stack(
        [
            torch.stack([random_matrix(N, "non-normal", 10 * l + b) for b in range(BATCH)])
            for l in range(LAYERS)
        ]
    )


def dense_step(method: AbstractOneStepMethod, matrix: Tensor) -> Tensor:
    identity, h = torch.eye(len(matrix), dtype=DTYPE), float(method.step_size)
    theta = {ExplicitEuler: 0.0, ImplicitEuler: 1.0}.get(
        type(method), getattr(method, "theta", None)
    )
    return torch.linalg.solve(identity - h * theta * matrix, identity + h * (1 - theta) * matrix)


def dense_products(methods: list[AbstractOneStepMethod]) -> Tensor:
    """D_{l−1}⋯D_0 for l = 0 … L, `(batch, L + 1, n, n)`."""
    products = [torch.eye(N, dtype=DTYPE).expand(BATCH, N, N)]
    for method, layer in zip(methods, matrices(), strict=True):
        products.append(torch.stack([dense_step(method, m) for m in layer]) @ products[-1])
    return torch.stack(products, 1)


@each_method
def test_on_linear_fields_measured_and_predicted_are_the_dense_product(
    method: AbstractOneStepMethod,
) -> None:
    trajectory, delta = linear_trajectory(matrices(), tokens=2), normal_numbers(BATCH, 2, 3, seed=4)
    growth = propagate(trajectory, delta, method)
    flat = delta.flatten(1)
    expected = (dense_products([method] * LAYERS) @ flat[:, None, :, None])[..., 0].norm(
        dim=2
    ) / flat.norm(dim=1)[:, None]
    # solves to 1e-13 relative, through three layers of condition number up to about 100
    torch.testing.assert_close(growth.measured, expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(growth.predicted, expected, rtol=1e-9, atol=0)
    assert growth.converged.all() and growth.prediction_error.max() < 1e-9
    torch.testing.assert_close(
        growth.size,
        flat.norm(dim=1) / trajectory.states[0].flatten(1).norm(dim=1),
        rtol=1e-13,
        atol=0,
    )


def test_relative_growth_divides_by_the_states() -> None:
    trajectory = mixing_trajectory()
    growth = propagate(trajectory, GaussianPerturbation(1e-4), EXPLICIT)
    sizes = torch.stack([x.flatten(1).norm(dim=1) for x in follow(trajectory, EXPLICIT).states], 1)
    torch.testing.assert_close(
        growth.relative, growth.measured * sizes[:, :1] / sizes, rtol=1e-13, atol=0
    )
    assert (
        (growth.measured[:, 0] == 1).all()
        and (growth.predicted[:, 0] == 1).all()
        and (growth.relative[:, 0] == 1).all()
    )


@each_method
def test_prediction_error_falls_linearly_with_the_size(method: AbstractOneStepMethod) -> None:
    path = follow(mixing_trajectory((3, 2), layers=3, size=0.8), method)
    sizes, predicted, errors = [1e-2, 1e-3, 1e-4, 1e-5], None, []
    for size in sizes:
        growth = grow(path, GaussianPerturbation(size).delta(path), predicted)
        predicted = growth.predicted
        assert growth.converged.all() and (growth.prediction_error[:, 0] < 1e-10).all()
        errors.append(growth.prediction_error[:, -1].mean().item())
    assert slope(sizes, errors) == pytest.approx(1, abs=0.1)
    assert growth.prediction_error.max() < 1e-3


def test_one_method_per_layer() -> None:
    methods = [EXPLICIT, IMPLICIT, THETA]
    trajectory, delta = linear_trajectory(matrices(), tokens=2), normal_numbers(BATCH, 2, 3, seed=4)
    product = dense_products(methods)[:, -1]
    expected = (product @ delta.flatten(1)[..., None])[..., 0].norm(dim=1) / delta.flatten(1).norm(
        dim=1
    )
    torch.testing.assert_close(
        propagate(trajectory, delta, methods).measured[:, -1], expected, rtol=1e-9, atol=0
    )
    declared = dataclasses.replace(trajectory, methods=tuple(methods))
    given = torch.ones(BATCH, LAYERS + 1, dtype=DTYPE)  # a known prediction saves the derivatives
    for path, same in ((declared, methods), (trajectory, ExplicitEuler(1.0))):
        measured = grow(follow(trajectory, same), delta, given).measured
        assert torch.equal(propagate(path, delta).measured, measured)


def test_padded_batch_equals_alone() -> None:
    trajectory = mixing_trajectory((4, 2), split=-0.5)
    delta = normal_numbers(*trajectory.states[0].shape, seed=6)  # padding of δ is ignored
    together = propagate(trajectory, delta, EXPLICIT)
    for example, length in enumerate((4, 2)):
        mask = torch.ones(1, length, dtype=torch.bool)
        fields = tuple(dataclasses.replace(field, mask=mask) for field in trajectory.fields)
        states = tuple(x[example : example + 1, :length] for x in trajectory.states)
        alone = propagate(
            dataclasses.replace(trajectory, states=states, mask=mask, fields=fields),
            delta[example : example + 1, :length],
            EXPLICIT,
        )
        for name in ("measured", "predicted", "relative", "size"):
            torch.testing.assert_close(
                getattr(together, name)[example], getattr(alone, name)[0], rtol=1e-9, atol=0
            )


@pytest.mark.parametrize(
    "methods",
    [[EXPLICIT] * 3, [IMPLICIT] * 3, [EXPLICIT, IMPLICIT, EXPLICIT]],
    ids=["explicit", "implicit", "mixed"],
)
def test_worst_direction_is_the_largest_singular_triplet_of_the_product(
    methods: list[AbstractOneStepMethod],
) -> None:
    found = worst_direction(follow(linear_trajectory(matrices(), tokens=2), methods), rtol=1e-6)
    product = dense_products(methods)[:, -1]
    assert found.converged.all() and found.right is not None and found.left is not None
    torch.testing.assert_close(
        found.values[:, 0], torch.linalg.svdvals(product)[:, 0], rtol=1e-9, atol=0
    )
    image = (product @ found.right.flatten(1)[..., None])[..., 0]
    torch.testing.assert_close(
        image, found.values * found.left.flatten(1), rtol=0, atol=1e-5 * float(found.values.max())
    )


def test_the_worst_perturbation_attains_the_worst_growth_and_no_other_exceeds_it() -> None:
    trajectory = mixing_trajectory((3, 3))
    worst = worst_direction(follow(trajectory, EXPLICIT), rtol=1e-6).values[:, 0]
    attained = propagate(trajectory, WorstPerturbation(1e-7, rtol=1e-6), EXPLICIT)
    torch.testing.assert_close(attained.predicted[:, -1], worst, rtol=1e-6, atol=0)
    torch.testing.assert_close(attained.measured[:, -1], worst, rtol=1e-4, atol=0)
    torch.testing.assert_close(
        attained.size, torch.full((2,), 1e-7, dtype=DTYPE), rtol=1e-6, atol=0
    )
    for seed in range(5):
        other = propagate(
            trajectory, GaussianPerturbation(1e-7, torch.Generator().manual_seed(seed)), EXPLICIT
        )
        assert (other.predicted[:, -1] <= worst * (1 + 1e-9)).all()


@each_method
def test_worst_growth_of_one_step_against_dense(method: AbstractOneStepMethod) -> None:
    mask = ragged_mask(4, 3, 3)[
        1:
    ]  # padding, and examples of one length: see test_spectrum for others
    field, x = MixingField.random(mask, size=1.0, fast=True), masked_state(mask)
    with torch.no_grad():
        y = method.step(field, x).state
    found, given = worst_growth(method, field, x, 1e-7), worst_growth(method, field, x, 1e-7, y=y)
    h, theta = 0.7, {ExplicitEuler: 0.0, ImplicitEuler: 1.0}.get(type(method), 0.6)
    for example in range(2):
        before, after = field.matrix(x, example), field.matrix(y, example)
        identity = torch.eye(len(before), dtype=DTYPE)
        exact = torch.linalg.svdvals(
            torch.linalg.solve(identity - h * theta * after, identity + h * (1 - theta) * before)
        )[0]
        torch.testing.assert_close(found.values[example, 0], exact, rtol=1e-8, atol=0)
    assert found.converged.all() and torch.equal(found.values, given.values)


def test_worst_growth_of_a_step_that_could_not_be_solved_is_flagged() -> None:
    field = LinearVectorField(
        torch.stack([0.1 * torch.eye(3, dtype=DTYPE), 5.0 * torch.eye(3, dtype=DTYPE)])
    )
    found = worst_growth(ImplicitEuler(1.0, solver=FixedPoint()), field, normal_numbers(2, 3))
    assert found.converged[:, 0].tolist() == [True, False]


def test_layers_that_were_not_solved_are_reported() -> None:
    small = torch.stack([torch.full((1,), 0.1).double(), torch.full((1,), 5.0).double()])[
        ..., None, None
    ] * torch.eye(4, dtype=DTYPE)
    growth = propagate(
        linear_trajectory(small, tokens=2),
        GaussianPerturbation(),
        ImplicitEuler(1.0, solver=FixedPoint()),
    )
    assert growth.converged.tolist() == [[True, False]]


def test_perturbations_have_the_size_asked_for_and_spare_padding() -> None:
    path = follow(mixing_trajectory((4, 2)), EXPLICIT)
    x, mask = path.states[0], path.trajectory.mask
    for family in (GaussianPerturbation(1e-3), WorstPerturbation(1e-3)):
        delta = family.delta(path)
        torch.testing.assert_close(
            delta.flatten(1).norm(dim=1), 1e-3 * x.flatten(1).norm(dim=1), rtol=1e-13, atol=0
        )
        assert (delta[~mask] == 0).all()
    small, large = GaussianPerturbation(1e-6).delta(path), GaussianPerturbation(1e-2).delta(path)
    torch.testing.assert_close(
        1e4 * small, large, rtol=1e-12, atol=0
    )  # one direction at every size
    edit = EditPerturbation(x + 1.0).delta(path)
    torch.testing.assert_close(edit[mask], torch.ones_like(edit[mask]), rtol=0, atol=10 * EPS)
    assert (edit[~mask] == 0).all()


def test_prediction_is_reusable_and_linear() -> None:
    path = follow(mixing_trajectory(), EXPLICIT)
    delta = GaussianPerturbation(1e-4).delta(path)
    derivatives = path.derivatives()
    torch.testing.assert_close(
        predict(delta, derivatives), predict(1e3 * delta, derivatives), rtol=1e-12, atol=0
    )
    assert torch.equal(
        grow(path, delta, predict(delta, derivatives)).predicted, grow(path, delta).predicted
    )


@pytest.mark.slow
@each_method
def test_perturbations_share_a_path_that_was_followed(method: AbstractOneStepMethod) -> None:
    # Fails if a path is followed anew, or its own methods replace those of the perturbed one.
    trajectory = mixing_trajectory()
    path = follow(trajectory, method)
    delta = GaussianPerturbation(1e-2).delta(path)
    whole = propagate(trajectory, delta, method)
    shared = propagate(path, delta)
    assert torch.equal(shared.measured, whole.measured)
    assert torch.equal(shared.predicted, whole.predicted)
    again = propagate(path, 0.1 * delta, predicted=whole.predicted)
    assert again.predicted is whole.predicted
    other = propagate(path, delta, EXPLICIT)
    differences = follow(trajectory, EXPLICIT, path.states[0] + delta).states[-1] - path.states[-1]
    expected = (
        differences.flatten(1).norm(dim=1) / whole.size / path.states[0].flatten(1).norm(dim=1)
    )
    torch.testing.assert_close(other.measured[:, -1], expected, rtol=1e-9, atol=0)


def test_a_step_that_was_stopped_is_differentiated_as_it_ran() -> None:
    # Fails if a path asks for the exact method's derivative whatever ran.
    stopped = ImplicitEuler(0.7, solver=FixedPoint(max_iterations=2))
    path = follow(mixing_trajectory(layers=2), [EXPLICIT, stopped])
    exact, as_run = path.derivatives(), path.derivatives([False, True])
    v = path.states[0]
    field, x, y = path.trajectory.fields[1], *path.states[1:]
    expected = stopped.derivative(field, x, y, executed=True).mv(v)
    assert torch.equal(exact[0].mv(v), as_run[0].mv(v))
    assert torch.equal(as_run[1].mv(v), expected)
    assert (as_run[1].mv(v) - exact[1].mv(v)).norm() > 1e-3 * expected.norm()


def test_a_path_starts_where_it_is_told() -> None:
    trajectory = mixing_trajectory()
    start = 0.5 * trajectory.states[0]
    path = follow(trajectory, EXPLICIT, start)
    assert torch.equal(path.states[0], start) and torch.equal(
        path.states[1], EXPLICIT.step(trajectory.fields[0], start).state
    )
    assert path.converged.all() and path.converged.shape == (2, trajectory.depth)


def test_wrong_input() -> None:
    trajectory = mixing_trajectory((4, 2), layers=4)
    zero = torch.zeros_like(trajectory.states[0])
    zero[0] = 1
    with pytest.raises(
        ValueError, match=r"perturbation must not be zero, got zero for examples \[1\]"
    ):
        propagate(trajectory, zero)
    with pytest.raises(ValueError, match=r"methods must be one, or one per layer \(4\), got 3"):
        propagate(trajectory, GaussianPerturbation(), [EXPLICIT] * 3)
    with pytest.raises(
        ValueError,
        match=r"edited states must have the shape \(2, 4, 3\) of the originals, got \(2, 5, 3\)",
    ):
        propagate(trajectory, EditPerturbation(torch.zeros(2, 5, 3, dtype=DTYPE)))
    for size in (0.0, -1e-3, math.inf, math.nan):
        with pytest.raises(ValueError, match="size must be > 0 and finite, got"):
            propagate(trajectory, GaussianPerturbation(size))
    with pytest.raises(ValueError, match="size must be > 0 and finite, got -1"):
        scaled(zero, zero, -1.0)


def test_no_method_at_all_is_refused() -> None:
    # Fails if an empty list falls back to explicit Euler.
    with pytest.raises(ValueError, match=r"methods must be one, or one per layer \(4\), got 0"):
        propagate(mixing_trajectory(layers=4), GaussianPerturbation(), [])
