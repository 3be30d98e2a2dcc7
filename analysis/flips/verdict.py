"""Every score of conditioning against the flips of every attack: what was fixed beforehand, and all
the rest.
"""

import dataclasses
import functools
import operator
from collections.abc import Sequence

import numpy as np

from analysis.conditioning.records import Condition
from analysis.flips.crossfit import calibration
from analysis.flips.depth import fates
from analysis.flips.ranking import Answers, Counts, across_models, count_pairs, scored
from analysis.flips.reading import Attacked, Files
from analysis.flips.records import (
    Flips,
    Model,
    Population,
    Primary,
    Ranking,
    pooled_rankings,
)
from analysis.flips.scores import (
    CONFIDENCE,
    GRADIENT,
    definitions,
    no_draft_flips,
    scores_of,
    together,
)
from analysis.flips.telling import alone_sentence, primary_sentence
from analysis.ground.resampling import cluster_weights
from analysis.ground.versions import versions

RESAMPLES = 2_000
PRIMARY_ATTACKS = ("characters", "words")  # fixed, with the score and the outcome, beforehand
OUTCOME = "AUROC of the score less AUROC of confidence"
ALWAYS_ZERO = " flipped"  # what scores end with that are 0 for inputs that no draft flips
ON = ("odestab", "numpy", "scipy")


def judge(files: Files, seed: int = 0, resamples: int = RESAMPLES) -> Flips:
    """Rank the inputs that attacks flip by every score, predict their flip rates, and follow edits
    through depth.

    Args:
        files: conditions, attacks and edits, as `read_files` matches them.
        seed: of resamples and folds.
        resamples: of sentences.
    """
    names: dict[str, str] = {}
    for condition in files.conditions:
        names |= definitions(condition)
    rankings = []
    for attack, attacked in by_attack(files.attacked).items():
        group = _under_attack(attack, attacked, files.conditions, seed, resamples)
        rankings += group.rankings(list(names))
    pooled = pooled_rankings(rankings)
    compared = sum(len(each.scores) - 1 for each in pooled)  # all but confidence itself
    primaries = [each for each in pooled if each.primary]
    return Flips(
        primary=Primary(
            score=GRADIENT,
            attacks=list(PRIMARY_ATTACKS),
            outcome=OUTCOME,
            population="right",
            sentence=primary_sentence(primaries, PRIMARY_ATTACKS, GRADIENT),
            alone=alone_sentence(rankings, primaries, GRADIENT),
        ),
        explored=compared - len(primaries),
        models=[_model(condition) for condition in files.conditions],
        definitions=names,
        rankings=pooled + [each for each in rankings if each not in pooled],
        fates=fates(files.edits, resamples, seed),
        resamples=resamples,
        seed=seed,
        versions=versions(ON),
    )


def by_attack(attacked: Sequence[Attacked]) -> dict[str, list[Attacked]]:
    """The models under each attack, by a name that no other attack has: with the radius, else a
    number, where attacks of one name differ in their options.
    """
    groups: dict[tuple[str, str], list[Attacked]] = {}
    for each in attacked:
        groups.setdefault((each.attack.attack, each.attack.choice), []).append(each)
    named: dict[str, list[Attacked]] = {}
    for key in sorted(groups, key=lambda key: _rank(key[0])):
        name, members = key[0], groups[key]
        radius = members[0].attack.options.get("radius")
        unique = name
        if sum(other == name for other, _ in groups) > 1:
            unique = f"{name} {radius:g}" if isinstance(radius, int | float) else name
        number = 2
        while unique in named:  # attacks that differ in something else
            unique = f"{name} ({number})"
            number += 1
        named[unique] = sorted(members, key=lambda each: each.model)
    return named


def _rank(attack: str) -> int:
    """The attacks of the primary outcome come first, the others as they were given."""
    known = attack in PRIMARY_ATTACKS
    return PRIMARY_ATTACKS.index(attack) if known else len(PRIMARY_ATTACKS)


def _model(condition: Condition) -> Model:
    return Model(
        name=condition.model,
        weights=condition.identity["weights"] or "",
        examples=condition.examples,
        inputs=len(condition.inputs),
        right=sum(each.right for each in condition.inputs),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _UnderAttack:
    """All models under one attack.

    Attributes:
        name: of the attack.
        models: indices among the conditions.
        answers: by population, those of each model.
        families: of drafts.
        has_primary: the primary outcome was fixed for this attack.
        seed: of folds.
    """

    name: str
    models: list[int]
    answers: dict[Population, list[Answers]]
    families: list[str]
    has_primary: bool
    seed: int

    def rankings(self, scores: Sequence[str]) -> list[Ranking]:
        """Of inputs that models get right, then of those that no draft flips; all models together
        first, then each alone where there are several.
        """
        every = list(range(len(self.models)))
        alone = [[place] for place in every if len(every) > 1]
        found = []
        for population, answers in self.answers.items():
            own = [
                score
                for score in scores
                if population == "right" or not score.endswith(ALWAYS_ZERO)
            ]
            counts = [count_pairs(each, own) for each in answers]
            for places in [every, *alone]:
                found.append(self._ranking(population, places, [counts[p] for p in places]))
        return found

    def _ranking(
        self, population: Population, places: list[int], counts: Sequence[dict[str, Counts]]
    ) -> Ranking:
        answers = [self.answers[population][place] for place in places]
        first_look = population == "right" and len(places) == len(self.models)
        is_primary = first_look and self.has_primary
        return Ranking(
            attack=self.name,
            models=[self.models[place] for place in places],
            population=population,
            primary=is_primary,
            inputs=sum(len(each.flipped) for each in answers),
            flipped=int(sum(each.flipped.sum() for each in answers)),
            scores=[
                scored(name, functools.reduce(operator.add, [each[name] for each in counts]))
                for name in counts[0]
            ],
            across=across_models(answers, GRADIENT) if is_primary and len(places) > 1 else None,
            calibration=calibration(answers, self._fits, self.seed) if first_look else None,
        )

    @property
    def _fits(self) -> dict[str, list[str]]:
        """The scores that each fit of flip rates reads."""
        return {
            "confidence": [CONFIDENCE],
            "gradient": [GRADIENT],
            "together": together(self.families),
        }


def _under_attack(
    name: str,
    attacked: Sequence[Attacked],
    conditions: Sequence[Condition],
    seed: int,
    resamples: int,
) -> _UnderAttack:
    models = [each.model for each in attacked]
    right, unflipped = _answers(attacked, conditions, seed, resamples)
    return _UnderAttack(
        name,
        models,
        {"right": right, "unflipped": unflipped},
        list(dict.fromkeys(family for index in models for family in conditions[index].families)),
        attacked[0].attack.attack in PRIMARY_ATTACKS,
        seed,
    )


def _answers(
    attacked: Sequence[Attacked], conditions: Sequence[Condition], seed: int, resamples: int
) -> tuple[list[Answers], list[Answers]]:
    """What each model gets right under an attack, and those of it that no draft flips; a resample
    draws a sentence with all its models.
    """
    inputs = [conditions[each.model].inputs[: len(each.attack.per_example)] for each in attacked]
    texts = sorted({each.text for rows in inputs for each in rows})
    column = {text: place for place, text in enumerate(texts)}
    weights = cluster_weights(np.arange(len(texts)), resamples, seed)
    right = []
    unflipped = []
    for each, rows in zip(attacked, inputs, strict=True):
        scores = scores_of(conditions[each.model])
        outcomes = each.attack.per_example
        answers = Answers(
            scores={name: values[: len(rows)] for name, values in scores.items()},
            flipped=np.array([not outcome.right_after for outcome in outcomes], dtype=bool),
            sentences=np.array([column[row.text] for row in rows], dtype=int),
            weights=weights,
        )
        is_right = np.array([row.right for row in rows], dtype=bool)
        holds = np.array([no_draft_flips(row) for row in rows], dtype=bool)
        right.append(answers.only(is_right))
        unflipped.append(answers.only(is_right & holds))
    return right, unflipped
