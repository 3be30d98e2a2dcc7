"""Paths: trajectories recomputed under one-step methods."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odestab.fields.trajectory import Trajectory
from odestab.fields.vector_field import AbstractVectorField
from odestab.krylov.orthogonalization import norm
from odestab.operators.linear_operator import AbstractOperator
from odestab.solver.base import AbstractImplicitSolver
from odestab.steps.one_step import AbstractOneStepMethod, ExplicitEuler, Step

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


@dataclasses.dataclass(frozen=True, eq=False)
class Neighbour:
    """A path beside another one that is to be followed: where its implicit solves may begin.

    Attributes:
        path: the known one, x_0, …, x_L.
        differences: d_0, …, d_L of a third path from it, or of the linear prediction of one; None
            where none is known.

    >>> f, x = od.LinearVectorField(-torch.eye(2).double()), torch.ones(1, 1, 2).double()
    >>> layer = od.Trajectory((x, 0 * x), torch.ones(1, 1).bool(), (f,))
    >>> path = od.follow(layer, od.ImplicitEuler(1.0))  # halves every difference
    >>> od.Neighbour(path, (x, x / 2)).end(0, x + 0.1).round(decimals=6).tolist()
    [[[0.55, 0.55]]]
    """

    path: Path
    differences: tuple[Float[Tensor, "batch tokens hidden"], ...] | None = None

    def end(
        self, layer: int, x: Float[Tensor, "batch tokens hidden"]
    ) -> Float[Tensor, "batch tokens hidden"]:
        """About where the step of a layer from x ends.

        It is x_{l+1} + δ + t (d_{l+1} − d_l), with δ = x − x_l and t d_l its projection on d_l:
        what of δ lies along d_l is taken to become what d_l became, and the rest to stay.
        """
        delta = x - self.path.states[layer]
        end = self.path.states[layer + 1] + delta
        if self.differences is None:
            return end
        before = self.differences[layer]
        square = before.square().flatten(1).sum(1)
        share = (before * delta).flatten(1).sum(1) / torch.where(square > 0, square, 1.0)
        return end + share[:, None, None] * (self.differences[layer + 1] - before)

    @property
    def growth(self) -> Float[Tensor, "batch levels"]:
        """‖d_l‖/‖d_0‖.

        Raises:
            ValueError: if no differences are known.
        """
        if self.differences is None:
            raise ValueError("differences must be known for their growth, got None")
        norms = torch.stack([norm(d.flatten(1)) for d in self.differences], dim=1)
        return norms / norms[:, :1]


def follow(
    trajectory: Trajectory,
    methods: Methods | None = None,
    start: Float[Tensor, "batch tokens hidden"] | None = None,
    beside: Neighbour | None = None,
) -> Path:
    """Step through all fields of a trajectory from `start` (its own first state by default).

    Args:
        trajectory: the fields.
        methods: one for all layers, or one per layer; None is what the trajectory declares, else
            explicit Euler with h = 1.
        start: x_0, zero on padding.
        beside: a path nearby through the same fields, from which implicit solves begin: it takes
            the fewer evaluations the nearer it is. A step that it could not solve is not tried
            again, and has not converged. Solvers that keep their last iterate begin where they do
            by design.

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
        for layer, (method, field) in enumerate(zip(chosen, trajectory.fields, strict=True)):
            x = states[-1]
            if beside is not None and solver_of(method) is not None:
                state, solved = _step_beside(method, field, x, beside, layer)
            else:
                step = method.step(field, x)
                state = step.state
                solved = converged(step, x)
            states.append(state)
            ends.append(solved)
    return Path(trajectory, chosen, tuple(states), torch.stack(ends, dim=1))


def require_trajectory(trajectory: Any) -> None:
    """Raise TypeError unless it is a trajectory.

    >>> require_trajectory(None)
    Traceback (most recent call last):
    TypeError: trajectory must be a Trajectory, as od.trace(model, batch) returns it, got NoneType
    """
    _require_made("trajectory", trajectory, Trajectory, "od.trace(model, batch)")


def require_path(path: Any) -> None:
    """Raise TypeError unless it is a path.

    >>> require_path(None)
    Traceback (most recent call last):
    TypeError: path must be a Path, as od.follow(trajectory, methods) returns it, got NoneType
    """
    _require_made("path", path, Path, "od.follow(trajectory, methods)")


def _require_made(name: str, value: Any, kind: type, maker: str) -> None:
    if not isinstance(value, kind):
        raise TypeError(
            f"{name} must be a {kind.__name__}, as {maker} returns it, got {type(value).__name__}"
        )


def solver_of(method: AbstractOneStepMethod) -> AbstractImplicitSolver | None:
    """What solves for the step, wherever the solve begins; None where nothing does.

    >>> solver_of(ExplicitEuler(1.0)) is None
    True
    """
    solver: AbstractImplicitSolver | None = getattr(method, "solver", None)
    return None if solver is None or solver.keeps_last else solver


def _step_beside(
    method: AbstractOneStepMethod,
    field: AbstractVectorField,
    x: Tensor,
    beside: Neighbour,
    layer: int,
) -> tuple[Tensor, Tensor]:
    """Where a step ends that begins where the neighbour says, and whether it converged; of examples
    that the neighbour could not solve, the guess.
    """
    end = beside.end(layer, x)
    solved = beside.path.converged[:, layer]
    kept = solved.nonzero()[:, 0]
    if not len(kept):
        return end, solved
    part = field if len(kept) == len(x) else field.take(kept)
    if part is None:  # the field has no parts: all are tried
        kept = torch.arange(len(x), device=x.device)
        part = field
    step = method.step(part, x[kept], end[kept])
    ended = torch.zeros_like(solved).index_copy(0, kept, converged(step, x[kept]))
    return end.index_copy(0, kept, step.state), solved & ended


def converged(step: Step, x: Tensor) -> Tensor:
    """Per example; an explicit step has nothing to solve."""
    if step.solution is None:
        return torch.ones(len(x), dtype=torch.bool, device=x.device)
    return step.solution.converged


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
