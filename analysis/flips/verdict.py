"""Every score of conditioning against the flips of every attack: what was fixed beforehand, and all
the rest.
"""

from collections.abc import Sequence

import numpy as np

from analysis.conditioning.records import Condition
from analysis.flips.crossfit import calibration
from analysis.flips.depth import fates
from analysis.flips.ranking import Answers, count_pairs, scored
from analysis.flips.reading import Attacked, Files
from analysis.flips.records import (
    Flips,
    Model,
    Population,
    Primary,
    Ranking,
    Score,
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
        rankings += _rankings(attack, attacked, files.conditions, list(names), seed, resamples)
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
    # The attacks of the primary outcome come first, the others as they were given.
    for each in sorted(attacked, key=lambda each: each.attack.attack not in PRIMARY_ATTACKS):
        groups.setdefault((each.attack.attack, each.attack.choice), []).append(each)
    named: dict[str, list[Attacked]] = {}
    for (name, _), members in groups.items():
        radius = members[0].attack.options.get("radius")
        unique = name
        if sum(other == name for other, _ in groups) > 1:
            unique = f"{name} {radius:g}" if isinstance(radius, int | float) else name
        number = 2
        while unique in named:  # attacks that differ in something else
            unique = f"{name} ({number})"
            number += 1
        named[unique] = members
    return named


def _model(condition: Condition) -> Model:
    return Model(
        name=condition.model,
        weights=condition.identity["weights"] or "",
        examples=condition.examples,
        inputs=len(condition.inputs),
        right=sum(each.right for each in condition.inputs),
    )


def _rankings(
    name: str,
    attacked: Sequence[Attacked],
    conditions: Sequence[Condition],
    scores: Sequence[str],
    seed: int,
    resamples: int,
) -> list[Ranking]:
    """Of one attack: inputs that models get right, then those that no draft flips; all models
    together first, then each alone where there are several.
    """
    right, unflipped = _answers(attacked, conditions, seed, resamples)
    models = [each.model for each in attacked]
    families = list(dict.fromkeys(f for index in models for f in conditions[index].families))
    fits = {
        "confidence": [CONFIDENCE],
        "gradient": [GRADIENT],
        "together": together(families),
    }
    populations: tuple[tuple[Population, Sequence[Answers]], ...] = (
        ("right", right),
        ("unflipped", unflipped),
    )
    primary = attacked[0].attack.attack in PRIMARY_ATTACKS
    found = []
    for population, answers in populations:
        own = [
            score for score in scores if population == "right" or not score.endswith(ALWAYS_ZERO)
        ]
        counts = [count_pairs(each, own) for each in answers]
        chosen = [list(range(len(models)))]
        chosen += [[place] for place in chosen[0] if len(models) > 1]
        for places in chosen:
            whole = places == chosen[0]
            fitted = None
            if whole and population == "right":
                fitted = calibration(right, fits, seed)
            found.append(
                Ranking(
                    attack=name,
                    models=[models[place] for place in places],
                    population=population,
                    primary=primary and whole and population == "right",
                    inputs=sum(len(answers[place].flipped) for place in places),
                    flipped=int(sum(answers[place].flipped.sum() for place in places)),
                    scores=[_summed(score, counts, places) for score in own],
                    calibration=fitted,
                )
            )
    return found


def _summed(name: str, counts: Sequence[dict], places: Sequence[int]) -> Score:
    total = counts[places[0]][name]
    for place in places[1:]:
        total = total + counts[place][name]
    return scored(name, total)


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
