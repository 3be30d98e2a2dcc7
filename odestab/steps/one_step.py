"""One-step methods for dx/dt = f(x): one step y0 → y1, its stability function R(z), its
derivative.
"""

import abc
import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from odestab.adjoint import AbstractAdjoint, ImplicitAdjoint
from odestab.fields.from_anything import FieldLike, as_field
from odestab.fields.vector_field import AbstractVectorField
from odestab.one_thread import jvp
from odestab.operators.algebra import affine, compose, inverse
from odestab.operators.jacobian import Jacobian
from odestab.operators.linear_operator import AbstractOperator, ComposedOperator
from odestab.solver import AbstractImplicitSolver, Auto, ImplicitEquation, Solution

MOST_TANGENTS = 16  # in one pass of a solver that is differentiated as it runs


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """One step.

    Attributes:
        state: y1, `(batch, ...)`.
        solution: how the implicit solve went; None for an explicit step.

    >>> import odestab as od
    >>> field = od.LinearVectorField(-0.5 * torch.eye(2))
    >>> step = od.ImplicitEuler(1.0).step(field, torch.ones(1, 2))
    >>> step.solution.converged
    tensor([True])
    """

    state: Float[Tensor, "batch *event"]
    solution: Solution | None


class AbstractOneStepMethod(abc.ABC):
    """A one-step method with step size h.

    >>> import odestab as od
    >>> isinstance(od.ImplicitEuler(0.5), od.AbstractOneStepMethod)
    True
    """

    step_size: float | Tensor

    @property
    @abc.abstractmethod
    def pole(self) -> float | None:
        """The pole of R; None if R is a polynomial."""

    @abc.abstractmethod
    def step(
        self,
        field: FieldLike,
        x: Float[Tensor, "batch *event"],
        guess: Float[Tensor, "batch *event"] | None = None,
    ) -> Step:
        """One step from x; an explicit method has no use for a guess of where it ends.

        The field is whatever `od.field` takes.
        """

    @abc.abstractmethod
    def stability_function(self, z: Complex[Tensor, "*points"]) -> Complex[Tensor, "*points"]:
        """R(z): one step on f(x) = λx multiplies x by R(hλ)."""

    @abc.abstractmethod
    def derivative(
        self,
        field: FieldLike,
        x: Float[Tensor, "batch *event"],
        y: Float[Tensor, "batch *event"],
        *,
        executed: bool = False,
    ) -> AbstractOperator:
        """The derivative of the step x ↦ y at x as an operator.

        Args:
            field: f, whatever `od.field` takes.
            x: where the step began.
            y: where it ended; an implicit method is linearised there.
            executed: differentiate the iteration that ran instead of the exact method.
        """


class AbstractThetaMethod(AbstractOneStepMethod):
    """y1 = y0 + h[(1 − θ) f(y0) + θ f(y1)], R(z) = (1 + (1 − θ)z)/(1 − θz).

    What is explicit is left out where θ = 1, and what is implicit where θ = 0.
    """

    # of the implicit equation, of gradients across its solve, and of the step's derivative; a
    # method with θ = 0 has none of them
    solver: AbstractImplicitSolver
    adjoint: AbstractAdjoint
    linear_rtol: float

    @property
    @abc.abstractmethod
    def theta(self) -> float:
        """θ in [0, 1]."""

    def step(
        self,
        field: FieldLike,
        x: Float[Tensor, "batch *event"],
        guess: Float[Tensor, "batch *event"] | None = None,
    ) -> Step:
        """One step; look at `solution.status` before trusting an implicit one.

        A guess near the solution is a warm start; None is x. With θ = 0, the field `increment` and
        h = 1 the step is the layer, bit for bit.
        """
        field = as_field(field, x)
        if self.theta == 0:
            h = self.step_size
            # Not x + h f(x): with split −1 and h = 1 the state drops out exactly, where a sum would
            # round.
            return Step((1 + h * field.split) * x + h * field.unsplit(x), None)
        equation = dataclasses.replace(self._equation(field, x), guessed=guess is not None)
        solution = self.adjoint.solve(self.solver, equation, x if guess is None else guess)
        return Step(solution.state, solution)

    def stability_function(self, z: Complex[Tensor, "*points"]) -> Complex[Tensor, "*points"]:
        """(1 + (1 − θ)z)/(1 − θz)."""
        if self.theta == 0:
            return 1 + z
        # nothing is weighted by 0 or 1: 0·∞ is not a number
        if self.theta == 1:
            return 1 / (1 - z)
        return (1 + (1 - self.theta) * z) / (1 - self.theta * z)

    @property
    def pole(self) -> float | None:
        """1/θ."""
        return None if self.theta == 0 else 1 / self.theta

    def derivative(
        self,
        field: FieldLike,
        x: Float[Tensor, "batch *event"],
        y: Float[Tensor, "batch *event"],
        *,
        executed: bool = False,
    ) -> AbstractOperator:
        """(I − hθJ(y))⁻¹ (I + h(1 − θ)J(x)), the inverse by GMRES at the solution y."""
        field = as_field(field, x)
        h = float(self.step_size)
        if self.theta == 0:
            return affine(Jacobian(field, x), 1.0, h)
        if executed:
            return _executed_derivative(
                lambda s: self.solver.solve(self._equation(field, s), s).state, field, x
            )
        implicit = inverse(affine(Jacobian(field, y), 1.0, -h * self.theta), self.linear_rtol)
        if self.theta == 1:
            return implicit
        return compose([affine(Jacobian(field, x), 1.0, h * (1 - self.theta)), implicit])

    def _equation(self, field: AbstractVectorField, x: Tensor) -> ImplicitEquation:
        h = self.step_size
        if self.theta == 1:
            return ImplicitEquation(field, x, h)
        return ImplicitEquation(field, x + h * (1 - self.theta) * field(x), h * self.theta)


@dataclasses.dataclass(frozen=True)
class ExplicitEuler(AbstractThetaMethod):
    """y1 = (1 + hc) y0 + h F(y0): first order, R(z) = 1 + z, never A-stable (Hairer and Wanner,
    section IV.2); θ = 0.

    Attributes:
        step_size: h.

    Raises:
        ValueError: if h is not positive and finite.

    >>> import odestab as od
    >>> field = od.LinearVectorField(-0.5 * torch.eye(2))
    >>> od.ExplicitEuler(1.0).step(field, torch.ones(1, 2)).state
    tensor([[0.5000, 0.5000]])
    """

    step_size: float | Tensor = 1.0

    theta: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        check_step_size(self.step_size)


@dataclasses.dataclass(frozen=True)
class ThetaMethod(AbstractThetaMethod):
    """y1 = y0 + h[(1 − θ) f(y0) + θ f(y1)]: R(z) = (1 + (1 − θ)z)/(1 − θz), order 2 for θ = ½, else
    1, A-stable for θ ≥ ½.

    Attributes:
        step_size: h.
        theta: θ in (0, 1].
        solver: of the implicit equation.
        adjoint: of gradients across the solve.
        linear_rtol: relative residual of the linear solves in the step's derivative.

    Raises:
        ValueError: if h is not positive and finite, or θ is not in (0, 1].

    >>> import odestab as od
    >>> field = od.LinearVectorField(-0.5 * torch.eye(2))
    >>> od.ThetaMethod(1.0, theta=0.5).step(field, torch.ones(1, 2)).state
    tensor([[0.6000, 0.6000]])
    """

    step_size: float | Tensor = 1.0
    theta: float = 0.5
    solver: AbstractImplicitSolver = dataclasses.field(default_factory=Auto)
    adjoint: AbstractAdjoint = dataclasses.field(default_factory=ImplicitAdjoint)
    linear_rtol: float = 1e-8

    def __post_init__(self) -> None:
        check_step_size(self.step_size)
        if not 0 < self.theta <= 1:
            raise ValueError(f"theta must be in (0, 1], got {self.theta}")


@dataclasses.dataclass(frozen=True)
class ImplicitEuler(AbstractThetaMethod):
    """y1 = y0 + h f(y1): first order, R(z) = 1/(1 − z), A- and L-stable (Hairer and Wanner, section
    IV.3); θ = 1.

    Attributes:
        step_size: h.
        solver: of the implicit equation.
        adjoint: of gradients across the solve.
        linear_rtol: relative residual of the linear solves in the step's derivative.

    Raises:
        ValueError: if h is not positive and finite.

    >>> import odestab as od
    >>> field = od.LinearVectorField(-0.5 * torch.eye(2))
    >>> od.ImplicitEuler(1.0).step(field, torch.ones(1, 2)).state
    tensor([[0.6667, 0.6667]])
    """

    step_size: float | Tensor = 1.0
    solver: AbstractImplicitSolver = dataclasses.field(default_factory=Auto)
    adjoint: AbstractAdjoint = dataclasses.field(default_factory=ImplicitAdjoint)
    linear_rtol: float = 1e-8

    theta: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        check_step_size(self.step_size)


def require_method(method: Any) -> None:
    """Raise TypeError unless it is a one-step method.

    >>> require_method(ExplicitEuler(0.5))
    """
    if not isinstance(method, AbstractOneStepMethod):
        got = method.__name__ if isinstance(method, type) else type(method).__name__
        raise TypeError(f"method must be a one-step method such as ExplicitEuler(h), got {got}")


def check_step_size(step_size: float | Tensor) -> None:
    """Raise ValueError unless every entry of h is positive and finite.

    >>> check_step_size(0.5)
    """
    values = [step_size]
    if isinstance(step_size, Tensor):
        values = step_size.detach().flatten().tolist()
    for value in values:
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"step_size must be > 0 and finite, got {value}")


def _executed_derivative(
    run: Callable[[Tensor], Tensor], field: AbstractVectorField, x: Float[Tensor, "batch *event"]
) -> ComposedOperator:
    """The derivative of the iteration itself: forward and reverse mode through the solver's
    loop.
    """

    def project(v: Tensor) -> Tensor:
        return field.project(v)

    def pushforward(v: Tensor) -> Tensor:
        return project(jvp(run, x, project(v))[1])

    def pullback(u: Tensor) -> Tensor:
        return project(torch.func.vjp(run, x)[1](project(u))[0])

    return ComposedOperator(
        _over_tangents(pushforward, x), _over_tangents(pullback, x), x, field.mask
    )


def _over_tangents(product: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[Tensor], Tensor]:
    """All tangents in one pass of the solver: its loop branches on the state, which they share."""

    def over_tangents(v: Tensor) -> Tensor:
        if v.ndim == x.ndim:
            return product(v)
        return torch.func.vmap(product, chunk_size=MOST_TANGENTS)(v.reshape(-1, *x.shape)).reshape(
            v.shape
        )

    return over_tangents
