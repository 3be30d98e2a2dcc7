"""Micro-batches of tiny models as regularizers see them, and penalties held against differences."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tiny import sentences
from tiny_models import implicit, plain
from torch import Tensor

from imbert.data.tasks import Examples, task
from imbert.model.solver_log import LayerBatch
from imbert.training.batches import Padding, Rows
from imbert.training.regularizers.choice import RegularizerChoice
from imbert.training.regularizers.regularization import Regularization

STEP = 1e-5  # of central differences in float64: their error is of the order of its square
SOLVED = {"name": "FixedPoint", "rtol": 1e-13, "max_iterations": 500}
UNROLLED = {"name": "UnrolledAdjoint"}
EXACT = {"name": "ImplicitAdjoint", "rtol": 1e-12}
# implicit layers that are solved to rounding, so that differences see the solution's derivative
STEPS = {"implicit_layers": [1, 2], "step_size": 0.25, "solver": SOLVED}


def rows_of(folder: Path, count: int = 4) -> Rows:
    """Tokenised sentences, the first one longer than the others."""
    texts, labels = sentences(count)
    texts[0] += " and quite dull"
    examples = Examples(
        task("sst2"),
        tuple((text,) for text in texts),
        np.array(labels),
        tuple(map(str, range(count))),
        "made",
    )
    return Rows(examples, transformers.AutoTokenizer.from_pretrained(folder), 32)


def regularization(folder: Path, kind: str, count: int = 4, **options: Any) -> Regularization:
    """A regularizer over those sentences."""
    choice = RegularizerChoice(kind, **options)
    return Regularization(choice.regularizer(), rows_of(folder, count), seed=5)


def exact_model(folder: Path, kind: str) -> Any:
    """A model of one of two kinds in training, its implicit layers solved to rounding."""
    made = plain(folder) if kind == "bert" else implicit(folder, **STEPS, adjoint=EXACT)
    return made.double().train()


def batch_of(rows: Rows, chosen: list[int]) -> dict[str, Tensor]:
    """Some rows as the trainer hands them over."""
    batch = Padding(rows.tokenizer)([rows[index] for index in chosen])
    del batch["index"]
    return batch


def penalised(
    working: Regularization,
    model: Any,
    chosen: list[int] | None = None,
    step: int = 3,
    backward: Callable[[Tensor], None] = lambda part: part.backward(),
    log_solves: Callable[[list[LayerBatch]], None] = lambda solves: None,
) -> Tensor:
    """The loss of a micro-batch; torch draws the same dropout each time."""
    rows = working.rows
    chosen = list(range(len(rows))) if chosen is None else chosen
    torch.manual_seed(1)
    return working.loss(model, batch_of(rows, chosen), chosen, step, backward, log_solves)


def require_gradient(model: Any, loss: Callable[[], Tensor], rtol: float = 1e-6) -> None:
    """Hold the derivative along a random direction of all parameters against central differences.

    The tolerance is that of the differences: rounding of the loss over twice the step, 1e-11 of it,
    and the third derivative times the step's square, where it is large.
    """
    parameters = list(model.parameters())
    torch.manual_seed(2)
    directions = [torch.randn_like(parameter) for parameter in parameters]
    gradients = torch.autograd.grad(loss(), parameters, allow_unused=True)
    pairs = zip(gradients, directions, strict=True)
    derivative = sum(float((g * d).sum()) for g, d in pairs if g is not None)

    def at(distance: float) -> float:
        with torch.no_grad():
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter.add_(direction, alpha=distance)
        value = float(loss().detach())
        with torch.no_grad():
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter.sub_(direction, alpha=distance)
        return value

    difference = (at(STEP) - at(-STEP)) / (2 * STEP)
    assert abs(derivative - difference) <= rtol * abs(difference), (derivative, difference)


def gradients(model: Any, loss: Tensor) -> dict[str, Tensor]:
    """What a loss leaves in the parameters, beside what is there."""
    loss.backward()
    return {
        name: parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
