"""All models of one task under one attack: their answers, rankings and transfers."""

import dataclasses
import functools
import operator
from collections.abc import Iterable, Sequence

import numpy as np

from analysis.flips.arms import Group, groups_of, seed_pairs
from analysis.flips.crossfit import calibration
from analysis.flips.files import Attacked, Files
from analysis.flips.ranking import Answers, Counts, across_models, count_pairs, scored
from analysis.flips.records import Population, Ranking
from analysis.flips.scores import CONFIDENCE, GRADIENT, no_draft_flips, scores_of, together
from analysis.flips.study_records import Transfer
from analysis.flips.transfer import transfer
from analysis.ground.resampling import cluster_weights

PRIMARY_ATTACKS = ("characters", "words")  # fixed, with the score and the outcome, beforehand
ALWAYS_ZERO = " flipped"  # what scores end with that are 0 for inputs that no draft flips


@dataclasses.dataclass(frozen=True, eq=False)
class _Sentences:
    """The sentences that are resampled together: equal ones have equal resamples and folds.

    Attributes:
        column: of each text among the weights.
        weights: `(1 + resamples, sentences)`.
    """

    column: dict[str, int]
    weights: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class _Attacked:
    """One model under the attack.

    Attributes:
        scores: `(rows,)` each.
        flipped: which rows the attack flips.
        right: which of them both records have right.
        unflipped: which of these no draft flips.
        texts: digest of each row's text.
    """

    scores: dict[str, np.ndarray]
    flipped: np.ndarray
    right: np.ndarray
    unflipped: np.ndarray
    texts: list[str]

    def of(self, population: Population, sentences: _Sentences) -> Answers:
        """The answers of a population."""
        columns = np.array([sentences.column[text] for text in self.texts], dtype=int)
        every = Answers(self.scores, self.flipped, columns, sentences.weights)
        return every.only(self.right if population == "right" else self.unflipped)


@dataclasses.dataclass(frozen=True, eq=False)
class UnderAttack:
    """All models of one task under one attack.

    Attributes:
        name: of the attack.
        files: all records.
        models: indices among the conditions, in the order of `attacked`.
        attacked: each model under the attack.
        has_primary: the primary outcome was fixed for this attack.
        seed: of resamples and folds.
        resamples: of sentences.
        resampled: sentences of the groups so far, drawn once for all groups that have the same.
    """

    name: str
    files: Files
    models: list[int]
    attacked: list[_Attacked]
    has_primary: bool
    seed: int
    resamples: int
    resampled: dict[frozenset[str], _Sentences] = dataclasses.field(default_factory=dict)

    def rankings(self, scores: Sequence[str]) -> list[Ranking]:
        """Of inputs that models get right, then of those that no draft flips; all models together
        first, then each kind, then each model where there are several.
        """
        groups = groups_of(self.files.arms, self.models)
        pools = {group.models for group in groups}
        alone = [
            Group(g.task, g.kind, (m,), False) for g in groups if g.is_one_kind for m in g.models
        ]
        groups += [group for group in alone if group.models not in pools]
        populations: tuple[Population, ...] = ("right", "unflipped")
        found = []
        for population in populations:
            own = [
                score
                for score in scores
                if population == "right" or not score.endswith(ALWAYS_ZERO)
            ]
            counted: dict[tuple[frozenset[str], int], dict[str, Counts]] = {}
            found += [self._ranking(population, group, own, counted) for group in groups]
        return found

    def _ranking(
        self,
        population: Population,
        group: Group,
        names: Sequence[str],
        counted: dict[tuple[frozenset[str], int], dict[str, Counts]],
    ) -> Ranking:
        """Over resamples of the group's own sentences: models outside it change no number.

        Args:
            population: of inputs.
            group: the models.
            names: of scores.
            counted: pairs by sentences and model, which are counted once and added here.
        """
        texts = self._texts(group.models)
        sentences = self._resampled(texts)
        chosen = [self._of(model).of(population, sentences) for model in group.models]
        for model, answers in zip(group.models, chosen, strict=True):
            if (texts, model) not in counted:
                counted[texts, model] = count_pairs(answers, names)
        own_counts = [counted[texts, model] for model in group.models]
        first_look = population == "right" and group.is_one_kind
        is_primary = first_look and self.has_primary
        return Ranking(
            attack=self.name,
            models=list(group.models),
            population=population,
            primary=is_primary,
            inputs=sum(len(each.flipped) for each in chosen),
            flipped=int(sum(each.flipped.sum() for each in chosen)),
            scores=[
                scored(name, functools.reduce(operator.add, [each[name] for each in own_counts]))
                for name in own_counts[0]
            ],
            across=across_models(chosen, GRADIENT) if is_primary and len(chosen) > 1 else None,
            calibration=calibration(chosen, self._fits(group), self.seed) if first_look else None,
            task=group.task,
            kind=group.kind,
        )

    def transfers(self) -> list[Transfer]:
        """Of each explicit kind to the implicit models of the same seeds."""
        found = []
        for pairs in seed_pairs(self.files.arms, self.models).values():
            sentences = self._resampled(self._texts(target for _, target in pairs))
            families = self._families(model for pair in pairs for model in pair)
            answers = [self._pair(source, target, sentences) for source, target in pairs]
            found.append(transfer(self.name, self.files.arms, pairs, answers, families))
        return found

    def _pair(
        self, source: int, target: int, sentences: _Sentences
    ) -> tuple[Answers, dict[str, np.ndarray]]:
        """What the target gets right, and the source's scores of the same inputs."""
        own = self._of(target)
        condition = self.files.conditions[source]
        texts = [each.text for each in condition.inputs]
        if texts[: len(own.texts)] != own.texts:
            raise ValueError(
                f"expected {condition.model} and {self.files.conditions[target].model} on the same "
                "texts, got other ones"
            )
        scores = scores_of(condition)
        rows = np.flatnonzero(own.right)
        return own.of("right", sentences), {name: values[rows] for name, values in scores.items()}

    def _of(self, model: int) -> _Attacked:
        return self.attacked[self.models.index(model)]

    def _families(self, models: Iterable[int]) -> list[str]:
        conditions = self.files.conditions
        return list(dict.fromkeys(name for model in models for name in conditions[model].families))

    def _texts(self, models: Iterable[int]) -> frozenset[str]:
        return frozenset(text for model in models for text in self._of(model).texts)

    def _resampled(self, texts: frozenset[str]) -> _Sentences:
        if texts not in self.resampled:
            column = {text: place for place, text in enumerate(sorted(texts))}
            weights = cluster_weights(np.arange(len(column)), self.resamples, self.seed)
            self.resampled[texts] = _Sentences(column, weights)
        return self.resampled[texts]

    def _fits(self, group: Group) -> dict[str, list[str]]:
        """The scores that each fit of flip rates reads: of drafts those that the group has."""
        return {
            "confidence": [CONFIDENCE],
            "gradient": [GRADIENT],
            "together": together(self._families(group.models)),
        }


def under_attack(
    name: str, attacked: Sequence[Attacked], files: Files, seed: int, resamples: int
) -> UnderAttack:
    """The models of one task under one attack.

    Args:
        name: of the attack.
        attacked: the models.
        files: all records.
        seed: of resamples and folds.
        resamples: of sentences; each draws a sentence with all its models.
    """
    conditions = files.conditions
    models = [each.model for each in attacked]
    inputs = [conditions[each.model].inputs[: len(each.attack.per_example)] for each in attacked]
    found = []
    for each, rows in zip(attacked, inputs, strict=True):
        scores = scores_of(conditions[each.model])
        outcomes = each.attack.per_example
        right = np.array([row.right for row in rows], dtype=bool)
        right[list(each.disagreeing)] = False
        holds = np.array([no_draft_flips(row) for row in rows], dtype=bool)
        found.append(
            _Attacked(
                scores={key: values[: len(rows)] for key, values in scores.items()},
                flipped=np.array([not outcome.right_after for outcome in outcomes], dtype=bool),
                right=right,
                unflipped=right & holds,
                texts=[row.text for row in rows],
            )
        )
    return UnderAttack(
        name=name,
        files=files,
        models=models,
        attacked=found,
        has_primary=attacked[0].attack.attack in PRIMARY_ATTACKS,
        seed=seed,
        resamples=resamples,
    )
