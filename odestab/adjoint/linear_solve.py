"""The linear solve of an adjoint, (I − K) v = g per example, and what is known of it afterwards."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from odestab.krylov import gmres
from odestab.solver import SolveError

Product = Callable[[Tensor], Tensor]
# a residual is not known better than this many rounding errors of its terms g, v and K v
ROUNDINGS = 8
# where rounding is a larger share of g than that, I − K is singular to working precision
SINGULAR = 0.25


@dataclasses.dataclass(frozen=True, eq=False)
class AdjointRecord:
    """How the linear solve of a backward pass went, per example.

    Attributes:
        residual: ‖g − (I − hJᵀ) v‖ / ‖g‖ over real tokens, carried along by GMRES and not computed
            again where the tolerance is far above its drift; 0 where g = 0, NaN where g or J is not
            finite.
        iterations: products with J.
        converged: residual ≤ tolerance.
        tolerance: what was asked of the residual: rtol, or 8 ε (1 + ‖v‖/‖g‖) where that is more,
            with ε of the precision that f computes in: products cannot be told apart below it.

    >>> one = torch.ones(1)
    >>> record = AdjointRecord(1e-9 * one, 3 * one.int(), one > 0, 1e-6 * one)
    >>> record.raise_for_status()  # raises nothing, as all have converged
    >>> record.converged
    tensor([True])
    """

    residual: Float[Tensor, " batch"]
    iterations: Int[Tensor, " batch"]
    converged: Bool[Tensor, " batch"]
    tolerance: Float[Tensor, " batch"]

    def raise_for_status(self) -> None:
        """Raise SolveError, naming the examples, unless all converged."""
        failed = (~self.converged).nonzero()[:, 0].tolist()
        if failed:
            failures = [
                (i, self.residual[i], self.tolerance[i], self.iterations[i]) for i in failed[:8]
            ]
            listed = ", ".join(
                f"{i}: relative residual {residual:.1e} above {asked:.1e} after {n} products"
                for i, residual, asked, n in failures
            )
            raise SolveError(
                f"{len(failed)} of {len(self.converged)} adjoint solves did not converge: {listed}"
            )


def solve_linear(
    product: Product,
    g: Float[Tensor, "batch *event"],
    mask: Bool[Tensor, "batch tokens"] | None,
    rtol: float,
    eps: float,
    max_iterations: int,
    restart: int,
    guess: Float[Tensor, "batch *event"] | None = None,
) -> tuple[Tensor, AdjointRecord]:
    """Solve v − K v = g by GMRES, in float32 at least, on real tokens; padding of v is 0.

    Every g is brought to a size between ½ and 1 by a power of two, which no rounding sees: v is
    linear in the scale of g, bit for bit.

    Args:
        product: K on the state.
        g: right-hand sides.
        mask: True on real tokens; None is all.
        rtol: tolerance relative to ‖g‖ of each example.
        eps: rounding unit of the products.
        max_iterations: bound on the products.
        restart: largest dimension of the Krylov space.
        guess: a first guess up to its scale, which is fitted: no guess is worse than none but for
            one product.
    """
    wide = torch.promote_types(g.dtype, torch.float32)
    padding = None if mask is None else (~mask[..., None]).expand_as(g).flatten(1)

    def project(v: Tensor) -> Tensor:
        return v if padding is None else v.masked_fill(padding, 0.0)

    def matvec(v: Tensor) -> Tensor:
        return v - project(product(v.to(g.dtype).view_as(g)).flatten(1).to(wide))

    b = project(g.flatten(1)).to(wide)
    # ±120 stays within the exponents of float32, where ldexp by more would give 0 or infinity.
    exponent = torch.frexp(b.abs().amax(1)).exponent.clamp(-120, 120)[:, None]
    b = torch.ldexp(b, -exponent)
    start, r = (None, b) if guess is None else _fitted(matvec, project(guess.flatten(1)), b)
    tiny = torch.finfo(wide).tiny
    size = b.norm(dim=1)
    share = r.norm(dim=1) / size.clamp(min=tiny)
    asked = max(rtol, ROUNDINGS * eps)
    # GMRES measures by r, of which a good guess has left a small share of g.
    rest = asked / share.clamp(min=tiny)
    solved = gmres(matvec, r, rest, max_iterations, restart, believed=eps**0.5)
    v = solved.solution if start is None else start + solved.solution
    residual = solved.residual * share.clamp(max=1.0)
    rounding = ROUNDINGS * eps * (1 + v.norm(dim=1) / size.clamp(min=tiny))
    # A v so long that rounding covers g solves nothing, and excuses no residual.
    tolerance = torch.where(rounding < SINGULAR, rounding, 0.0).clamp(min=asked)
    record = AdjointRecord(residual, solved.iterations, residual <= tolerance, tolerance)
    return torch.ldexp(v, exponent).view_as(g).to(g.dtype), record


def _fitted(matvec: Product, guess: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """α·guess with the least residual, and that residual; nothing where the guess is of no use."""
    image = matvec(guess)
    alpha = (image * b).sum(1, keepdim=True) / (image * image).sum(1, keepdim=True)
    # 0/0 where the guess, or its image, is zero.
    useful = alpha.isfinite()
    alpha = torch.where(useful, alpha, 0.0)
    return torch.where(useful, alpha * guess, 0.0), torch.where(useful, b - alpha * image, b)


class OneByOne(torch.autograd.Function):
    """A solve that branches on its data, under torch.func.vmap: one right-hand side after the
    other.
    """

    @staticmethod
    def forward(g: Tensor, solve: Callable[[Tensor], Tensor]) -> Tensor:
        """The solution."""
        return solve(g)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        """Nothing is kept: the caller decides about derivatives."""

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], g: Tensor, solve: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, int]:
        """One solve for each."""
        return torch.stack([OneByOne.apply(one, solve) for one in g.movedim(in_dims[0] or 0, 0)]), 0
