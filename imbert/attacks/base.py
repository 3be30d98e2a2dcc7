"""What every attack shares: which examples it may touch, and what is reported of it."""

import abc
import dataclasses
import math
import time
from typing import Any

import numpy as np
from torch import Tensor

from imbert.data.label_order import output_order
from imbert.data.tasks import Examples
from imbert.model.classifier import Classifier, frozen

Texts = tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """What a search found for one example.

    Attributes:
        wrong: whether the model, asked again, is wrong on it.
        queries: evaluations of the model during the search.
        edits: changed words; 0 for a perturbation of embeddings.
        texts: the changed texts; None for a perturbation of embeddings.
        perturbation: of the word embeddings `(tokens, hidden)`; None for changed texts.
        measured: further numbers, for the record.
    """

    wrong: bool
    queries: int
    edits: int = 0
    texts: Texts | None = None
    perturbation: Tensor | None = None
    measured: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class AttackResult:
    """What an attack did to a classifier.

    Attributes:
        attack: its name.
        options: its choices, and the seed.
        examples: how many were given.
        clean_accuracy: share that is right before.
        robust_accuracy: share that is right before and stays right.
        success_rate: share of the right ones that was flipped; NaN where none was right.
        queries: mean evaluations of the model per attacked example, without the first prediction
            and the last check.
        queries_max: the largest count.
        changed: indices of the flipped examples.
        per_example: index, cluster (the first example with the same texts), right_before,
            right_after, queries, edits, and what else the attack measured.
        statistics: of the whole attack, seconds included.
        texts: the texts after the attack, changed where it changed them; never part of the record.
        perturbations: of word embeddings, one per example, None where there is none; never part of
            the record.
    """

    attack: str
    options: dict[str, Any]
    examples: int
    clean_accuracy: float
    robust_accuracy: float
    success_rate: float
    queries: float
    queries_max: int
    changed: list[int]
    per_example: list[dict[str, Any]]
    statistics: dict[str, Any]
    texts: tuple[Texts, ...]
    perturbations: tuple[Tensor | None, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values without any text, since the licences of the data forbid quoting it; what is
        not finite is null.
        """
        kept = {
            one.name: getattr(self, one.name)
            for one in dataclasses.fields(self)
            if one.name not in ("texts", "perturbations")
        }
        return plain(kept)


class AbstractAttack(abc.ABC):
    """An attack on the examples that a classifier gets right; the others are never touched."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """What the record calls it."""

    @abc.abstractmethod
    def options(self) -> dict[str, Any]:
        """Its choices as plain values."""

    @abc.abstractmethod
    def search(
        self, classifier: Classifier, victims: Examples, seeds: list[tuple[int, int]]
    ) -> tuple[list[Found], dict[str, Any]]:
        """Attack examples that are right.

        Args:
            classifier: its model is in evaluation mode and its parameters take no gradient.
            victims: the examples.
            seeds: of each example's own randomness, so that it does not depend on batch mates.

        Returns:
            What was found for each, and statistics of the whole.
        """

    def run(self, classifier: Classifier, examples: Examples, seed: int = 0) -> AttackResult:
        """Attack every example that the classifier gets right.

        Args:
            classifier: what is attacked; it is left as it was.
            examples: of a classification task.
            seed: of everything random in the attack.

        Raises:
            ValueError: for a regression, for no examples, or if task and model differ in their
                labels.
        """
        require_classification(classifier, examples)
        began = time.perf_counter()
        right = classifier.logits(examples.texts).argmax(axis=1) == examples.labels
        attacked = [int(i) for i in np.flatnonzero(right)]
        found: list[Found] = []
        statistics: dict[str, Any] = {}
        if attacked:
            with frozen(classifier.model):
                found, statistics = self.search(
                    classifier, examples.take(attacked), [(seed, i) for i in attacked]
                )
        statistics = statistics | {"seconds": time.perf_counter() - began}
        return self._result(
            examples, right, dict(zip(attacked, found, strict=True)), statistics, seed
        )

    def _result(
        self,
        examples: Examples,
        right: np.ndarray,
        found: dict[int, Found],
        statistics: dict[str, Any],
        seed: int,
    ) -> AttackResult:
        changed = [i for i, one in found.items() if one.wrong]
        queries = [one.queries for one in found.values()]
        return AttackResult(
            attack=self.name,
            options=self.options() | {"seed": seed},
            examples=len(examples),
            clean_accuracy=float(right.mean()),
            robust_accuracy=(len(found) - len(changed)) / len(examples),
            success_rate=len(changed) / len(found) if found else math.nan,
            queries=float(np.mean(queries)) if queries else 0.0,
            queries_max=max(queries, default=0),
            changed=changed,
            per_example=[
                _row(i, cluster, found.get(i))
                for i, cluster in enumerate(examples.clusters.tolist())
            ],
            statistics=statistics,
            texts=tuple(_texts(examples.texts[i], found.get(i)) for i in range(len(examples))),
            perturbations=tuple(
                found[i].perturbation if i in found else None for i in range(len(examples))
            ),
        )


def require_classification(classifier: Classifier, examples: Examples) -> None:
    """Raise ValueError unless task and model are the same kind of classification, and there are
    examples.
    """
    if examples.task.labels < 2:
        raise ValueError(
            f"attacks need a classification task, got the regression {examples.task.name!r}"
        )
    order = output_order(classifier.model.config, examples.task)
    if order != (classifier.outputs or tuple(range(classifier.labels))):
        raise ValueError(
            "the model's outputs must be read in the order of "
            f"{examples.task.name!r}, {order}, got {classifier.outputs}: "
            "load the classifier with task="
        )
    if len(examples) == 0:
        raise ValueError("an attack needs at least 1 example, got none")


def plain(value: Any) -> Any:
    """The value as JSON has it: no tuples, and null for what is not finite."""
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, bool | str | None):
        return value
    if isinstance(value, int | np.integer):
        return int(value)
    return float(value) if math.isfinite(value) else None


def _row(index: int, cluster: int, found: Found | None) -> dict[str, Any]:
    row = {"index": index, "cluster": cluster}
    if found is None:
        return {**row, "right_before": False, "right_after": False, "queries": 0, "edits": 0}
    return {
        **row,
        "right_before": True,
        "right_after": not found.wrong,
        "queries": found.queries,
        "edits": found.edits,
        **found.measured,
    }


def _texts(texts: Texts, found: Found | None) -> Texts:
    return texts if found is None or found.texts is None else found.texts
