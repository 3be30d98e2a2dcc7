"""A model beside another, run by run of equal seed and item by item: on AdvGLUE, and under
attack.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.ground.resampling import hierarchical_difference, mean_interval, paired_test, widened

Run = Mapping[str, Any]
TWO_SEEDS = "Student's t over two seeds, or seeds and clusters where that is wider"


def on_advglue(pairs: Sequence[tuple[Run, Run]]) -> dict[str, Any] | None:
    """The difference of two models' accuracies on AdvGLUE's adversarial texts.

    Args:
        pairs: result records of equal seed, the model's and the baseline's.

    Returns:
        `compare` of those that were evaluated on it; None where none were.

    Raises:
        ValueError: if two runs of a pair were evaluated on different files.
    """
    known = [(a, b) for a, b in pairs if all(one["evaluation"].get("advglue") for one in (a, b))]
    for a, b in known:
        one, other = _advglue(a), _advglue(b)
        if differing := sorted(
            a["evaluation"]["advglue"].keys() ^ b["evaluation"]["advglue"].keys()
        ):
            raise ValueError(
                "expected both models to be evaluated on the same "
                f"AdvGLUE tasks, got {differing[0]} of one alone"
            )
        if differing := [name for name in one.keys() & other.keys() if one[name] != other[name]]:
            raise ValueError(
                "expected both models to be evaluated on the same AdvGLUE "
                f"texts, got {min(differing)} {one[min(differing)]} and "
                f"{other[min(differing)]}"
            )
    if not known:
        return None
    evaluated = [(a["evaluation"]["advglue"], b["evaluation"]["advglue"]) for a, b in known]
    return compare(
        [_adversarial(a, b) for a, b in evaluated],
        _originals([one for pair in evaluated for one in pair]),
    )


def under_attacks(pairs: Sequence[tuple[Run, Run]]) -> dict[str, dict[str, Any]]:
    """The difference of two models' robust accuracies under each attack that both have had with the
    same choices on the same examples.

    Args:
        pairs: the attacks' records by name, of equal seed, the model's and the baseline's.

    Returns:
        `compare` by attack.
    """
    found = dict[str, dict[str, Any]]()
    for name in dict.fromkeys(
        name for model, _ in pairs for name in model if "robust_accuracy" in model[name]
    ):
        alike = [
            (a[name], b[name])
            for a, b in pairs
            if name in a and name in b and _same(a[name], b[name])
        ]
        if alike:
            rows = [
                (_bits(a, "after"), _bits(b, "after"), _bits(a, "before") & _bits(b, "before"))
                for a, b in alike
            ]
            clusters = [one.get("cluster", i) for i, one in enumerate(alike[0][0]["per_example"])]
            found[name] = compare(rows, np.array(clusters))
    return found


def compare(
    rows: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], clusters: np.ndarray | None = None
) -> dict[str, Any]:
    """The difference of two models' accuracies on the same items, seed by seed.

    Args:
        rows: for each seed three bool arrays `(N,)`: which adversarial items the model has right,
            which the baseline, and which items both have right before they were changed.
        clusters: `(N,)`, equal for items made from one original; None where that is not known, and
            each item counts alone.

    Returns:
        "both": items that both have right before; "all": every item. "hierarchical" is the interval
        to read: it resamples seeds and clusters, clusters alone of one seed. Of two seeds it is
            Student's over them, as resamples of two see half of their variance, and
        at least what resampling gives, as two seeds may agree by chance. "resampled" says which.
        "seeds" is Student's interval over seeds; "pooled" takes each seed for given.
    """
    first, second, before = (np.stack([one[k] for one in rows]) for k in range(3))
    groups = np.arange(first.shape[1]) if clusters is None else clusters
    found: dict[str, Any] = {}
    for name, kept in (("both", before), ("all", np.ones_like(before))):
        differences = [
            float(a[one].mean() - b[one].mean())
            for a, b, one in zip(first, second, kept, strict=True)
            if one.any()
        ]
        seeds = mean_interval(differences) if differences else None
        pooled = hierarchical = None
        if kept.any():
            pooled = paired_test(
                first[kept], second[kept], np.broadcast_to(groups, kept.shape)[kept]
            )
            hierarchical = hierarchical_difference(first, second, kept, groups)
            if len(rows) == 2 and seeds is not None:
                hierarchical = widened(hierarchical, seeds)
        found[name] = {
            "pairs": kept.sum(axis=1).tolist(),
            "clusters": None if clusters is None else len(np.unique(groups[kept.any(axis=0)])),
            "resampled": {1: "clusters", 2: TWO_SEEDS}.get(len(rows), "seeds and clusters"),
            "pooled": pooled,
            "seeds": seeds,
            "hierarchical": hierarchical,
        }
    return found


def _originals(evaluations: Sequence[Mapping[str, Any]]) -> np.ndarray | None:
    """Which adversarial texts share an original, over AdvGLUE's tasks; None where no record says
    it.
    """
    told = next(
        (one for one in evaluations if all("clusters" in task for task in one.values())), None
    )
    if told is None:
        return None
    parts = [np.unique(task["clusters"], return_inverse=True)[1] for task in told.values()]
    starts = np.cumsum([0, *(len(part) for part in parts)])
    return np.concatenate([start + part for start, part in zip(starts, parts, strict=False)])


def _advglue(run: Run) -> dict[str, Any]:
    """What tells the AdvGLUE texts of a run: the digests of each task; the originals' is not in
    records from before they had one.
    """
    data = run.get("meta", {}).get("data", {})
    return {
        f"{name} {key}": value
        for name, one in data.items()
        if name.startswith("advglue ")
        for key, value in one.items()
    }


def _adversarial(
    a: Mapping[str, Any], b: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Over AdvGLUE's tasks: which adversarial texts either model gets right, and which originals
    both do.
    """

    def right(one: Mapping[str, Any], which: str) -> np.ndarray:
        return np.concatenate(
            [
                np.array([bit == "1" for bit in one[name][f"right_{which}"]], dtype=bool)
                for name in a
            ]
        )

    return (
        right(a, "adversarial"),
        right(b, "adversarial"),
        right(a, "original") & right(b, "original"),
    )


def _same(a: Run, b: Run) -> bool:
    """Whether two records are of one attack on the same examples."""
    return all(a["of"][key] == b["of"][key] for key in ("examples", "choice"))


def _bits(attack: Run, when: str) -> np.ndarray:
    return np.array([one[f"right_{when}"] for one in attack["per_example"]], dtype=bool)
