"""Batched Krylov–Schur: Arnoldi with thick restart, B partial Schur forms found side by side."""

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from odestab.krylov.arnoldi import extend
from odestab.krylov.orthogonalization import Matvec, fresh_vectors, orthogonalize, unit
from odestab.krylov.projected import HOST, decomposed, transferred
from odestab.krylov.ritz import arnoldi_ritz, condition_numbers

LOOSE = 0.3  # of a gap: a value that need only be told from the wanted ones
BETTER = 10  # tolerances by which a wanted value must gain to count as one that was missing before
STRIDE = 8  # columns between two looks at the projected problem
BLOCK = 8192  # entries of a state that a restart rotates at a time


@dataclasses.dataclass(frozen=True, eq=False)
class RitzPairs:
    """Wanted eigenpairs A v ≈ θ v per example, best-ranked first.

    Attributes:
        values: θ, NaN where an example's operator is not finite.
        vectors: v, unit, `(batch, k, n)`.
        converged: every residual estimate of the example is below its tolerance (and confirmed,
            where that was asked for).
        products: how many products with A an example took part in.
        failed_at: the product that first gave numbers that are not finite; −1 where none did.
        total: products with the whole batch.
        conditions: κ(θ) ≥ 1 of the projected matrix: of the operator itself where the Krylov space
            is invariant, else a lower bound of that, roughly.
    """

    values: Complex[Tensor, "batch k"]
    vectors: Complex[Tensor, "batch k n"]
    converged: Bool[Tensor, " batch"]
    products: Int[Tensor, " batch"]
    failed_at: Int[Tensor, " batch"]
    total: int
    conditions: Float[Tensor, "batch k"]


@dataclasses.dataclass(frozen=True, eq=False)
class Wanted:
    """Which eigenvalues are wanted.

    Attributes:
        count: k.
        rank: eigenvalues ↦ a number each, the largest wanted most; equal for conjugates.
        tolerance: the wanted values `(batch, k)` ↦ what their residual estimates must not exceed,
            `(batch, 1)` or one each.
    """

    count: int
    rank: Callable[[Tensor], Tensor]
    tolerance: Callable[[Tensor], Tensor]


def krylov_schur(
    matvec: Matvec,
    start: Float[Tensor, "batch n"],
    wanted: Wanted,
    *,
    dimension: int = 40,
    max_products: int = 600,
    confirm: Float[Tensor, "batch n"] | None = None,
    narrow: Callable[[Int[Tensor, " chosen"]], Matvec] | None = None,
) -> RitzPairs:
    """The best-ranked eigenpairs by Krylov–Schur (Stewart 2001).

    A bounded Arnoldi space is restarted with its best Schur vectors.

    Examples advance in lockstep; each is frozen, its pairs kept as they are, once all of its
    estimates are below tolerance, so that its result does not depend on its batch mates. Iterations
    stay on the device; the host decides, at looks at the small projected matrices every STRIDE
    products, for each of which it waits once. Memory: dimension + 1 + 2k states per example, and 2k
    more while pairs are kept.

    Args:
        matvec: A, on `(batch, n)`.
        start: start vectors.
        wanted: how many and which.
        dimension: m, of the space before a restart.
        max_products: budget; what has not converged by then is returned as it is.
        confirm: fresh random vectors. With them the Schur vectors of an example that has converged
            are locked and the complement is searched from a fresh vector, as one Krylov space has
            one vector of a multiple eigenvalue. Where that finds something better, it is locked too
            and the search repeats.
        narrow: indices ↦ A on those examples alone. With it, examples that are done are left out of
            later products.
    """
    search = _Search(start, wanted, min(dimension, start.shape[1]), confirm)
    while True:
        size = search.first
        while size < search.dimension and search.products < max_products:
            steps = min(STRIDE, search.dimension - size, max_products - search.products)
            search.extend(matvec, size, steps)
            size += steps
            search.look(size, steps, last=search.products >= max_products)
            if search.products >= max_products or not bool(search.open.any()):
                return search.result()
        if narrow is not None and not bool(search.open.all()):
            # Only here: in the middle of a space a narrower batch would have to copy its bases.
            matvec = narrow(search.leave_out_closed())
        search.restart()


class _Search:
    """Bases and projected matrices of a search, written in place, and the pairs kept so far.

    States and bases are on the device; what is decided by, and the projected matrices as the last
    look read them, is on the host.
    """

    def __init__(
        self, start: Tensor, wanted: Wanted, dimension: int, confirm: Tensor | None
    ) -> None:
        batch, n = start.shape
        self.wanted = wanted
        self.dimension = dimension
        self.first = 0
        self.products = 0
        self.members = torch.arange(batch)
        self.start = start
        self.fresh = confirm
        self.rounds = torch.zeros(batch, 1, dtype=start.dtype)  # searches of the complement so far
        self.basis = start.new_zeros(batch, dimension + 1, n)
        self.hessenberg = start.new_zeros(batch, dimension + 1, dimension)
        self.basis[:, 0], _ = unit(start)
        self.open = torch.ones(batch, dtype=torch.bool)
        self.locked = ~self.open
        self.new_lock = ~self.open
        # Ranks of the wanted values at the last look, and when they were locked.
        self.ranks = torch.zeros(batch, wanted.count, dtype=start.dtype)
        self.locked_ranks = self.ranks.clone()
        complex_ = torch.complex64 if start.dtype == torch.float32 else torch.complex128
        self.values = torch.full((batch, wanted.count), complex("nan"), dtype=complex_)
        self.vectors = torch.zeros(batch, wanted.count, n, dtype=complex_, device=start.device)
        self.conditions = torch.ones(batch, wanted.count, dtype=start.dtype)
        self.converged = ~self.open
        self.failed_at = torch.full((batch,), -1)
        self.spent = torch.zeros(batch, dtype=torch.long)
        self.projected = self.lengths = torch.empty(batch, 0)

    def extend(self, matvec: Matvec, size: int, steps: int) -> None:
        """Products for the open examples; closed members go along as zeros."""
        extend(matvec, self.basis, self.hessenberg, range(size, size + steps), self.start)
        self.products += steps
        self.spent[self.members] = torch.where(self.open, self.products, self.spent[self.members])

    def look(self, size: int, steps: int, last: bool) -> None:
        """Read `steps` new columns: close what has failed, keep pairs that have converged.

        When the budget is spent the pairs of all open examples are kept.
        """
        k = self.wanted.count
        small = (self.hessenberg[:, : size + 1, :size], self.basis[:, :size].norm(dim=2))
        self.projected, self.lengths = transferred(HOST, *small)
        failing = self._failing(self.projected[:, :, size - steps :], self.products - steps)
        self._close(failing)
        # Fewer columns than wanted values: there is nothing to judge yet.
        if size < k and not last:
            return
        ritz = arnoldi_ritz(self.projected, self.lengths, min(k + 1, size), self.wanted.rank)
        limit = self.wanted.tolerance(ritz.values[:, :k])
        good = self.open & (ritz.estimates[:, :k] <= limit).all(1)
        # The value after the wanted ones must be told from them: a space that has not seen a wanted
        # one yet cannot.
        after = self.wanted.rank(ritz.values)[:, k - 1 : k] - self.wanted.rank(ritz.values)[:, k:]
        searched = (ritz.estimates[:, k:] <= torch.maximum(limit[:, -1:], LOOSE * after)).all(1)
        # A search that found something better proves that the one before it had missed some. Only
        # one that finds nothing ends the search.
        self.ranks = self.wanted.rank(ritz.values[:, :k]).to(self.start.dtype)
        better = size < k or (self.ranks - self.locked_ranks > BETTER * limit).any(1)
        settled = good if self.fresh is None else good & self.locked & searched & ~better
        self.new_lock = good & (~self.locked | (searched & better))
        # When the budget ends, what is open is kept as it stands, not converged.
        ending = self.open if last else settled
        if bool(ending.any()):
            self._keep(ending, ritz.values[:, :k], ritz.right[:, :, :k], size)
        self.converged[self.members] |= settled
        self._close(settled)

    def leave_out_closed(self) -> Tensor:
        """Keep the open examples alone as members; their indices."""
        kept = self.open.nonzero()[:, 0]
        for place, example in enumerate(kept.tolist()):  # within the memory that is there
            if place < example:
                self.basis[place] = self.basis[example]
        self.basis = self.basis[: len(kept)]
        for name in (
            "members",
            "rounds",
            "open",
            "locked",
            "new_lock",
            "ranks",
            "locked_ranks",
            "projected",
            "lengths",
        ):
            setattr(self, name, getattr(self, name)[kept])
        members, kept = transferred(self.basis.device, self.members, kept)
        self.start = self.start[kept]
        self.hessenberg = self.hessenberg[kept]
        self.fresh = None if self.fresh is None else self.fresh[kept]
        return members

    def restart(self) -> None:
        """Contract every space to its best Schur vectors: A Wᵀ = Wᵀ S + q bᵀ (Stewart 2001)."""
        m = self.dimension
        # The wanted vectors and half of the rest: what is kept need not be found again, and what is
        # not is room for new columns.
        keep = (self.dimension + self.wanted.count) // 2
        rotation, triangle = self._schur_vectors(keep)
        residual = self.basis[:, m].clone()
        coupling = self.hessenberg[:, m : m + 1] @ rotation
        # In place, as a second basis would not always fit.
        for block in self.basis.split(BLOCK, dim=2):
            block[:, :keep] = torch.bmm(rotation.mT, block[:, :m])
        if self.fresh is not None and bool(self.new_lock.any()):
            locking, rounds = transferred(
                self.basis.device, self.new_lock[:, None].to(self.rounds.dtype), self.rounds
            )
            replacement, _ = unit(
                orthogonalize(self.basis[:, :keep], fresh_vectors(self.fresh, rounds))[0]
            )
            # Converged vectors are invariant to their tolerance: with their coupling dropped and a
            # fresh vector behind them, all that follows lies in their complement.
            residual = torch.where(locking > 0, replacement, residual)
            coupling = torch.where(locking[:, :, None] > 0, 0.0, coupling)
            self.locked |= self.new_lock
            self.locked_ranks = torch.where(self.new_lock[:, None], self.ranks, self.locked_ranks)
            self.rounds += self.new_lock[:, None]
        self.basis[:, keep] = residual
        self.basis[:, keep + 1 :] = 0.0
        self.hessenberg.zero_()
        self.hessenberg[:, :keep, :keep] = triangle
        self.hessenberg[:, keep : keep + 1, :keep] = coupling
        self.first = keep

    def result(self) -> RitzPairs:
        device = self.vectors.device
        (values,) = transferred(device, self.values)
        (conditions,) = transferred(device, self.conditions)
        converged, spent, failed_at = transferred(
            device, self.converged.long(), self.spent, self.failed_at
        )
        return RitzPairs(
            values, self.vectors, converged > 0, spent, failed_at, self.products, conditions
        )

    def _failing(self, columns: Tensor, before: int) -> Tensor:
        """Open examples whose new columns are not finite; `before` products came before."""
        finite = columns.isfinite().all(1)  # (members, steps)
        failing = self.open & ~finite.all(1)
        self.failed_at[self.members] = torch.where(
            failing, before + finite.to(torch.int8).argmin(1), self.failed_at[self.members]
        )
        return failing

    def _close(self, which: Tensor) -> None:
        """Freeze examples: rows of zeros from now on."""
        self.open = self.open & ~which
        if not bool(which.any()):
            return
        # An example of zeros has products of zeros: it costs nothing that is judged.
        self.projected = self.projected.masked_fill(which[:, None, None], 0.0)
        self.lengths = self.lengths.masked_fill(which[:, None], 0.0)
        (closing,) = transferred(self.basis.device, which)
        self.start = self.start.masked_fill(closing[:, None], 0.0)
        self.basis.masked_fill_(closing[:, None, None], 0.0)
        self.hessenberg.masked_fill_(closing[:, None, None], 0.0)

    def _keep(self, which: Tensor, values: Tensor, coefficients: Tensor, size: int) -> None:
        count = values.shape[1]
        chosen = which.nonzero()[:, 0]
        device = self.basis.device
        self.values[self.members[which], :count] = values[which]
        self.conditions[self.members[which], :count] = self._conditions(which, values[which], size)
        rows, chosen = transferred(device, self.members[which], chosen)
        (weights,) = transferred(device, torch.view_as_real(coefficients.mT))
        parts = torch.view_as_real(self.vectors)
        # One part after the other: complex weights would need a complex copy of the basis.
        for i in range(2):
            parts[rows, :count, :, i] = torch.bmm(
                weights[..., i].contiguous(), self.basis[:, :size]
            )[chosen]

    def _conditions(self, which: Tensor, values: Tensor, size: int) -> Tensor:
        """κ of each value, as an eigenvalue of its example's projected matrix."""
        # In the order of LAPACK, so that each kept value is looked up among them.
        every, vectors = decomposed(torch.linalg.eig, self.projected[which, :size, :size])
        nearest = (values[:, :, None] - every[:, None]).abs().nan_to_num(torch.inf).argmin(2)
        return condition_numbers(vectors).gather(1, nearest)

    def _schur_vectors(self, keep: int) -> tuple[Tensor, Tensor]:
        """W and S = Wᵀ H W of the best-ranked subspaces; columns of zeros where one is smaller."""
        m = self.dimension
        # In double: a Schur form in float32 would add its rounding at every restart.
        projected = self.projected[:, :m].double().numpy()
        alive = (self.lengths > 0.5).numpy()
        rotation = np.zeros((len(projected), m, keep))
        triangle = np.zeros((len(projected), keep, keep))
        locking = (
            self.new_lock if self.fresh is not None else torch.zeros_like(self.open)
        ).tolist()
        for example in self.open.nonzero()[:, 0].tolist():
            # Rows of zeros have no part in it: they would be eigenvalues 0.
            rows = alive[example].nonzero()[0]
            # What is locked loses its coupling to the rest, which none but the converged vectors
            # may.
            least = self.wanted.count if locking[example] else keep
            w, s = _leading_schur(
                projected[example][np.ix_(rows, rows)], least, keep, self.wanted.rank
            )
            rotation[example][rows, : w.shape[1]] = w
            triangle[example, : len(s), : len(s)] = s
        small = (torch.as_tensor(part).to(self.basis.dtype) for part in (rotation, triangle))
        there = transferred(self.basis.device, *small)
        return there[0], there[1]


def _leading_schur(
    matrix: np.ndarray, least: int, keep: int, rank: Callable[[Tensor], Tensor]
) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal W spanning the best-ranked invariant subspace, and S = Wᵀ A W, by trsen.

    Its dimension is at most `keep`, and `least` or, where that would cut a pair in two, one more.
    """
    import scipy.linalg  # late: it takes as long as all of odestab

    t, z = scipy.linalg.schur(matrix)
    # A block [[a, b], [c, a]] of LAPACK's has bc < 0 and the values a ± i √|b|√|c|; the product bc
    # itself may overflow.
    corner = np.sqrt(np.abs(np.diag(t, -1))) * np.sqrt(np.abs(np.diag(t, 1)))
    imaginary = np.where(np.diag(t, -1) != 0, corner, 0.0)
    values = np.diag(t) + 1j * (np.append(imaginary, 0.0) + np.append(0.0, -imaginary))
    order = rank(torch.as_tensor(values)).argsort(descending=True, stable=True).tolist()
    # plain numbers: this runs for every example
    signs = np.sign(values.imag).astype(int).tolist()
    chosen = set[int]()
    for i in order:
        block = {i, i + signs[i]}  # a conjugate pair begins with the upper one
        # A pair is taken whole or not at all, as W is real.
        if not block & chosen and len(chosen) < least and len(chosen) + len(block) <= keep:
            chosen |= block
    select = np.isin(np.arange(len(t)), list(chosen)).astype(np.int32)
    s, w, _, _, count, *_ = scipy.linalg.lapack.dtrsen(select, t, z, job="N")
    return w[:, :count], s[:count, :count]
