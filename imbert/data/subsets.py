"""Seeded, stratified subsets: fewer rows to learn from, and rows held out."""

import numpy as np

from imbert.data.tasks import Examples

BINS = 10  # quantiles of the score, of a regression
# streams of random numbers, apart for equal seeds
LOW_RESOURCE = 0
HELD_OUT = 1
DEV = 2


def low_resource_subset(examples: Examples, size: int, seed: int) -> Examples:
    """The first `size` examples of a seeded, stratified order: the subset of 500 begins that of
    1,000.

    Args:
        examples: to choose from.
        size: how many.
        seed: of the order.

    Raises:
        ValueError: if there are fewer examples, or the seed is negative.
    """
    if not 1 <= size <= len(examples):
        raise ValueError(
            f"size of a subset must lie in [1, {len(examples)}], "
            f"the rows that there are, got {size}"
        )
    return examples.take(stratified_order(examples, seed, LOW_RESOURCE)[:size])


def held_out(
    examples: Examples, size: int, seed: int, stream: int = HELD_OUT
) -> tuple[Examples, Examples]:
    """The others, in their order, and `size` stratified examples to stop early by.

    Args:
        examples: to choose from.
        size: of the second part.
        seed: of the choice; its random numbers are not those of `low_resource_subset`.
        stream: which of the seed's streams, DEV for rows to measure on.

    Raises:
        ValueError: if one of the parts would be empty, or the seed is negative.
    """
    if not 1 <= size < len(examples):
        raise ValueError(
            "size of the held-out rows must lie in [1, "
            f"{len(examples) - 1}], with {len(examples)} rows, got {size}"
        )
    chosen = stratified_order(examples, seed, stream)[:size]
    return examples.take(np.setdiff1d(np.arange(len(examples)), chosen)), examples.take(chosen)


def stratified_order(examples: Examples, seed: int, stream: int = LOW_RESOURCE) -> np.ndarray:
    """An order each of whose beginnings has the strata's shares: example r of n_c of stratum c
    comes at (r + 1/2)/n_c.

    This is Webster's divisor method of apportionment, which is house-monotone, so that the
    beginnings are nested; with two or three classes it keeps every count within one of its exact
    share (Balinski & Young 1982, Fair Representation, appendix A).

    Args:
        examples: classes are the strata; of a regression the tenths of the score's distribution.
        seed: of the order within a stratum.
        stream: which of the seed's streams.

    Returns:
        Indices `(N,)`.
    """
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    random = np.random.default_rng([seed, stream])
    order = random.permutation(len(examples))
    strata = _strata(examples)[order]
    position = np.empty(len(order))
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
    tie = random.permutation(strata.max(initial=0) + 1)[
        strata
    ]  # which class comes first among equals
    return order[np.lexsort((tie, position))]


def _strata(examples: Examples) -> np.ndarray:
    # classes are their own strata
    if examples.task.labels > 1:
        return examples.labels
    edges = (
        np.unique(np.quantile(examples.labels, np.arange(1, BINS) / BINS))
        if len(examples)
        else np.zeros(0)
    )
    return np.searchsorted(edges, examples.labels, side="right")
