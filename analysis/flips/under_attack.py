"""All models of one task under one attack: their answers, rankings and transfers."""

import dataclasses
import functools
import operator
from collections.abc import Sequence

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
class _Attacked:
    """One model under the attack.

    Attributes:
        every: all rows of the attack.
        right: which of them both records have right.
        unflipped: which of these no draft flips.
        texts: digest of each row's text.
    """

    every: Answers
    right: np.ndarray
    unflipped: np.ndarray
    texts: list[str]

    def of(self, population: Population) -> Answers:
        """The answers of a population."""
        return self.every.only(self.right if population == "right" else self.unflipped)


@dataclasses.dataclass(frozen=True, eq=False)
class UnderAttack:
    """All models of one task under one attack.

    Attributes:
        name: of the attack.
        files: all records.
        models: indices among the conditions, in the order of `attacked`.
        attacked: each model under the attack.
        families: of drafts.
        has_primary: the primary outcome was fixed for this attack.
        seed: of folds.
    """

    name: str
    files: Files
    models: list[int]
    attacked: list[_Attacked]
    families: list[str]
    has_primary: bool
    seed: int

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
            answers = {
                model: each.of(population)
                for model, each in zip(self.models, self.attacked, strict=True)
            }
            counts = {model: count_pairs(each, own) for model, each in answers.items()}
            found += [self._ranking(population, group, answers, counts) for group in groups]
        return found

    def _ranking(
        self,
        population: Population,
        group: Group,
        answers: dict[int, Answers],
        counts: dict[int, dict[str, Counts]],
    ) -> Ranking:
        chosen = [answers[model] for model in group.models]
        own_counts = [counts[model] for model in group.models]
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
            calibration=calibration(chosen, self._fits, self.seed) if first_look else None,
            task=group.task,
            kind=group.kind,
        )

    def transfers(self) -> list[Transfer]:
        """Of each explicit kind to the implicit models of the same seeds."""
        return [
            transfer(
                self.name,
                self.files.arms,
                pairs,
                [self._pair(source, target) for source, target in pairs],
                self.families,
            )
            for pairs in seed_pairs(self.files.arms, self.models).values()
        ]

    def _pair(self, source: int, target: int) -> tuple[Answers, dict[str, np.ndarray]]:
        """What the target gets right, and the source's scores of the same inputs."""
        own = self.attacked[self.models.index(target)]
        condition = self.files.conditions[source]
        texts = [each.text for each in condition.inputs]
        if texts[: len(own.texts)] != own.texts:
            raise ValueError(
                f"expected {condition.model} and {self.files.conditions[target].model} on the same "
                "texts, got other ones"
            )
        scores = scores_of(condition)
        rows = np.flatnonzero(own.right)
        return own.of("right"), {name: values[rows] for name, values in scores.items()}

    @property
    def _fits(self) -> dict[str, list[str]]:
        """The scores that each fit of flip rates reads."""
        return {
            "confidence": [CONFIDENCE],
            "gradient": [GRADIENT],
            "together": together(self.families),
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
    texts = sorted({each.text for rows in inputs for each in rows})
    column = {text: place for place, text in enumerate(texts)}
    weights = cluster_weights(np.arange(len(texts)), resamples, seed)
    found = []
    for each, rows in zip(attacked, inputs, strict=True):
        scores = scores_of(conditions[each.model])
        outcomes = each.attack.per_example
        answers = Answers(
            scores={key: values[: len(rows)] for key, values in scores.items()},
            flipped=np.array([not outcome.right_after for outcome in outcomes], dtype=bool),
            sentences=np.array([column[row.text] for row in rows], dtype=int),
            weights=weights,
        )
        right = np.array([row.right for row in rows], dtype=bool)
        right[list(each.disagreeing)] = False
        holds = np.array([no_draft_flips(row) for row in rows], dtype=bool)
        found.append(_Attacked(answers, right, right & holds, [row.text for row in rows]))
    return UnderAttack(
        name=name,
        files=files,
        models=models,
        attacked=found,
        families=list(
            dict.fromkeys(family for index in models for family in conditions[index].families)
        ),
        has_primary=attacked[0].attack.attack in PRIMARY_ATTACKS,
        seed=seed,
    )
