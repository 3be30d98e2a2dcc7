"""The gradient of the exact solution by the implicit function theorem."""

import dataclasses
import math

import torch
from jaxtyping import Float
from torch import Tensor

from odestab.adjoint.base import (
    AbstractAdjoint,
    refuse_vmap,
    solve_untracked,
    takes_image,
)
from odestab.adjoint.implicit_gradient import Evaluation, with_gradient
from odestab.adjoint.linear_solve import AdjointRecord, OneByOne, Product, solve_linear
from odestab.outside_graphs import outside_graphs
from odestab.precision import rounding_unit
from odestab.solver import AbstractImplicitSolver, ImplicitEquation, Solution
from odestab.solver.equation import in_forward_mode, in_transform

FAILURES = ("raise", "record")


@dataclasses.dataclass(eq=False)
class _Last:
    """The one thing of an adjoint that changes: its last backward solve, and its solution if that
    is to start the next one.
    """

    record: AdjointRecord | None = None
    solution: Tensor | None = None


@dataclasses.dataclass(frozen=True)
class ImplicitAdjoint(AbstractAdjoint):
    """The implicit function theorem: (I − hJᵀ) v = g, dL/dx = v, dL/dθ = h (∂f/∂θ)ᵀ v (Mathematics,
    section 6).

    Exact at a converged solution, else wrong by the order of the residual. Memory is that of one
    evaluation of f. A second derivative is refused with a RuntimeError. So is torch.func.vmap of a
    solve, while torch.func's jvp, vjp and jacrev pass.

    Attributes:
        rtol: tolerance of the linear solve, relative to the cotangent of each example, or what the
            precision of f allows where that is more (see AdjointRecord); autocast counts as the
            precision that it brings.
        max_iterations: bound on its products.
        restart: how many states of float32 at least the linear solve holds; fewer products than
            that are the rule.
        on_failure: what happens where an example's linear solve does not reach it: "raise" a
            SolveError, or "record" it, for the caller to look at `last`; the gradient is then that
            of the best v, or not finite.
        warm_start: begin with the last v of equal shape, fitted in scale. It saves products where
            one adjoint serves one layer and its cotangents resemble each other from call to call;
            gradients then depend on what came before, within the tolerance.

    Raises:
        SolveError: in the backward pass, if the linear solve of an example did not reach its
            tolerance.
        ValueError: if an option is out of range.

    >>> import odestab as od
    >>> field, x = od.LinearVectorField(-0.5 * torch.eye(2)), torch.ones(1, 2, requires_grad=True)
    >>> method = od.ImplicitEuler(1.0, adjoint=od.ImplicitAdjoint())
    >>> torch.autograd.grad(method.step(field, x).state.sum(), x)
    (tensor([[0.6667, 0.6667]]),)
    """

    rtol: float = 1e-6
    max_iterations: int = 500
    restart: int = 30
    on_failure: str = "raise"
    warm_start: bool = False
    _last: _Last = dataclasses.field(default_factory=_Last, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rtol) and self.rtol > 0):
            raise ValueError(f"rtol must be finite and > 0, got {self.rtol}")
        for name in ("max_iterations", "restart"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        if self.on_failure not in FAILURES:
            raise ValueError(
                f"on_failure must be one of {', '.join(FAILURES)}, got {self.on_failure!r}"
            )

    @property
    def last(self) -> AdjointRecord | None:
        """How the last linear solve of a backward pass (or of a forward-mode derivative) went; None
        before the first.
        """
        return self._last.record

    @outside_graphs
    def solve(
        self,
        solver: AbstractImplicitSolver,
        equation: ImplicitEquation,
        x: Float[Tensor, "batch *event"],
    ) -> Solution:
        """Solve without recording, then attach one evaluation of f whose cotangent is
        transformed.

        A guess that meets the tolerance needs no other: its residual is that of an evaluation with
        a graph.
        """
        evaluation = None
        if equation.guessed and takes_image(type(solver)) and _records(equation):
            refuse_vmap(equation, x)
            equation.require_state(x)
            evaluation = Evaluation.of(equation.field, x, solver.deterministic)
        image = None if evaluation is None else evaluation.image.detach()
        solution = solve_untracked(solver, equation, x, image)
        # a single example that has moved, and the graph is of another state
        if evaluation is not None and not torch.equal(solution.state, evaluation.y):
            evaluation = None
        if not (
            in_transform()
            or in_forward_mode()
            or (torch.is_grad_enabled() and _asks_for_gradient(equation, solution.state))
        ):
            return solution
        mask = equation.field.mask
        eps = rounding_unit(solution.state)
        state = with_gradient(
            equation,
            solution.state,
            lambda product, g: self._invert(product, g, mask, eps),
            evaluation,
        )
        return dataclasses.replace(solution, state=state)

    def _invert(self, product: Product, g: Tensor, mask: Tensor | None, eps: float) -> Tensor:
        """(I − K)⁻¹ g with K v = product(v), recorded in `last`."""
        # A solve that ends by what it finds cannot run for all vmapped right-hand sides at once.
        if torch._C._functorch.is_batchedtensor(g):
            return OneByOne.apply(g, lambda row: self._invert(product, row, mask, eps))
        kept = self._last.solution
        guess = None
        if (
            self.warm_start
            and kept is not None
            and (kept.shape, kept.dtype, kept.device) == (g.shape, g.dtype, g.device)
        ):
            guess = kept
        with torch.no_grad():
            v, record = solve_linear(
                product, g, mask, self.rtol, eps, self.max_iterations, self.restart, guess
            )
        self._last.record = record
        if self.on_failure == "raise":
            record.raise_for_status()
        # A tensor of a transform must not outlive it.
        if self.warm_start and not in_transform():
            self._last.solution = v.detach()
        return v


def _records(equation: ImplicitEquation) -> bool:
    """Whether autograd follows b, outside transforms and forward mode."""
    followed = torch.is_grad_enabled() and equation.rhs.requires_grad
    return followed and not (in_transform() or in_forward_mode())


def _asks_for_gradient(equation: ImplicitEquation, y: Tensor) -> bool:
    """Whether anything that the solution depends on requires a gradient; f is asked only if b and h
    do not.
    """
    h = equation.step_size
    return (
        equation.rhs.requires_grad
        or (isinstance(h, Tensor) and h.requires_grad)
        or equation.field(y.detach()).requires_grad
    )
