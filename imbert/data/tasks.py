"""The nine GLUE tasks, tasks of one's own, and labelled texts of one of them."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from analysis.ground.labelled_tables import class_of as class_among
from analysis.ground.table_files import rows_digest

OWN = "own"  # the name of every task that is not GLUE's
METRICS = ("accuracy", "f1", "matthews", "pearson", "spearman")
SCORE_MAX = 5.0  # STS-B's similarities lie in [0, 5]


@dataclass(frozen=True)
class Task:
    """What a task reads and how it is judged.

    Attributes:
        name: as on the command line.
        keys: the text columns, one or two, under their GLUE names.
        labels: how many classes; 1 is a regression.
        metrics: the first one is the primary.
        label_names: of each class, as the published files and the hub spell them.
        scores: the least and the greatest of a regression.
    """

    name: str
    keys: tuple[str, ...]
    labels: int
    metrics: tuple[str, ...]
    label_names: tuple[str, ...] = ()
    scores: tuple[float, float] = (0.0, SCORE_MAX)

    def __post_init__(self) -> None:
        if len(self.keys) not in (1, 2) or self.labels < 1:
            raise ValueError(
                f"task {self.name!r} must have 1 or 2 text columns and at "
                f"least 1 label, got {self.keys} and {self.labels}"
            )
        unknown = [name for name in self.metrics if name not in METRICS]
        if unknown or not self.metrics:
            raise ValueError(
                f"metrics of task {self.name!r} must be of {', '.join(METRICS)}, got {self.metrics}"
            )


_PAIR = ("sentence1", "sentence2")
_BOTH = ("accuracy", "f1")
_ENTAILED = ("entailment", "not_entailment")
_CATALOGUE = (
    Task("sst2", ("sentence",), 2, ("accuracy",), ("negative", "positive")),
    Task("mrpc", _PAIR, 2, _BOTH, ("not_equivalent", "equivalent")),
    Task("qqp", ("question1", "question2"), 2, _BOTH, ("not_duplicate", "duplicate")),
    Task("stsb", _PAIR, 1, ("pearson", "spearman")),
    Task(
        "mnli",
        ("premise", "hypothesis"),
        3,
        ("accuracy",),
        ("entailment", "neutral", "contradiction"),
    ),
    Task("qnli", ("question", "sentence"), 2, ("accuracy",), _ENTAILED),
    Task("rte", _PAIR, 2, ("accuracy",), _ENTAILED),
    Task("cola", ("sentence",), 2, ("matthews", "accuracy"), ("unacceptable", "acceptable")),
    Task(
        "wnli", _PAIR, 2, ("accuracy",), ("not_entailment", "entailment")
    ),  # the other way round than qnli and rte
)
TASKS: Mapping[str, Task] = MappingProxyType({task.name: task for task in _CATALOGUE})


def task(name: str) -> Task:
    """The task of that name.

    Raises:
        ValueError: if there is none; lists those there are.
    """
    if name not in TASKS:
        raise ValueError(
            f"task must be one of {', '.join(TASKS)}, or {OWN} with columns of your own, "
            f"got {name!r}"
        )
    return TASKS[name]


def own_task(keys: tuple[str, ...], label_names: tuple[str, ...]) -> Task:
    """A task that is not GLUE's.

    Args:
        keys: its text columns, one or two.
        label_names: of its classes; none is a regression on any finite number.
    """
    if not label_names:
        return Task(OWN, keys, 1, ("pearson", "spearman"), scores=(-math.inf, math.inf))
    return Task(OWN, keys, len(label_names), ("accuracy", "matthews"), label_names)


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled texts.

    Attributes:
        task: what they are examples of.
        texts: of each example, one text per column of the task.
        labels: `(N,)`, int64 classes, or float64 scores for a regression.
        ids: of each example, as its file says it.
        source: where they come from, and what was left out.
    """

    task: Task
    texts: tuple[tuple[str, ...], ...]
    labels: np.ndarray
    ids: tuple[str, ...]
    source: str

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels)
        if labels.shape != (len(self.texts),) or len(self.ids) != len(self.texts):
            raise ValueError(
                "texts, labels and ids must be equally many, got "
                f"{len(self.texts)}, {labels.shape} and {len(self.ids)}"
            )
        columns = len(self.task.keys)
        if any(len(texts) != columns for texts in self.texts):
            raise ValueError(
                f"an example of {self.task.name} must have {columns} texts, got "
                f"{next(t for t in self.texts if len(t) != columns)}"
            )
        wrong = [value for value in labels.tolist() if not is_label(self.task, value)]
        if wrong:
            raise ValueError(
                f"labels of {self.task.name} must be {expected_labels(self.task)}, got {wrong[0]}"
            )
        object.__setattr__(
            self, "labels", labels.astype(np.float64 if self.task.labels == 1 else np.int64)
        )

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Iterable[int]) -> "Examples":
        """Those examples, in that order."""
        chosen = [int(index) for index in indices]
        texts = tuple(self.texts[index] for index in chosen)
        ids = tuple(self.ids[index] for index in chosen)
        labels = self.labels[np.array(chosen, dtype=np.int64)]
        return Examples(self.task, texts, labels, ids, self.source)

    @property
    def clusters(self) -> np.ndarray:
        """`(N,)`: for each example the first one with the same texts; what is measured on equal
        texts is no independent evidence.
        """
        first: dict[tuple[str, ...], int] = {}
        return np.array(
            [first.setdefault(texts, i) for i, texts in enumerate(self.texts)], dtype=np.int64
        )

    @property
    def digest(self) -> str:
        """SHA-256 of texts and labels in their order."""
        return rows_digest(self.texts, self.labels.tolist())


def class_of(task: Task, label: object) -> int | None:
    """The class that a label means: by its name, in any case, with spaces or hyphens, or by its
    number in plain digits.
    """
    return class_among(label, task.label_names, task.labels)


def is_label(task: Task, value: float) -> bool:
    """Whether a number is one of the task's classes, or one of its scores."""
    if task.labels > 1:
        return value in range(task.labels)
    least, greatest = task.scores
    return math.isfinite(value) and least <= value <= greatest


def expected_labels(task: Task) -> str:
    """In words, what a label of the task may be."""
    if task.labels == 1:
        least, greatest = task.scores
        bounded = math.isfinite(least) and math.isfinite(greatest)
        return f"a score in [{least:g}, {greatest:g}]" if bounded else "a finite number"
    numbers = ", ".join(map(str, range(task.labels)))
    return (
        f"one of {numbers} ({', '.join(task.label_names)})"
        if task.label_names
        else f"one of {numbers}"
    )
