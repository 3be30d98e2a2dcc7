"""The answer to the question of a study's plan, by the rule that the plan fixed: a difference of
models under an attack, paired by seed and example, or the interaction of a 2 × 2.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import UNSET, UnsetType

from analysis.ground.difference import ROBUST_ACCURACY, Difference
from analysis.ground.question import Outcome, Question
from imbert.attack_records import Attack
from imbert.study.comparison import (
    clusters_of,
    compare_graded,
    is_same,
    right_after,
    right_before,
)
from imbert.study.edits_needed import edits_needed
from imbert.study.missing import Records
from imbert.study.plan import Cell, StudyConfig
from imbert.study.study_record import GradedComparison, MissingSeed, Verdict

NOTHING = "Nothing was compared, so that no sentence of the plan is selected."
Arms = Sequence[tuple[int, Attack]]  # of one seed: with which sign each model counts, its record


def verdict(
    study: StudyConfig,
    by_model: Mapping[str, Mapping[int, Cell]],
    attacks: Mapping[Cell, Records],
) -> Verdict | UnsetType:
    """What the runs of one group say to the question of the plan.

    Args:
        study: the plan.
        by_model: the cells of the group, of each model by seed.
        attacks: the records of each run that has a result.

    Returns:
        From the seeds in which every model of the difference was attacked, with the same choices
        on the same examples; `UNSET` where the question names no difference, or one of its models
        has not run.
    """
    difference = study.difference
    if difference is None or not isinstance(study.question, Question):
        return UNSET
    ran = {
        name: {seed: attacks[cell] for seed, cell in by_model[name].items() if cell in attacks}
        for name in difference.signs
    }
    if not all(ran.values()):
        return UNSET
    paired: dict[int, Arms] = {}
    missing: list[MissingSeed] = []
    planned = [seed for seed, cell in by_model[difference.model].items() if study.is_attacked(cell)]
    for seed in planned:
        records = {name: by_seed.get(seed) for name, by_seed in ran.items()}
        arms = _arms(difference, records, next(iter(paired.values()), None))
        if isinstance(arms, str):
            missing.append(MissingSeed(seed, arms))
        else:
            paired[seed] = arms
    return _read(study.question, difference.measure, paired, missing)


def _arms(
    difference: Difference, records: Mapping[str, Records | None], first: Arms | None
) -> Arms | str:
    """The records of one seed; else why they cannot be compared, with each other or with the first
    seed's.
    """
    arms: list[tuple[int, Attack]] = []
    for name, sign in difference.signs.items():
        of_model = records[name]
        if of_model is None:
            return f"{name} has not run"
        record = of_model.get(difference.attack)
        if not isinstance(record, Attack):
            return f"{name} has no attack {difference.attack}"
        _, reference = (first or arms or [(sign, record)])[0]
        if not is_same(record, reference):
            return f"the attack on {name} is of other examples or choices"
        if difference.measure != ROBUST_ACCURACY and edits_needed(record) is None:
            return f"the record of {name} does not say how many edits the attack may make"
        # with other options the attack has another budget of edits
        if difference.measure != ROBUST_ACCURACY and record.options != reference.options:
            return f"the attack on {name} has other options"
        arms.append((sign, record))
    return arms


def _read(
    question: Question, measure: str, paired: Mapping[int, Arms], missing: list[MissingSeed]
) -> Verdict:
    """The verdict on the seeds that are paired."""
    compared = _compared(measure, paired) if paired else None
    interval = None if compared is None else compared.hierarchical
    low = None if interval is None else interval.low
    high = None if interval is None else interval.high
    outcome = None if low is None or high is None else question.outcome(low, high)
    sentence = NOTHING if outcome is None else question.reading[outcome]
    caution = _caution(question, outcome, compared)
    return Verdict(
        outcome=outcome or "unknown",
        sentence=f"{_preliminary(paired, missing)}{sentence}{caution}",
        preliminary=bool(missing),
        value=None if interval is None else interval.mean,
        low=low,
        high=high,
        over_seeds=None if compared is None else compared.seeds,
        seeds=list(paired),
        pairs=[] if compared is None else compared.pairs,
        clusters=None if compared is None else compared.clusters,
        resampled="nothing" if compared is None else compared.resampled,
        missing=missing,
    )


def _compared(measure: str, paired: Mapping[int, Arms]) -> GradedComparison:
    """The difference of every example under every seed, where all models have it right before."""
    values = [
        sum(sign * _measured(measure, record) for sign, record in arms) for arms in paired.values()
    ]
    kept = [
        np.logical_and.reduce([right_before(record) for _, record in arms])
        for arms in paired.values()
    ]
    _, first = next(iter(paired.values()))[0]
    return compare_graded(np.stack(values), np.stack(kept), clusters_of(first))


def _measured(measure: str, record: Attack) -> np.ndarray:
    """The outcome of each example."""
    if measure == ROBUST_ACCURACY:
        return right_after(record).astype(np.int64)
    edits = edits_needed(record)
    assert edits is not None  # such a seed is missing
    return edits


def _caution(question: Question, outcome: Outcome | None, compared: GradedComparison | None) -> str:
    """What stands behind the sentence where seeds do not bear it alone: resamples of few seeds see
    too little of what these differ by, those of one see nothing of it.
    """
    if outcome is None or compared is None or compared.seeds is None:
        return ""
    over_seeds = compared.seeds
    low = over_seeds.low
    high = over_seeds.high
    if over_seeds.n == 1 or low is None or high is None:
        return " (Of one seed: what others would say is not known.)"
    if outcome == "between" or question.outcome(low, high) == outcome:
        return ""
    return f" (Student's interval over the {over_seeds.n} seeds alone does not show it.)"


def _preliminary(paired: Mapping[int, Arms], missing: list[MissingSeed]) -> str:
    """What stands before the sentence of a study that is not complete."""
    if not missing:
        return ""
    used = ", ".join(map(str, paired)) or "none"
    planned = len(paired) + len(missing)
    return f"Preliminary, the study is not complete (pairs of seeds {used}, of {planned} planned): "
