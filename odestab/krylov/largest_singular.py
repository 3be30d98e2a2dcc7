"""The largest singular triplets by Golub–Kahan, searched again until a search finds nothing better:
one Krylov space has one vector of a multiple singular value.
"""

import dataclasses

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from odestab.krylov.golub_kahan import GolubKahanFactorization, golub_kahan
from odestab.krylov.orthogonalization import Matvec, fresh_vectors, norm, orthogonalize, unit
from odestab.krylov.ritz import Ritz, bidiagonal_ritz, first_failure, grow_until

LOOSE = 0.3  # of a gap: a value that need only be told from the wanted ones
BETTER = 2  # tolerances by which a wanted value must gain to count as one that was missing before
LEAST_FRESH = 1e4  # eps: a fresh vector that is shorter outside of the locked ones is not new


@dataclasses.dataclass(frozen=True, eq=False)
class LargestTriplets:
    """A v = σ u with the largest σ over the Krylov spaces of all searches, per example.

    Attributes:
        values: σ, largest first; NaN where the operator is not finite.
        right: v, unit.
        left: u, unit.
        settled: the last search found nothing better and told the next value from the wanted ones;
            True where one vector is wanted, which needs no second search.
        steps: how many products with A (and as many with Aᵀ) all searches took.
        failed_at: the step that first gave numbers that are not finite; −1 where none did.
    """

    values: Float[Tensor, "batch k"]
    right: Float[Tensor, "batch k n"]
    left: Float[Tensor, "batch k n"]
    settled: Bool[Tensor, " batch"]
    steps: int
    failed_at: Int[Tensor, " batch"]


@dataclasses.dataclass(frozen=True, eq=False)
class SingularSearch:
    """What a search looks for.

    Attributes:
        count: k.
        rtol: tolerance on the residual estimates relative to σ_1.
        schedule: dimensions of the first space, of each growth, and of the largest space.
        seen: if given, the first search goes on until the residual estimate of the value after the
            wanted ones is at most this, relative to σ_1.
    """

    count: int
    rtol: float
    schedule: tuple[int, int, int]
    seen: float | None = None

    @property
    def with_next(self) -> int:
        """How many values tell the wanted ones from the next, where there is a next."""
        return min(self.count + 1, self.schedule[2])

    def first(self, ritz: Ritz) -> Tensor:
        """What the estimates of the first search must not exceed."""
        limits = torch.full_like(ritz.values, self.rtol)
        if self.seen is not None:
            limits[:, self.count :] = max(self.seen, self.rtol)
        return limits * ritz.values[:, :1]

    def again(self, ritz: Ritz) -> Tensor:
        """The same of a later search, which need only tell the next value from the wanted ones."""
        limits = (self.rtol * ritz.values[:, :1]).expand_as(ritz.values).clone()
        gap = ritz.values[:, self.count - 1 : self.count] - ritz.values[:, self.count :]
        limits[:, self.count :] = torch.maximum(limits[:, self.count :], LOOSE * gap)
        return limits


def largest_singular_triplets(
    matvec: Matvec,
    rmatvec: Matvec,
    start: Float[Tensor, "batch n"],
    wanted: SingularSearch,
    confirm: Float[Tensor, "batch n"] | None = None,
) -> LargestTriplets:
    """The k largest singular triplets of each example.

    With `confirm` the triplets that a search found are locked: their vectors begin the bases of the
    next one, which goes on from a fresh vector. Where it finds something better, that is locked in
    turn. After k searches as many copies of every value are known as can be wanted, so that the
    next one must find nothing: an example of which that is not so is not settled. An example that
    is settled goes along as zeros and keeps its triplets, whatever its batch mates need.

    Args:
        matvec: A, on `(batch, n)`.
        rmatvec: Aᵀ.
        start: start vectors.
        wanted: how many, and how accurately.
        confirm: fresh random vectors; None searches once, and settles nothing but k = 1.
    """
    # The value after the wanted ones is looked at only where its estimate has a limit.
    first = wanted.count if wanted.seen is None else wanted.with_next
    factorization, ritz = grow_until(
        lambda previous, steps: golub_kahan(matvec, rmatvec, start, steps, previous),
        lambda space: bidiagonal_ritz(space, first),
        wanted.first,
        wanted.schedule,
    )
    best = _triplets(factorization, ritz, wanted.count)
    failed_at = first_failure(factorization.projected.mT)
    steps = factorization.steps
    # One vector is right whatever copies its value has; of what is not finite none is right.
    settled = torch.full_like(failed_at, wanted.count == 1, dtype=torch.bool) | (failed_at >= 0)
    going = ~settled
    for search in range(1, wanted.count + 1):
        if confirm is None or not bool(going.any()):
            break
        best, better, next_seen, spent = _search_again(
            matvec, rmatvec, fresh_vectors(confirm, search), wanted, best, going
        )
        settled = settled | (going & next_seen & ~better)
        going = going & better  # a search that could not tell would not be told apart by another
        steps += spent
    return LargestTriplets(*best, settled, steps, failed_at)


Triplets = tuple[Tensor, Tensor, Tensor]  # σ, v and u


def _triplets(space: GolubKahanFactorization, ritz: Ritz, count: int) -> Triplets:
    """The wanted values, and their vectors from their coefficients in both bases."""
    right = torch.bmm(ritz.right[:, :, :count].mT, space.right[:, :-1])
    left = torch.bmm(ritz.left[:, :, :count].mT, space.left)
    return ritz.values[:, :count], right, left


def _search_again(
    matvec: Matvec,
    rmatvec: Matvec,
    fresh: Tensor,
    wanted: SingularSearch,
    best: Triplets,
    going: Tensor,
) -> tuple[Triplets, Tensor, Tensor, int]:
    """One more search, in the complement of the best triplets of some examples: the best after it,
    where it found something better, where it told the next value from the wanted ones, its steps.
    """
    values, right, left = (torch.where(_beside(going, part), part, 0.0) for part in best)
    fresh = torch.where(going[:, None], fresh, 0.0)
    floor = LEAST_FRESH * torch.finfo(fresh.dtype).eps * norm(fresh)
    # Where the locked vectors span the space, what is left of a fresh one is rounding.
    begin, _ = unit(orthogonalize(right, fresh)[0], floor)
    first, stride, largest = wanted.schedule
    if largest <= wanted.count:  # no room: all is known only where the locked ones span the space
        return best, torch.zeros_like(going), (begin == 0).all(1), 0
    locked = GolubKahanFactorization(
        torch.cat([right, begin[:, None]], 1),
        left,
        torch.nn.functional.pad(torch.diag_embed(values), (0, 1)),
    )
    space, ritz = grow_until(
        lambda previous, steps: golub_kahan(
            # The first growth is counted from nothing, and the locked vectors are there already.
            *(matvec, rmatvec, fresh),
            steps if previous else steps - wanted.count,
            previous or locked,
        ),
        lambda factorization: bidiagonal_ritz(factorization, wanted.with_next),
        wanted.again,
        (max(first, wanted.count + 1), stride, largest),
    )
    after = _triplets(space, ritz, wanted.count)
    next_seen = ~(ritz.estimates > wanted.again(ritz)).any(1)
    gain = (after[0] - values).amax(1)
    better = going & (gain > BETTER * wanted.rtol * after[0][:, 0])
    # Where the search gained nothing the triplets stay as they were, to the last digit.
    values, right, left = (
        torch.where(_beside(better, new), new, old) for new, old in zip(after, best, strict=True)
    )
    return (values, right, left), better, next_seen, space.steps - wanted.count


def _beside(examples: Tensor, part: Tensor) -> Tensor:
    """A choice of examples with as many axes as what is chosen from."""
    return examples.view(-1, *(1 for _ in part.shape[1:]))
