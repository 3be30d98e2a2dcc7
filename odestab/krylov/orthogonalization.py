"""Gram–Schmidt of one new vector per example against B bases side by side."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from odestab.precision import own_precision

Matvec = Callable[[Float[Tensor, "batch n"]], Float[Tensor, "batch n"]]


def power_of_two(x: Tensor) -> Tensor:
    """The power of two p with |x| in [p, 2p); 1 where x is 0 or not finite.

    To divide by it rounds nothing.
    """
    size = x.abs()
    return torch.where((size > 0) & size.isfinite(), size / (2 * torch.frexp(size).mantissa), 1.0)


def norm(w: Tensor, dim: int = -1) -> Tensor:
    """‖w‖ along a dimension, however small or large.

    Where squares leave the range of the precision, w is scaled first.
    """
    limits = torch.finfo(w.dtype)
    if w.device.type != "cpu" and w.shape[dim]:  # to ask where takes longer than to do it
        if w.dtype == torch.float32:
            # No square of a float32 leaves the range of float64.
            return torch.linalg.vector_norm(w, dim=dim, dtype=torch.float64).float()
        # float64 has nothing wider; clamped, so that zeros and infinities can be divided by it.
        scale = torch.linalg.vector_norm(w, torch.inf, dim, keepdim=True).clamp(
            limits.tiny, limits.max
        )
        return torch.linalg.vector_norm(w / scale, dim=dim) * scale.squeeze(dim)
    size = w.norm(dim=dim)
    # A shorter w has squares below the normal numbers, where digits are lost.
    safe = (size > (limits.tiny / limits.eps) ** 0.5) & size.isfinite()
    if bool(safe.all()):
        return size
    scale = (
        power_of_two(w.abs().amax(dim, keepdim=True))
        if w.shape[dim]
        else torch.ones_like(size).unsqueeze(dim)
    )
    return torch.where(safe, size, (w / scale).norm(dim=dim) * scale.squeeze(dim))


def orthogonalize(
    basis: Float[Tensor, "batch m n"], w: Float[Tensor, "batch n"]
) -> tuple[Float[Tensor, "batch n"], Float[Tensor, "batch m"]]:
    """Return w − Qᵀ(Q w) with the coefficients Q w, rows of Q orthonormal.

    It is classical Gram–Schmidt, twice where that is needed. Twice is enough for orthogonality to
    working precision (Giraud, Langou and Rozložník 2005), and once where the vector keeps at least
    half its length (Daniel, Gragg, Kaufman and Stewart 1976).
    """
    once, first = _pass(basis, w)
    if w.device.type != "cpu":  # to ask which need it takes longer than the pass
        twice, second = _pass(basis, once)
        return twice, first + second
    return _second_pass(basis, once, first, _lost_half(norm(w), norm(once)))


def unit(
    w: Float[Tensor, "batch n"], floor: Tensor | float = 0.0
) -> tuple[Float[Tensor, "batch n"], Float[Tensor, " batch"]]:
    """Return w/‖w‖ and ‖w‖ per example; both are zero where ‖w‖ ≤ floor."""
    size = norm(w)
    alive = size > floor
    return torch.where(
        alive[:, None], w / torch.where(alive, size, 1.0)[:, None], 0.0
    ), size * alive


def next_vector(
    basis: Float[Tensor, "batch m n"],
    image: Float[Tensor, "batch n"],
    fresh: Callable[[], Float[Tensor, "batch n"]],
) -> tuple[Float[Tensor, "batch n"], Float[Tensor, "batch m"], Float[Tensor, " batch"]]:
    """The next basis vector q with A's image = Qᵀ c + β q.

    Where the space is invariant, q continues from a fresh vector and β is 0. The factorisation
    stays exact with that zero, and eigenvalues of multiplicity above one are found. In an example
    whose whole space is used up, or whose fresh vector is zero, q is zero. On an accelerator no
    decision leaves the device.

    Args:
        basis: rows found so far.
        image: A times the last of them.
        fresh: makes random vectors of the state space.

    Returns:
        q, c and β.
    """
    if image.device.type != "cpu":
        return _next_unasked(basis, image, fresh)
    eps = torch.finfo(image.dtype).eps
    # Most images keep half of their length, and one pass is enough for all examples.
    w, first = _pass(basis, image)
    before = norm(image)
    after = norm(w)
    lost = _lost_half(before, after)
    if not bool(lost.any()):
        return w / after[:, None], first, after
    # Such a remainder is rounding of the image: β is 0 and the space goes on elsewhere.
    invariant = after <= 100 * eps * before
    instead = fresh()
    w = torch.where(invariant[:, None], instead, w)
    w, coefficients = _second_pass(basis, w, first, lost)
    # Of a fresh vector so little lies outside of the space that it is rounding: nothing is left.
    q, after = unit(w, torch.where(invariant, 1e4 * eps * norm(instead), 0.0))
    return (
        q,
        torch.where(invariant[:, None], first, coefficients),
        torch.where(invariant, 0.0, after),
    )


def _next_unasked(
    basis: Tensor, image: Tensor, fresh: Callable[[], Float[Tensor, "batch n"]]
) -> tuple[Float[Tensor, "batch n"], Float[Tensor, "batch m"], Float[Tensor, " batch"]]:
    """`next_vector` in few launches: every example pays for a second pass and a fresh vector."""
    eps = torch.finfo(image.dtype).eps
    w, first = _pass(basis, image)
    invariant = norm(w) <= 100 * eps * norm(image)
    w = torch.where(invariant[:, None], fresh(), w)
    floor = 1e4 * eps * norm(w)  # far below what an image that is not invariant keeps
    w, second = _pass(basis, w)
    q, after = unit(w, floor)
    return (
        q,
        first + second.masked_fill_(invariant[:, None], 0.0),
        after.masked_fill_(invariant, 0.0),
    )


def fresh_vectors(
    start: Float[Tensor, "batch n"], step: int | Float[Tensor, "batch 1"]
) -> Float[Tensor, "batch n"]:
    """Vectors that differ from step to step, zero where the start vectors are.

    They take no random numbers.
    """
    return start * torch.cos(
        torch.arange(start.shape[1], dtype=start.dtype, device=start.device) * step
    )


def fresh_by_step(
    start: Float[Tensor, "batch n"], steps: range
) -> Callable[[int], Float[Tensor, "batch n"]]:
    """Step ↦ `fresh_vectors`; on an accelerator the waves of all steps are made at once."""
    if start.device.type == "cpu":  # few are asked for
        return lambda step: fresh_vectors(start, step)
    positions = torch.arange(start.shape[1], dtype=start.dtype, device=start.device)
    numbers = torch.arange(steps.start, steps.stop, dtype=start.dtype, device=start.device)
    waves = torch.cos(torch.outer(numbers, positions))
    return lambda step: start * waves[step - steps.start]


def _lost_half(before: Tensor, after: Tensor) -> Tensor:
    """Examples that need a second pass."""
    return ~(after > 0.5 * before)


def _second_pass(basis: Tensor, w: Tensor, first: Tensor, needed: Tensor) -> tuple[Tensor, Tensor]:
    """The second pass for some examples: w, and the coefficients of both passes.

    What an example gets does not depend on the others.
    """
    w = w.clone()
    total = first.clone()
    for i in needed.nonzero()[:, 0].tolist():  # views: to gather the bases would copy them
        row = slice(i, i + 1)
        w[row], second = _pass(basis[row], w[row])
        total[row] += second
    return w, total


def _pass(basis: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    with own_precision(w):
        # Row form: a single-column bmm runs several times slower on a CPU.
        c = torch.bmm(w[:, None, :], basis.mT)
        return torch.baddbmm(w[:, None, :], c, basis, alpha=-1)[:, 0], c[:, 0]
