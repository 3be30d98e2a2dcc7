"""Whether it is the discretisation, the size of the step, or the attacks that explain what implicit
steps do, from the record of a study.
"""

import dataclasses

from msgspec import UNSET

from figures import style
from figures.records import ComparedModel, Difference, Plan, Question, Study
from figures.robustness import difference

STEPS = ("field", "step_size", "substeps", "dropout")  # what an explicit model may change
CHECKS = {  # that imbert makes now
    "gain": "a step of the attack gains what its gradient promises",
    "gradients_at_step": "gradients agree with differences at the attacked points, "
    "small ones and those of the attack's own step",
    "square_alone": "random search breaks nothing that attacks with gradients do not",
    "transfer_alone": "perturbations of the explicit baseline break "
    "nothing that the model's own do not",
    "ladder": "larger balls bring the model to chance",
    "residual": "the solver holds at the attacked points",
    "solver_sweep": "solving better makes the model no easier to break",
}
# in records from before the checks were held against a model that is masked for certain
OLD_CHECKS = {
    "gradient_free": "attacks without gradients do not beat those with them",
    "gradients": "gradients through the solver agree with differences at the attacked points",
}


@dataclasses.dataclass(frozen=True)
class Controls:
    """What refining the steps showed, what other explicit steps change, the masking checks, and
    what those of an old kind were.
    """

    refinement: str
    explicit: list[str]
    checks: list[str]
    old_checks: str


def tell(record: Study, refinement: str) -> Controls:
    """What story.html.j2 shows of the controls.

    Args:
        record: of a study.
        refinement: what refining the steps of the pretrained model showed; empty where it was not
            measured.
    """
    asked_about = _asked_about(record.study)
    explicit = []
    checks = []
    applied: list[str] = []
    for group in record.groups:
        for model in group.models:
            is_control = model.role == "explicit" and model.name != asked_about
            if is_control and (paired := difference(model)):
                changed = ", ".join(_changed(model, record.study)) or "training alone"
                explicit.append(f"{model.name}, {group.name} ({changed}): {paired}.")
            checks.append(f"{model.name}, {group.name}: {_checked(model)}.")
            applied += _applied(model)
    old = [OLD_CHECKS.get(name, name) for name in dict.fromkeys(applied) if name not in CHECKS]
    return Controls(
        refinement,
        explicit or [_no_control(record)],
        checks if applied else [],
        "; ".join(old),
    )


def _asked_about(plan: Plan) -> str | None:
    """The model of the primary outcome, which is no control of itself."""
    difference = plan.question.difference if isinstance(plan.question, Question) else None
    return difference.model if isinstance(difference, Difference) else None


def _no_control(record: Study) -> str:
    """What is said where no explicit model was compared, but for the one that is asked about."""
    explicit = {
        model.name: model
        for group in record.groups
        for model in group.models
        if model.role == "explicit"
    }
    compared = f"has been compared with the baseline, {record.baseline},"
    if record.baseline not in explicit:
        return f"No explicit model {compared} yet."
    asked_about = _asked_about(record.study)
    beside = f", beside {asked_about} of the question," if asked_about in explicit else ""
    changed = ", ".join(_changed(explicit[record.baseline], record.study))
    steps = f" ({changed})" if changed else ""
    return f"No other explicit model{beside} {compared} which is itself explicit{steps}."


def _changed(model: ComparedModel, plan: Plan) -> list[str]:
    """What the plan of an explicit model changes of its steps."""
    planned = plan.models[model.name]
    settings = {name: getattr(planned, name) for name in STEPS}
    if model.kind == "ex-bert" and settings["field"] is UNSET:
        settings["field"] = "outer"  # by definition of this model, whose plan need not say so
    return [
        f"{name.replace('_', ' ')} {setting}"
        for name, setting in settings.items()
        if setting is not UNSET
    ]


def _applied(model: ComparedModel) -> list[str]:
    """The masking checks that applied to some seed."""
    return [
        name for name, passed in model.masking.items() if any(one is not None for one in passed)
    ]


def _checked(model: ComparedModel) -> str:
    """How many seeds were checked, what failed, and how much of it is of an old kind."""
    applied = _applied(model)
    checked = max((len(model.masking[name]) for name in applied), default=0)
    seeds = f"{checked} of {style.counted(len(model.seeds), 'seed')}"
    if not applied:
        return seeds
    outcome = "; ".join(_failures(model)) or "every check passed"
    old = sum(name not in CHECKS for name in applied)
    if not old:
        return f"{seeds}, {outcome}"
    return (
        f"{seeds}, {outcome}; {old} of {style.counted(len(applied), 'kind')} of check "
        f"{'is' if old == 1 else 'are'} old and too weak to rule masking out"
    )


def _failures(model: ComparedModel) -> list[str]:
    """The masking checks that failed for some seed."""
    return [
        f"{(CHECKS | OLD_CHECKS).get(name, name)}: {sum(one is False for one in passed)} "
        f"of {sum(one is not None for one in passed)} failed"
        for name, passed in model.masking.items()
        if any(one is False for one in passed)
    ]
