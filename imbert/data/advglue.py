"""AdvGLUE's dev items beside the benign texts they were made from, and the benchmark's score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.ground.json_records import parse_json
from analysis.ground.table_files import numbered_lines
from imbert.data.read_examples import parse_label, parse_texts
from imbert.data.tasks import TASKS, Examples, Task
from imbert.toml_tables import Table

ADVGLUE_TASKS: Mapping[str, Task] = {
    name: TASKS[name.removesuffix("-mm")]
    for name in ("sst2", "qqp", "mnli", "mnli-mm", "qnli", "rte")
}


@dataclass(frozen=True, eq=False)
class PairedExamples:
    """Adversarial items of a task, those with a benign original apart from those without.

    Attributes:
        adversarial: items that were made from a benign text.
        original: that text of each, same order and labels.
        unpaired: items without an original, the ones that people wrote among them.
        kinds: of each pair, "word" or "sentence", what was changed.
        methods: of each pair, the attack that made it.
        unpaired_kinds: of each unpaired item.
    """

    adversarial: Examples
    original: Examples
    unpaired: Examples
    kinds: tuple[str, ...]
    methods: tuple[str, ...] = ()
    unpaired_kinds: tuple[str, ...] = ()

    @property
    def every(self) -> Examples:
        """All adversarial items, the paired ones first: what the benchmark scores."""
        first = self.adversarial
        second = self.unpaired
        labels = np.concatenate([first.labels, second.labels])
        return Examples(
            first.task, first.texts + second.texts, labels, first.ids + second.ids, first.source
        )


def read_advglue(path: str | Path, task: str) -> PairedExamples:
    """A task's items of AdvGLUE's dev set.

    Args:
        path: JSON: per task a list of items with the GLUE fields, `label`, and where the attack
            changed a field, `original_<field>`; the published dev.json, which has no originals,
            gives unpaired items only.
        task: "sst2", "qqp", "mnli", "mnli-mm", "qnli" or "rte".

    Raises:
        ValueError: if the task is unknown or an item is malformed: the file, the item, what was
            expected and what came.
        OSError: if the file cannot be read.
    """
    if task not in ADVGLUE_TASKS:
        raise ValueError(f"task must be one of AdvGLUE's, {', '.join(ADVGLUE_TASKS)}, got {task!r}")
    kind = ADVGLUE_TASKS[task]
    paired: list[tuple[str, Table]] = []
    unpaired: list[tuple[str, Table]] = []
    for where, item in _items(Path(path), task):
        has_original = any(f"original_{key}" in item for key in kind.keys)
        (paired if has_original else unpaired).append((where, item))
    benign: list[tuple[str, Table]] = [
        (where, {**item, **{key: item.get(f"original_{key}", item.get(key)) for key in kind.keys}})
        for where, item in paired
    ]
    source = f"{path}#{task}"
    return PairedExamples(
        adversarial=_examples(kind, paired, source),
        original=_examples(kind, benign, source),
        unpaired=_examples(kind, unpaired, source),
        kinds=_column(paired, "data_construction"),
        methods=_column(paired, "method"),
        unpaired_kinds=_column(unpaired, "data_construction"),
    )


def _column(items: list[tuple[str, Table]], name: str) -> tuple[str, ...]:
    """An entry of each item, as text."""
    return tuple(str(item.get(name, "unknown")) for _, item in items)


def task_score(name: str, metrics: Mapping[str, float]) -> float:
    """A task's score: the mean of its GLUE metrics, accuracy and F1 for QQP and accuracy for the
    others.

    Raises:
        ValueError: if the task is unknown or one of its metrics is missing.
    """
    if name not in ADVGLUE_TASKS:
        raise ValueError(f"task must be one of AdvGLUE's, {', '.join(ADVGLUE_TASKS)}, got {name!r}")
    wanted = ADVGLUE_TASKS[name].metrics
    missing = [metric for metric in wanted if metric not in metrics]
    if missing:
        raise ValueError(
            f"score of {name} needs {' and '.join(wanted)}, got {', '.join(metrics) or 'none'}"
        )
    return float(np.mean([metrics[metric] for metric in wanted]))


def advglue_score(metrics_by_task: Mapping[str, float | Mapping[str, float]]) -> float:
    """The benchmark's score: the mean over five tasks, of which MNLI is the mean of mnli and
    mnli-mm.

    QQP counts with the mean of accuracy and F1. This is what the benchmark's own `evaluate.py`
    computes (github.com/AI-secure/adversarial-glue), and the leaderboard's arithmetic (Wang et al.
    2021, arXiv:2111.02840): BERT-large's 33.03, 37.91/16.56 (QQP), 28.85/27.05 (MNLI), 39.77 and
    40.46 make 33.7. It is over all adversarial items, with or without an original.

    Args:
        metrics_by_task: of all six, the metrics (`compute_metrics`) or the score they make
            (`task_score`).

    Raises:
        ValueError: if one of the six is missing, another one is there, or a metric is missing.
    """
    if set(metrics_by_task) != set(ADVGLUE_TASKS):
        raise ValueError(
            f"AdvGLUE's score needs exactly {', '.join(ADVGLUE_TASKS)}, "
            f"got {', '.join(metrics_by_task) or 'none'}"
        )
    scores = {
        name: task_score(name, metrics) if isinstance(metrics, Mapping) else float(metrics)
        for name, metrics in metrics_by_task.items()
    }
    mnli = (scores.pop("mnli") + scores.pop("mnli-mm")) / 2
    return float(np.mean([*scores.values(), mnli]))


def _items(path: Path, name: str) -> list[tuple[str, Table]]:
    """The items of a task, each with the words that say where it is."""
    tasks = parse_json("".join(line for _, line in numbered_lines(path)), path)
    if not isinstance(tasks, dict) or not isinstance(tasks.get(name), list):
        have = ", ".join(tasks) if isinstance(tasks, dict) else type(tasks).__name__
        raise ValueError(
            f"{path}: expected an object with a list {name!r}, got {have or 'an empty one'}"
        )
    if not tasks[name]:
        raise ValueError(f"{path}: expected at least one item of {name}, got an empty list")
    items = [(f"{path}: {name} item {index}", item) for index, item in enumerate(tasks[name])]
    for where, item in items:
        if not isinstance(item, dict):
            raise ValueError(f"{where}: expected an object, got {type(item).__name__}")
    return items


def _examples(kind: Task, items: Sequence[tuple[str, Table]], source: str) -> Examples:
    texts = tuple(parse_texts(kind, item, where) for where, item in items)
    labels = np.array(
        [parse_label(kind, item.get("label"), where) for where, item in items], dtype=np.int64
    )
    return Examples(
        kind, texts, labels, tuple(str(item.get("idx", where)) for where, item in items), source
    )
