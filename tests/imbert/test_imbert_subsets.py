"""Stratified, nested, seeded subsets."""

import numpy as np
import pytest

from imbert.data.subsets import BINS, held_out, low_resource_subset, stratified_order
from imbert.data.tasks import Examples, task


def examples(name: str, labels: np.ndarray) -> Examples:
    what, rows = task(name), range(len(labels))
    return Examples(
        what,
        tuple(tuple(f"{key} {i}" for key in what.keys) for i in rows),
        labels,
        tuple(map(str, rows)),
        "made up",
    )


def skewed(name: str = "sst2", count: int = 997, share: float = 0.3) -> Examples:
    random = np.random.default_rng(5)
    return examples(name, (random.random(count) < share).astype(np.int64))


@pytest.mark.parametrize("seed", [0, 1, 17])
def test_small_subsets_begin_large_ones(seed: int) -> None:
    rows = skewed()
    small, large = low_resource_subset(rows, 100, seed), low_resource_subset(rows, 500, seed)
    assert large.ids[:100] == small.ids
    assert len(set(large.ids)) == 500


@pytest.mark.parametrize("name", ["sst2", "mnli"])
def test_every_beginning_has_the_shares_of_the_source_within_one(name: str) -> None:
    random = np.random.default_rng(2)
    labels = random.choice(
        task(name).labels, size=331, p=np.array([0.7, 0.3] if name == "sst2" else [0.6, 0.3, 0.1])
    )
    order = stratified_order(examples(name, labels), seed=3)
    assert sorted(order.tolist()) == list(range(331))
    sizes = np.arange(1, 332)
    for k in range(task(name).labels):
        counts = np.cumsum(labels[order] == k)
        assert (
            np.abs(counts - sizes * np.mean(labels == k)).max() < 1.0
        )  # Webster's method keeps quota with up to three classes


def test_balanced_classes_stay_balanced() -> None:
    rows = examples("sst2", np.arange(1000) % 2)
    assert np.bincount(low_resource_subset(rows, 500, 0).labels).tolist() == [250, 250]


def test_a_regression_is_stratified_by_tenths() -> None:
    scores = np.random.default_rng(4).random(400) ** 2 * 5
    chosen = low_resource_subset(examples("stsb", scores), 100, 0).labels
    edges = np.quantile(scores, np.arange(1, BINS) / BINS)
    assert (
        np.bincount(np.searchsorted(edges, chosen, side="right"), minlength=BINS).tolist()
        == [10] * BINS
    )
    assert len(low_resource_subset(examples("stsb", np.full(7, 2.0)), 3, 0)) == 3  # one score only


def test_seeds_and_streams_differ_and_global_state_does_not_matter() -> None:
    rows = skewed()
    first = low_resource_subset(rows, 50, 0)
    np.random.default_rng(0).random(9)
    np.random.seed(3)
    assert low_resource_subset(rows, 50, 0).ids == first.ids
    assert low_resource_subset(rows, 50, 1).ids != first.ids
    assert held_out(rows, 50, 0)[1].ids != first.ids


def test_held_out_rows_and_the_others_make_the_whole() -> None:
    rows = skewed(count=200)
    rest, validation = held_out(rows, 40, 0)
    assert (len(rest), len(validation)) == (160, 40)
    assert not set(rest.ids) & set(validation.ids)
    assert [int(one) for one in rest.ids] == sorted(int(one) for one in rest.ids)
    assert abs(validation.labels.sum() - 40 * rows.labels.mean()) < 1.0


def test_every_row_has_the_same_chance() -> None:
    rows, seeds = examples("sst2", np.arange(20) // 15), 2000
    drawn = np.zeros(20)
    for seed in range(seeds):
        drawn[[int(one) for one in low_resource_subset(rows, 8, seed).ids]] += 1
    noise = 4.5 * np.sqrt(0.4 * 0.6 / seeds)  # 4.5 standard deviations, 20 rows
    assert np.abs(drawn / seeds - 0.4).max() < noise  # 6 of 15 and 2 of 5


@pytest.mark.parametrize("size", [0, -1, 11])
def test_impossible_sizes(size: int) -> None:
    rows = examples("sst2", np.arange(10) % 2)
    with pytest.raises(ValueError, match=rf"size of a subset must lie in \[1, 10\].* got {size}"):
        low_resource_subset(rows, size, 0)
    with pytest.raises(ValueError, match=r"size of the held-out rows must lie in \[1, 9\]"):
        held_out(rows, 10 if size == 11 else size, 0)
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        low_resource_subset(rows, 1, -1)
