"""Where implicit solves begin on a path beside another one, and what that saves, in evaluations."""

import dataclasses

import pytest
import torch
from problems import DTYPE, linear_trajectory, mixing_trajectory, normal_numbers, random_matrix
from torch import Tensor

from odestab.fields.trajectory import Trajectory
from odestab.fields.vector_field import AbstractVectorField, AbstractWrappedField
from odestab.propagation.growth import grow, grow_each, growth_between
from odestab.propagation.path import Neighbour, Path, follow
from odestab.propagation.prediction import displaced
from odestab.propagation.secants import secants
from odestab.solver import Anderson, GradientDescent
from odestab.steps.one_step import ExplicitEuler, ImplicitEuler

IMPLICIT = ImplicitEuler(0.7, solver=Anderson(rtol=1e-10, max_iterations=300), linear_rtol=1e-12)
DEPTH = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Counted(AbstractWrappedField):
    """A field that counts its evaluations, in texts."""

    texts: list[int]

    def unsplit(self, x: Tensor) -> Tensor:
        self.texts[0] += len(x)
        return self.field.unsplit(x)

    def __call__(self, x: Tensor) -> Tensor:
        self.texts[0] += len(x)
        return self.field(x)


def counted(trajectory: Trajectory) -> tuple[Trajectory, list[int]]:
    """The same trajectory, and how many texts its fields were evaluated on."""
    texts = [0]
    fields: tuple[AbstractVectorField, ...] = tuple(
        Counted(field, texts) for field in trajectory.fields
    )
    return dataclasses.replace(trajectory, fields=fields), texts


def mixing() -> Trajectory:
    return mixing_trajectory((4, 2), layers=DEPTH, size=0.8)


def direction(trajectory: Trajectory) -> Tensor:
    x = trajectory.states[0]
    noise = trajectory.fields[0].project(normal_numbers(*x.shape, seed=5))
    return noise * x.norm() / noise.norm()


def cost_of_following(size: float, beside: str) -> int:
    """Evaluations on a path that is perturbed by a relative size, texts counted one by one."""
    trajectory, texts = counted(mixing())
    path = follow(trajectory, IMPLICIT)
    delta = size * direction(trajectory)
    known = displaced(delta, path.derivatives()) if beside == "prediction" else None
    texts[0] = 0
    other = follow(
        trajectory,
        IMPLICIT,
        path.states[0] + delta,
        None if beside == "nothing" else Neighbour(path, known),
    )
    assert bool(other.converged.all())
    return texts[0]


def test_a_small_perturbation_takes_one_evaluation_a_step_where_its_prediction_is_known() -> None:
    # Of second order in 1e-6: below the tolerance before the first iteration.
    assert cost_of_following(1e-6, "prediction") == 2 * DEPTH
    assert cost_of_following(1e-6, "path") < cost_of_following(1e-6, "nothing")


def test_a_larger_one_takes_fewer_evaluations_the_more_is_known() -> None:
    costs = [cost_of_following(1e-2, beside) for beside in ("prediction", "path", "nothing")]
    assert costs == sorted(costs) and costs[0] < 0.7 * costs[2]


def test_the_guess_is_exact_where_differences_stay_in_one_direction() -> None:
    matrix = random_matrix(6, "non-normal").expand(DEPTH, 2, 6, 6)
    trajectory = linear_trajectory(matrix, tokens=2)
    path = follow(trajectory, IMPLICIT)
    delta = normal_numbers(2, 2, 3, seed=4)
    beside = Neighbour(path, displaced(delta, path.derivatives()))
    other = follow(trajectory, IMPLICIT, path.states[0] + 3 * delta)
    for layer in range(DEPTH):
        torch.testing.assert_close(
            beside.end(layer, other.states[layer]), other.states[layer + 1], rtol=1e-8, atol=1e-8
        )


def test_sizes_of_one_direction_share_a_prediction_and_grow_as_each_alone() -> None:
    trajectory, texts = counted(mixing())
    path = follow(trajectory, IMPLICIT)
    deltas = [size * direction(trajectory) for size in (1e-6, 1e-3, 1e-1)]
    texts[0] = 0
    together = grow_each(path, deltas, derivatives=path.derivatives())
    shared = texts[0]
    texts[0] = 0
    alone = [grow(path, delta) for delta in deltas]
    assert shared < texts[0]
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one.predicted, other.predicted, rtol=1e-9, atol=0)
        assert bool(one.converged.all())
    # A difference of 1e-6 is known to the solver's 1e-10.
    for one, other, rtol in zip(together, alone, (1e-3, 1e-6, 1e-8), strict=True):
        torch.testing.assert_close(one.measured, other.measured, rtol=rtol, atol=0)


def test_a_large_perturbation_may_end_at_another_solution_as_its_step_does() -> None:
    trajectory = mixing()
    path = follow(trajectory, IMPLICIT)
    delta = 0.3 * direction(trajectory)
    alone = follow(trajectory, IMPLICIT, path.states[0] + delta)
    given = torch.ones(2, DEPTH + 1, dtype=DTYPE)
    growth = grow(path, delta, given)
    assert torch.equal(growth.measured, growth_between(path, alone, given).measured)


def test_a_step_that_the_neighbour_could_not_solve_is_not_tried_again() -> None:
    trajectory, texts = counted(mixing())
    path = follow(trajectory, IMPLICIT)
    failed = path.converged.clone()
    failed[:, 1] = False
    beside = Neighbour(dataclasses.replace(path, converged=failed))
    start = path.states[0] + 1e-3 * direction(trajectory)
    texts[0] = 0
    all_steps = follow(trajectory, IMPLICIT, start, Neighbour(path))
    whole = texts[0]
    texts[0] = 0
    other = follow(trajectory, IMPLICIT, start, beside)
    assert other.converged.tolist() == [[True, False, True]] * 2
    assert texts[0] < whole and torch.equal(other.states[1], all_steps.states[1])
    assert torch.equal(other.states[2], beside.end(1, other.states[1]))


def test_a_solver_that_keeps_its_last_iterate_begins_where_it_does_by_design() -> None:
    method = ImplicitEuler(0.5, solver=GradientDescent(steps=3))
    trajectory = mixing()
    path = follow(trajectory, method)
    start = path.states[0] + 0.1
    states = follow(trajectory, method, start).states
    for one, other in zip(
        follow(trajectory, method, start, Neighbour(path)).states, states, strict=True
    ):
        assert torch.equal(one, other)


def other_path(trajectory: Trajectory, method: ImplicitEuler | ExplicitEuler) -> Path:
    return follow(trajectory, method, trajectory.states[0] + direction(trajectory))


@pytest.mark.parametrize("method", [IMPLICIT, ExplicitEuler(0.7)], ids=["implicit", "explicit"])
def test_secants_of_paths_are_those_of_their_trajectories_for_four_evaluations_a_step(
    method: ImplicitEuler | ExplicitEuler,
) -> None:
    trajectory, texts = counted(mixing())
    path = follow(trajectory, method)
    other = other_path(trajectory, method)
    texts[0] = 0
    found = secants(path, other)
    ends = 2 if isinstance(method, ExplicitEuler) else 4
    assert texts[0] == ends * 2 * DEPTH
    perturbed = dataclasses.replace(trajectory, states=other.states)
    expected = secants(trajectory, perturbed, method)
    for name in ("points", "growth", "cumulative", "sizes"):
        torch.testing.assert_close(
            getattr(found, name), getattr(expected, name), rtol=1e-12, atol=1e-12, equal_nan=True
        )
    assert torch.equal(found.converged, expected.converged)


def test_secants_of_paths_refuse_what_does_not_belong_together() -> None:
    trajectory = mixing()
    path = follow(trajectory, IMPLICIT)
    with pytest.raises(ValueError, match="two trajectories or two paths, got one"):
        secants(path, trajectory)
    with pytest.raises(ValueError, match="methods must be None for paths"):
        secants(path, path, IMPLICIT)
    with pytest.raises(ValueError, match="both paths must take the same steps"):
        secants(path, follow(trajectory, ExplicitEuler(0.7)))


def test_growth_between_two_paths_is_that_of_the_perturbation() -> None:
    trajectory = mixing()
    path = follow(trajectory, IMPLICIT)
    other = other_path(trajectory, IMPLICIT)
    growth = growth_between(path, other, torch.ones(2, DEPTH + 1, dtype=DTYPE))
    expected = grow(path, direction(trajectory))
    torch.testing.assert_close(growth.measured, expected.measured, rtol=1e-8, atol=0)
    torch.testing.assert_close(growth.size, expected.size, rtol=1e-12, atol=0)
    with pytest.raises(ValueError, match="differences must be known"):
        _ = Neighbour(path).growth


def test_a_prediction_is_not_its_own_measurement_where_the_solver_is_loose() -> None:
    trajectory = mixing()
    loose = dataclasses.replace(IMPLICIT, solver=Anderson(rtol=1e-6, max_iterations=300))
    path = follow(trajectory, loose)
    delta = 1e-5 * direction(trajectory)
    growth = grow(path, delta)
    fresh = growth_between(
        path, follow(trajectory, loose, path.states[0] + delta), growth.predicted
    )
    assert torch.equal(growth.measured, fresh.measured)
    # What is linear to 1e-5 at best does not agree to 1e-9.
    assert growth.prediction_error[:, -1].min() > 1e-9
