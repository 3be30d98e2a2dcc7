"""A model beside another, run by run of equal seed and item by item: on AdvGLUE, and under
attack.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import convert

from analysis.ground.resampling import (
    Interval,
    PairedTest,
    hierarchical_difference,
    hierarchical_mean,
    mean_interval,
    paired_test,
    widened,
)
from imbert.attack_records import Attack, AttackRecord
from imbert.records import PairScores, Result
from imbert.study.edits_needed import edits_needed
from imbert.study.study_record import Comparison, GradedComparison, ItemComparison, Paired, Spread

Tasks = Mapping[str, PairScores]
# of equal seed, the model's and the baseline's records by name
AttackPairs = Sequence[tuple[Mapping[str, AttackRecord], Mapping[str, AttackRecord]]]
# of one seed: which items the model has right, which the baseline, which both before the change
Rights = tuple[np.ndarray, np.ndarray, np.ndarray]
TWO_SEEDS = "Student's t over two seeds, or seeds and clusters where that is wider"


def on_advglue(pairs: Sequence[tuple[Result, Result]]) -> Comparison | None:
    """The difference of two models' accuracies on AdvGLUE's adversarial texts.

    Args:
        pairs: results of equal seed, the model's and the baseline's.

    Returns:
        `compare` of those that were evaluated on it; None where none were.

    Raises:
        ValueError: if two runs of a pair were evaluated on different files.
    """
    evaluated: list[tuple[Tasks, Tasks]] = []
    for model, baseline in pairs:
        own = model.evaluation.advglue
        other = baseline.evaluation.advglue
        if own and other:
            _require_same_texts(model, baseline)
            evaluated.append((own, other))
    if not evaluated:
        return None
    every = [tasks for pair in evaluated for tasks in pair]
    return compare([_adversarial(own, other) for own, other in evaluated], _originals(every))


def under_attacks(pairs: AttackPairs) -> dict[str, Comparison]:
    """The difference of two models' robust accuracies under each attack that both have had with the
    same choices on the same examples.

    Args:
        pairs: the records by name, of equal seed, the model's and the baseline's.

    Returns:
        `compare` by attack.
    """
    return {
        name: compare([_robust(own, other) for own, other in alike], clusters_of(alike[0][0]))
        for name, alike in _alike(pairs).items()
    }


def edits_under_attacks(pairs: AttackPairs) -> dict[str, GradedComparison]:
    """The difference of the edits that each attack on texts needed, of the examples that both
    models have right before; see `imbert.study.edits_needed`.

    Args:
        pairs: as `under_attacks` takes them. Those whose records do not say how many edits the
            attack may make are left out.

    Returns:
        `compare_graded` by attack.
    """
    comparisons: dict[str, GradedComparison] = {}
    for name, alike in _alike(pairs).items():
        values = []
        kept = []
        for own, other in alike:
            own_edits = edits_needed(own)
            other_edits = edits_needed(other)
            # with other options the attack has another budget
            if own_edits is not None and other_edits is not None and own.options == other.options:
                values.append(own_edits - other_edits)
                kept.append(right_before(own) & right_before(other))
        if values:
            clusters = clusters_of(alike[0][0])
            comparisons[name] = compare_graded(np.stack(values), np.stack(kept), clusters)
    return comparisons


def _alike(pairs: AttackPairs) -> dict[str, list[tuple[Attack, Attack]]]:
    """By attack the pairs of records that both models have, with the same choices on the same
    examples.
    """
    by_name: dict[str, list[tuple[Attack, Attack]]] = {}
    for name in dict.fromkeys(name for model, _ in pairs for name in model):
        for model, baseline in pairs:
            own = model.get(name)
            other = baseline.get(name)
            if isinstance(own, Attack) and isinstance(other, Attack) and is_same(own, other):
                by_name.setdefault(name, []).append((own, other))
    return by_name


def compare(rights: Sequence[Rights], clusters: np.ndarray | None = None) -> Comparison:
    """The difference of two models' accuracies on the same items, seed by seed.

    Args:
        rights: for each seed three bool arrays `(N,)`: which adversarial items the model has right,
            which the baseline, and which items both have right before they were changed.
        clusters: `(N,)`, equal for items made from one original; None where that is not known, and
            each item counts alone.

    Returns:
        Of the items that both have right before, and of every item. "hierarchical" is the interval
        to read: it resamples seeds and clusters, clusters alone of one seed. Of two seeds it is
        Student's over them, as resamples of two see half of their variance, and at least what
        resampling gives, as two seeds may agree by chance. "resampled" says which. "seeds" is
        Student's interval over seeds; "pooled" takes each seed for given.
    """
    model, baseline, before = (np.stack([right[k] for right in rights]) for k in range(3))
    return Comparison(
        both=_items(model, baseline, before, clusters),
        all=_items(model, baseline, np.ones_like(before), clusters),
    )


def compare_graded(
    values: np.ndarray, kept: np.ndarray, clusters: np.ndarray | None = None
) -> GradedComparison:
    """The mean of a difference that each item has, by the rules of `compare`.

    Args:
        values: `(seeds, N)`, of each item under each seed: a difference of two models, or of two
            such differences.
        kept: `(seeds, N)` bool, the items that count.
        clusters: `(N,)`, as `compare` takes them.
    """
    means = [
        float(own[items].mean()) for own, items in zip(values, kept, strict=True) if items.any()
    ]
    seeds = mean_interval(means) if means else None
    hierarchical: Interval | None = None
    if seeds is not None:
        hierarchical = _to_read(hierarchical_mean(values, kept, clusters), seeds)
    return GradedComparison(
        pairs=kept.sum(axis=1).tolist(),
        clusters=_count(clusters, kept),
        resampled=_resampled(len(values)),
        seeds=convert(seeds, Spread | None, from_attributes=True),
        hierarchical=convert(hierarchical, Spread | None, from_attributes=True),
    )


def _items(
    model: np.ndarray, baseline: np.ndarray, kept: np.ndarray, clusters: np.ndarray | None
) -> ItemComparison:
    """The comparison on the cells `(seeds, N)` that are kept."""
    groups = np.arange(model.shape[1]) if clusters is None else clusters
    differences = [
        float(own[items].mean() - other[items].mean())
        for own, other, items in zip(model, baseline, kept, strict=True)
        if items.any()
    ]
    seeds = mean_interval(differences) if differences else None
    pooled: PairedTest | None = None
    hierarchical: Interval | None = None
    if kept.any():
        cells = np.broadcast_to(groups, kept.shape)[kept]
        pooled = paired_test(model[kept], baseline[kept], cells)
        hierarchical = hierarchical_difference(model, baseline, kept, groups)
        if seeds is not None:
            hierarchical = _to_read(hierarchical, seeds)
    return ItemComparison(
        pairs=kept.sum(axis=1).tolist(),
        clusters=_count(clusters, kept),
        resampled=_resampled(len(model)),
        pooled=convert(pooled, Paired | None, from_attributes=True),
        seeds=convert(seeds, Spread | None, from_attributes=True),
        hierarchical=convert(hierarchical, Spread | None, from_attributes=True),
    )


def _to_read(hierarchical: Interval, seeds: Interval) -> Interval:
    """The interval to read, which `_resampled` names."""
    return widened(hierarchical, seeds) if hierarchical.n == 2 else hierarchical


def _count(clusters: np.ndarray | None, kept: np.ndarray) -> int | None:
    """How many clusters the kept cells are of; None where that is not known."""
    return None if clusters is None else len(np.unique(clusters[kept.any(axis=0)]))


def _resampled(seeds: int) -> str:
    return {1: "clusters", 2: TWO_SEEDS}.get(seeds, "seeds and clusters")


def _require_same_texts(model: Result, baseline: Result) -> None:
    """Raise ValueError unless both were evaluated on the same tasks and texts of AdvGLUE; the
    originals' digest is not in records from before they had one.
    """
    own_tasks = model.evaluation.advglue or {}
    other_tasks = baseline.evaluation.advglue or {}
    if alone := sorted(own_tasks.keys() ^ other_tasks.keys()):
        raise ValueError(
            "expected both models to be evaluated on the same "
            f"AdvGLUE tasks, got {alone[0]} of one alone"
        )
    own = _digests(model)
    other = _digests(baseline)
    if differing := [name for name in own.keys() & other.keys() if own[name] != other[name]]:
        name = min(differing)
        raise ValueError(
            "expected both models to be evaluated on the same AdvGLUE "
            f"texts, got {name} {own[name]} and {other[name]}"
        )


def _digests(result: Result) -> dict[str, str | int]:
    """What tells the AdvGLUE texts of a run apart, of each task."""
    entries = {
        f"{name} {key}": getattr(rows, key)
        for name, rows in result.meta.data.items()
        if name.startswith("advglue ")
        for key in rows.__struct_fields__
    }
    return {name: value for name, value in entries.items() if value is not None}


def _originals(evaluations: Sequence[Tasks]) -> np.ndarray | None:
    """Which adversarial texts share an original, over AdvGLUE's tasks; None where no record says
    it.
    """
    for tasks in evaluations:
        clusters = [task.clusters for task in tasks.values() if task.clusters is not None]
        if len(clusters) == len(tasks):
            break
    else:
        return None
    parts = [np.unique(ids, return_inverse=True)[1] for ids in clusters]
    starts = np.cumsum([0, *(len(part) for part in parts)])
    return np.concatenate([start + part for start, part in zip(starts, parts, strict=False)])


def _adversarial(own: Tasks, other: Tasks) -> Rights:
    """Over AdvGLUE's tasks: which adversarial texts either model gets right, and which originals
    both do.
    """
    names = list(own)
    return (
        np.concatenate([bits(own[name].right_adversarial) for name in names]),
        np.concatenate([bits(other[name].right_adversarial) for name in names]),
        np.concatenate(
            [bits(own[name].right_original) & bits(other[name].right_original) for name in names]
        ),
    )


def bits(text: str) -> np.ndarray:
    """The digits of a record, 1 where the model is right, as bool `(N,)`."""
    return np.array([bit == "1" for bit in text], dtype=bool)


def is_same(own: Attack, other: Attack) -> bool:
    """Whether two records are of one attack on the same examples."""
    return (own.of.examples, own.of.choice) == (other.of.examples, other.of.choice)


def right_before(attack: Attack) -> np.ndarray:
    """Which examples the model has right before the attack."""
    return np.array([row.right_before for row in attack.per_example], dtype=bool)


def right_after(attack: Attack) -> np.ndarray:
    """Which examples it still has right under the attack."""
    return np.array([row.right_after for row in attack.per_example], dtype=bool)


def clusters_of(attack: Attack) -> np.ndarray:
    """Of each example the first one with the same texts; older records take each for itself."""
    rows = enumerate(attack.per_example)
    return np.array([i if row.cluster is None else row.cluster for i, row in rows])


def _robust(own: Attack, other: Attack) -> Rights:
    """Which examples each model has right under the attack, and which both have right before."""
    return right_after(own), right_after(other), right_before(own) & right_before(other)
