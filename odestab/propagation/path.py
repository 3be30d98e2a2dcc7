"""Paths: trajectories recomputed under one-step methods."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odestab.fields.trajectory import Trajectory
from odestab.operators.linear_operator import AbstractOperator
from odestab.steps.one_step import AbstractOneStepMethod, ExplicitEuler

Methods = AbstractOneStepMethod | Sequence[AbstractOneStepMethod]


@dataclasses.dataclass(frozen=True, eq=False)
class Path:
    """A trajectory recomputed under one-step methods.

    Attributes:
        trajectory: the encoder's own trajectory; its fields are stepped through.
        methods: one per layer.
        states: L + 1 states.
        converged: `(batch, L)`.

    >>> f, x = od.LinearVectorField(-torch.eye(2).double()), torch.ones(1, 1, 2).double()
    >>> layer = od.Trajectory((x, 0 * x), torch.ones(1, 1).bool(), (f,))
    >>> path = od.follow(layer, od.ImplicitEuler(1.0))
    >>> path.states[-1].round(decimals=6).tolist(), path.converged.tolist()
    ([[[0.5, 0.5]]], [[True]])
    """

    trajectory: Trajectory
    methods: tuple[AbstractOneStepMethod, ...]
    states: tuple[Float[Tensor, "batch tokens hidden"], ...]
    converged: Bool[Tensor, "batch layers"]

    def derivatives(self, executed: Sequence[bool] | None = None) -> list[AbstractOperator]:
        """D_0, …, D_{L−1}: the derivative of each step on this path.

        Args:
            executed: per layer, differentiate the iteration that ran instead of the exact method;
                None is of no layer.
        """
        chosen = (False,) * len(self.methods) if executed is None else executed
        ends = zip(self.states[:-1], self.states[1:], strict=True)
        steps = zip(self.methods, self.trajectory.fields, ends, chosen, strict=True)
        return [
            method.derivative(field, x, y, executed=as_run)
            for method, field, (x, y), as_run in steps
        ]


def follow(
    trajectory: Trajectory,
    methods: Methods | None = None,
    start: Float[Tensor, "batch tokens hidden"] | None = None,
) -> Path:
    """Step through all fields of a trajectory from `start` (its own first state by default).

    Args:
        trajectory: the fields.
        methods: one for all layers, or one per layer; None is what the trajectory declares, else
            explicit Euler with h = 1.
        start: x_0, zero on padding.

    Raises:
        ValueError: if the number of methods is not the number of layers.

    >>> f, x = od.LinearVectorField(-3 * torch.eye(2).double()), torch.ones(1, 1, 2).double()
    >>> stack = od.Trajectory((x, -2 * x, 4 * x), torch.ones(1, 1).bool(), (f, f))
    >>> path = od.follow(stack, [od.ExplicitEuler(1.0), od.ImplicitEuler(1.0)])
    >>> [round(state[0, 0, 0].item(), 6) for state in path.states]  # −2, then 1/4
    [1.0, -2.0, -0.5]
    """
    require_trajectory(trajectory)
    chosen = one_per_layer(trajectory, methods)
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


def require_trajectory(trajectory: Any) -> None:
    """Raise TypeError unless it is a trajectory.

    >>> require_trajectory(None)
    Traceback (most recent call last):
    TypeError: trajectory must be a Trajectory, as od.trace(model, batch) returns it, got NoneType
    """
    if not isinstance(trajectory, Trajectory):
        raise TypeError(
            "trajectory must be a Trajectory, as od.trace(model, batch) returns it, "
            f"got {type(trajectory).__name__}"
        )


def require_path(path: Any) -> None:
    """Raise TypeError unless it is a path.

    >>> require_path(None)
    Traceback (most recent call last):
    TypeError: path must be a Path, as od.follow(trajectory, methods) returns it, got NoneType
    """
    if not isinstance(path, Path):
        raise TypeError(
            "path must be a Path, as od.follow(trajectory, methods) returns it, "
            f"got {type(path).__name__}"
        )


def one_per_layer(
    trajectory: Trajectory, methods: Methods | None
) -> tuple[AbstractOneStepMethod, ...]:
    """A method for each layer; None is what the trajectory declares, else explicit Euler, h = 1.

    Raises:
        ValueError: if the number of methods is not the number of layers.
    """
    if methods is None:
        methods = trajectory.methods if trajectory.methods is not None else ExplicitEuler(1.0)
    if isinstance(methods, AbstractOneStepMethod):
        return (methods,) * trajectory.depth
    if len(methods) != trajectory.depth:
        raise ValueError(
            f"methods must be one, or one per layer ({trajectory.depth}), got {len(methods)}"
        )
    return tuple(methods)
