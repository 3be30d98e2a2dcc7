"""Every score of conditioning against the flips of every attack: what was fixed beforehand, and all
the rest.
"""

from collections.abc import Sequence

from analysis.conditioning.records import Condition
from analysis.flips.arms import missing_seeds, several_choices, tasks_of
from analysis.flips.depth import fates
from analysis.flips.files import Arm, Attacked, Files, StudyPlan
from analysis.flips.records import (
    Flips,
    Model,
    Primary,
    Ranking,
    pooled_rankings,
)
from analysis.flips.scores import GRADIENT, definitions
from analysis.flips.study_records import UNKNOWN, Joined, Plan, Reading, Unknown
from analysis.flips.telling import alone_sentence, primary_sentence
from analysis.flips.under_attack import PRIMARY_ATTACKS, under_attack
from analysis.ground.question import Outcome, Question
from analysis.ground.versions import versions

RESAMPLES = 2_000
OUTCOME = "AUROC of the score less AUROC of confidence"
PRIMARY = "gradient over confidence"  # the name of the outcome in the question of a plan
TOO_FEW = "Too few sentences flip, or hold, for an interval: no sentence of the plan is selected."
ON = ("odestab", "numpy", "scipy")


def judge(files: Files, seed: int = 0, resamples: int = RESAMPLES) -> Flips:
    """Rank the inputs that attacks flip by every score, predict their flip rates, and follow edits
    through depth.

    Models are judged by task, and within a task by kind: a primary outcome is of one task, kind and
    attack, pooled over seeds.

    Args:
        files: conditions, attacks and edits, as `read_files` matches them.
        seed: of resamples and folds.
        resamples: of sentences.

    Raises:
        ValueError: if the question of the plan is about another outcome.
    """
    for plan in files.plans:
        _require_primary(plan)
    names: dict[str, str] = {}
    for condition in files.conditions:
        names |= definitions(condition)
    rankings = []
    transfers = []
    missing = [*files.missing, *several_choices(files.arms, files.attacked)]
    joined = []
    for attack, attacked in by_attack(files.attacked).items():
        joined += [_joined(attack, each, files.conditions[each.model]) for each in attacked]
        by_model = {each.model: each for each in attacked}
        for models in tasks_of(files.arms, by_model).values():
            of_task = [by_model[model] for model in models]
            group = under_attack(attack, of_task, files, seed, resamples)
            rankings += group.rankings(list(names))
            transfers += group.transfers()
            missing += missing_seeds(attack, files.arms, models)
    pooled = pooled_rankings(rankings)
    compared = sum(len(each.scores) - 1 for each in pooled)  # all but confidence itself
    compared += sum(len(each.compared) for each in transfers)
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
        models=[
            _model(condition, arm)
            for condition, arm in zip(files.conditions, files.arms, strict=True)
        ],
        definitions=names,
        rankings=pooled + [each for each in rankings if each not in pooled],
        fates=fates(files.edits, resamples, seed),
        resamples=resamples,
        seed=seed,
        versions=versions(ON),
        joined=joined,
        missing=missing,
        transfers=transfers,
        plans=[_plan(plan) for plan in files.plans],
        readings=_readings(files, primaries),
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


def _model(condition: Condition, arm: Arm) -> Model:
    return Model(
        name=condition.model,
        weights=condition.identity["weights"] or "",
        examples=condition.examples,
        inputs=len(condition.inputs),
        right=sum(each.right for each in condition.inputs),
        task=arm.task,
        kind=arm.kind,
        seed=arm.seed,
    )


def _joined(name: str, attacked: Attacked, condition: Condition) -> Joined:
    disagreeing = len(attacked.disagreeing)
    return Joined(
        attack=name,
        model=attacked.model,
        rows=len(attacked.attack.per_example) - disagreeing,
        inputs=len(condition.inputs),
        disagreeing=disagreeing,
    )


def _require_primary(plan: StudyPlan) -> None:
    question = plan.question
    if question is not None and question.primary != PRIMARY:
        raise ValueError(
            f"question.primary of the plan must be {PRIMARY!r} where conditions are held against "
            f"attacks, got {question.primary!r}"
        )


def _plan(plan: StudyPlan) -> Plan:
    return Plan(plan.name, plan.plan, [each.before for each in plan.changes], plan.question)


def _readings(files: Files, primaries: Sequence[Ranking]) -> list[Reading]:
    """The sentence for each primary outcome from the plan of its models, by the rule of the plan's
    question.
    """
    return [
        _reading(plan.plan, plan.question, ranking)
        for ranking in primaries
        for plan in files.plans
        if plan.question is not None and plan.covers(files.arms[model] for model in ranking.models)
    ]


def _reading(plan: str, question: Question, ranking: Ranking) -> Reading:
    found = ranking.score(GRADIENT)
    outcome: Outcome | Unknown = UNKNOWN
    # without an interval nothing was compared, which is not that nothing was told apart
    if found.gain.low is not None and found.gain.high is not None:
        outcome = question.outcome(found.gain.low, found.gain.high)
    return Reading(
        plan=plan,
        attack=ranking.attack,
        task=ranking.task,
        kind=ranking.kind,
        inputs=ranking.inputs,
        sentences=found.sentences,
        gain=found.gain,
        outcome=outcome,
        sentence=TOO_FEW if outcome == UNKNOWN else question.reading[outcome],
    )
