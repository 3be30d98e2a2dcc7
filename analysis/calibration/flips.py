"""Do edits that flip the model's answer grow more than edits that do not?"""

import dataclasses

import numpy as np

from analysis.confirmation.rank import percentiles

RESAMPLES = 10_000


@dataclasses.dataclass(frozen=True)
class Flips:
    """Growth through all steps of pairs whose edit flips the answer, and of those where it holds.

    Attributes:
        flipped: how many flip.
        held: how many do not.
        difference: mean log growth of the flipped minus that of the held, nats.
        low: end of its 95 % interval over resamples of the pairs.
        high: likewise.
        p_value: share of relabellings with a difference at least as large in modulus.
        size_flipped: median size of the edit, ‖δ_0‖/‖x_0‖: larger edits flip more, whatever grows.
        size_held: likewise.
    """

    flipped: int
    held: int
    difference: float
    low: float
    high: float
    p_value: float
    size_flipped: float
    size_held: float


def flips(flipped: np.ndarray, held: np.ndarray, sizes: tuple[np.ndarray, np.ndarray], seed: int) -> Flips | None:
    """Compare log growth through all steps; None where a group has fewer than two pairs that were solved.

    Args:
        flipped: `(pairs,)`, nats.
        held: likewise.
        sizes: of the edits of both.
        seed: of resamples and permutations.
    """
    a, b = flipped[np.isfinite(flipped)], held[np.isfinite(held)]
    if min(len(a), len(b)) < 2:
        return None
    random = np.random.default_rng([seed, len(a), len(b)])
    difference = a.mean() - b.mean()
    resampled = random.choice(a, (RESAMPLES, len(a))).mean(1) - random.choice(b, (RESAMPLES, len(b))).mean(1)
    shuffled = random.permuted(np.tile(np.concatenate([a, b]), (RESAMPLES, 1)), axis=1)
    chance = np.abs(shuffled[:, : len(a)].mean(1) - shuffled[:, len(a) :].mean(1))
    p_value = (1 + (chance >= abs(difference) - 1e-12).sum()) / (1 + RESAMPLES)
    medians = (float(np.median(one)) for one in sizes)
    return Flips(len(a), len(b), float(difference), *percentiles(resampled), float(p_value), *medians)
