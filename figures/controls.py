"""Whether it is the discretisation, the size of the step, or the attacks that explain what implicit
steps do, from the record of a study.
"""

import dataclasses

from msgspec import UNSET

from figures.records import ComparedModel, Plan, Study
from figures.robustness import difference

STEPS = ("field", "step_size", "substeps", "dropout")  # what an explicit model may change
# the last two are in records from before the checks were held against a model that is masked for
# certain
CHECKS = {
    "gain": "a step of the attack gains what its gradient promises",
    "gradients_at_step": "gradients agree with differences at the attacked points, "
    "small ones and those of the attack's own step",
    "square_alone": "random search breaks nothing that attacks with gradients do not",
    "transfer_alone": "perturbations of the explicit baseline break "
    "nothing that the model's own do not",
    "ladder": "larger balls bring the model to chance",
    "residual": "the solver holds at the attacked points",
    "solver_sweep": "solving better makes the model no easier to break",
    "gradient_free": "attacks without gradients do not beat those with them",
    "gradients": "gradients through the solver agree with differences at the attacked points",
}


@dataclasses.dataclass(frozen=True)
class Controls:
    """What refining the steps showed, what other explicit steps change, and the masking checks."""

    refinement: str
    explicit: list[str]
    checks: list[str]


def tell(record: Study, refinement: str) -> Controls:
    """What story.html.j2 shows of the controls.

    Args:
        record: of a study.
        refinement: what refining the steps of the pretrained model showed; empty where it was not
            measured.
    """
    explicit = []
    checks = []
    for group in record.groups:
        for model in group.models:
            if model.role == "explicit" and (paired := difference(model)):
                changed = ", ".join(_changed(model, record.study)) or "training alone"
                explicit.append(f"{model.name}, {group.name} ({changed}): {paired}.")
            if any(one is not None for passed in model.masking.values() for one in passed):
                failures = "; ".join(_failures(model)) or "every check passed"
                checks.append(f"{model.name}, {group.name}: {failures}.")
    return Controls(refinement, explicit, checks)


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


def _failures(model: ComparedModel) -> list[str]:
    """The masking checks that failed for some seed."""
    return [
        f"{CHECKS.get(name, name)}: {sum(one is False for one in passed)} "
        f"of {sum(one is not None for one in passed)} failed"
        for name, passed in model.masking.items()
        if any(one is False for one in passed)
    ]
