"""What every attack shares: which examples it may touch, and what is reported of it."""

import abc
import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from msgspec import structs
from torch import Tensor

from imbert.attack_records import AttackStatistics, ExampleOutcome, attack_sums
from imbert.data.label_order import output_order
from imbert.data.tasks import Examples
from imbert.model.classifier import Classifier, frozen
from imbert.records import plain
from imbert.toml_tables import Plain

if TYPE_CHECKING:
    from imbert.attacks.choice import AttackChoice

Texts = tuple[str, ...]
Ball = tuple[str, float]
Options = Mapping[str, Plain]


@dataclasses.dataclass(frozen=True, eq=False)
class SearchEnd:
    """Where the search for one example ended.

    Attributes:
        wrong: whether the model, asked again, is wrong on it.
        queries: evaluations of the model during the search.
        edits: changed words; 0 for a perturbation of embeddings.
        texts: the changed texts; None for a perturbation of embeddings.
        perturbation: of the word embeddings `(tokens, hidden)`; None for changed texts.
        measured: further numbers by their fields in `ExampleOutcome`.
    """

    wrong: bool
    queries: int
    edits: int = 0
    texts: Texts | None = None
    perturbation: Tensor | None = None
    measured: Mapping[str, float] = dataclasses.field(default_factory=dict)


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
    options: Options
    examples: int
    clean_accuracy: float
    robust_accuracy: float
    success_rate: float
    queries: float
    queries_max: int
    changed: list[int]
    per_example: list[ExampleOutcome]
    statistics: AttackStatistics
    texts: tuple[Texts, ...]
    perturbations: tuple[Tensor | None, ...]

    @property
    def ball(self) -> Ball:
        """Norm and relative radius of an attack on word embeddings."""
        return str(self.options["norm"]), self.number("radius")

    def number(self, name: str) -> float:
        """An option that is a number."""
        value = self.options[name]
        assert isinstance(value, int | float)
        return value

    def to_json(self) -> dict[str, Plain]:
        """Plain values without any text, since the licences of the data forbid quoting it; what is
        not finite is null.
        """
        private = ("texts", "perturbations")
        kept = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in private
        }
        return plain(kept)


class AbstractAttack(abc.ABC):
    """An attack on the examples that a classifier gets right; the others are never touched."""

    name: ClassVar[str]  # what the record, the command and a study call it

    @classmethod
    @abc.abstractmethod
    def chosen(cls, choice: "AttackChoice", radius: float, data: Path) -> Self:
        """The attack that a study chooses.

        Args:
            choice: of the study.
            radius: of the ball about word embeddings; an attack on texts does not use it.
            data: where relative paths start.

        Raises:
            ValueError: if an option is out of range or a file malformed.
            OSError: if a file cannot be read.
        """

    @classmethod
    def tables(cls, choice: "AttackChoice") -> Mapping[str, str]:
        """The files that the attack reads, by what they are."""
        return {}

    def options(self) -> Options:
        """Its choices as plain values."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]

    @abc.abstractmethod
    def search(
        self, classifier: Classifier, victims: Examples, seeds: list[tuple[int, int]]
    ) -> tuple[list[SearchEnd], AttackStatistics]:
        """Attack examples that are right.

        Args:
            classifier: its model is in evaluation mode and its parameters take no gradient.
            victims: the examples.
            seeds: of each example's own randomness, so that it does not depend on batch mates.

        Returns:
            The end of each search, and statistics of the whole, whose seconds are set later.
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
        ends: list[SearchEnd] = []
        statistics = AttackStatistics(seconds=0.0)
        # a model that has nothing right cannot be broken
        if attacked:
            with frozen(classifier.model):
                seeds = [(seed, i) for i in attacked]
                ends, statistics = self.search(classifier, examples.take(attacked), seeds)
        statistics = structs.replace(statistics, seconds=time.perf_counter() - began)
        by_index = dict(zip(attacked, ends, strict=True))
        return self._result(examples, by_index, statistics, seed)

    def _result(
        self,
        examples: Examples,
        ends: dict[int, SearchEnd],
        statistics: AttackStatistics,
        seed: int,
    ) -> AttackResult:
        clusters = examples.clusters.tolist()
        rows = [_outcome(i, cluster, ends.get(i)) for i, cluster in enumerate(clusters)]
        perturbations = [ends[i].perturbation if i in ends else None for i in range(len(examples))]
        return AttackResult(
            attack=self.name,
            options={**self.options(), "seed": seed},
            **attack_sums(rows),
            per_example=rows,
            statistics=statistics,
            texts=tuple(_texts(texts, ends.get(i)) for i, texts in enumerate(examples.texts)),
            perturbations=tuple(perturbations),
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


def _outcome(index: int, cluster: int, end: SearchEnd | None) -> ExampleOutcome:
    """The record of an example; one that was wrong before has no search."""
    return ExampleOutcome(
        index=index,
        cluster=cluster,
        right_before=end is not None,
        right_after=end is not None and not end.wrong,
        queries=0 if end is None else end.queries,
        edits=0 if end is None else end.edits,
        **({} if end is None else end.measured),
    )


def _texts(texts: Texts, end: SearchEnd | None) -> Texts:
    return texts if end is None or end.texts is None else end.texts
