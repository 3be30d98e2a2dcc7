"""Which model is fine-tuned, and where its checkpoint lies.

Knows neither torch nor transformers; odestab is loaded where steps are to be checked.
"""

import re
import types
from collections.abc import Mapping
from pathlib import Path

from analysis.ground.embedded_model import DEFAULT_MODEL as EMBEDDED
from analysis.ground.embedded_model import default_model_folder
from analysis.ground.frozen_record import Choice
from analysis.ground.stepping_families import STEPPING_FAMILIES
from imbert.toml_tables import MOST, Table, in_range, one_of

DEFAULT_LENGTH = 128  # tokens of a text
HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)  # owner/name; older ones have no owner
KINDS = ("bert", "ex-bert", "im-bert")
# the model types whose layers can take steps, and what they are called when they do
FAMILIES: Mapping[str, str] = types.MappingProxyType(
    {plain: f"im{plain}" for plain in STEPPING_FAMILIES}
)
MODEL_OPTIONS = (
    "implicit_layers",
    "method",
    "field",
    "step_size",
    "substeps",
    "learn_step_size",
    "solver",
    "adjoint",
)


class ModelChoice(Choice, frozen=True):
    """Which model is fine-tuned.

    Attributes:
        checkpoint: a folder, found like `data.source`, a hub id, or the embedded default.
        kind: "bert" as transformers has it; "ex-bert", explicit Euler on the outer field; "im-bert"
            with the choices below.
        implicit_layers: layers that take the one-step method; None is all of them.
        method: "implicit_euler" or "explicit_euler"; None is the default of the configuration, as
            it is below.
        field: "increment" or "outer".
        step_size: h.
        substeps: steps of size h/substeps each.
        learn_step_size: whether h is trained.
        solver: name and options of the implicit solver.
        adjoint: name and options of the gradient across the solve.
        dropout: of hidden states and attention probabilities; None keeps the checkpoint's.

    Raises:
        ValueError: if a choice is out of range or means nothing for this kind.
    """

    checkpoint: str = EMBEDDED
    kind: str = "bert"
    implicit_layers: tuple[int, ...] | None = None
    method: str | None = None
    field: str | None = None
    step_size: float | None = None
    substeps: int | None = None
    learn_step_size: bool | None = None
    solver: Table | None = None
    adjoint: Table | None = None
    dropout: float | None = None

    def __post_init__(self) -> None:
        one_of("model.kind", self.kind, KINDS)
        in_range("model.dropout", self.dropout, 0, 1, high_allowed=False)
        fixed = {
            "bert": MODEL_OPTIONS,
            "ex-bert": ("method", "field", "solver", "adjoint"),
            "im-bert": (),
        }[self.kind]
        given = [name for name in fixed if getattr(self, name) is not None]
        if given:
            raise ValueError(
                f"model.{given[0]} means nothing for kind {self.kind!r}: "
                f"expected it to be left out, got {given}"
            )
        self._require_steps()
        in_range("model.substeps", self.substeps, 1, MOST)

    def _require_steps(self) -> None:
        """Raise ValueError unless the steps that are given can be built; what the configuration
        leaves open is not asked for, and nothing is loaded for a model without steps.
        """
        chosen = {name: getattr(self, name) for name in MODEL_OPTIONS}
        given = {name: value for name, value in chosen.items() if value is not None}
        if not given:
            return
        from odestab.steps.declared import require_declared

        try:
            require_declared(given)
        except ValueError as error:
            raise ValueError(f"model.{error}") from None

    def options(self) -> Table:
        """The given options of an IM-BERT configuration; empty for plain BERT."""
        given = {
            name: getattr(self, name) for name in MODEL_OPTIONS if getattr(self, name) is not None
        }
        if self.kind == "ex-bert":
            given |= {"method": "explicit_euler", "field": "outer"}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in given.items()
        }


class NoSuchFolder(ValueError):
    """A checkpoint that can only be a folder is not there."""


def checkpoint_folder(checkpoint: str, data: Path = Path()) -> str:
    """Where a checkpoint is loaded from: the embedded model's folder for its name, a folder, or a
    hub id as it is.

    Args:
        checkpoint: as the run has it.
        data: where relative paths start.

    Raises:
        NoSuchFolder: if it is no folder and cannot be a hub id.
        ValueError: if the embedded model is asked for and not installed as expected, or the folder
            is only where the command runs.
    """
    if checkpoint == EMBEDDED:
        return str(default_model_folder())
    if (data / checkpoint).is_dir():
        return str(data / checkpoint)
    if Path(checkpoint).is_dir():
        raise ValueError(
            "model.checkpoint: expected the folder "
            f"{data / checkpoint}, as relative paths start at {data}, "
            f"got {Path(checkpoint).resolve()} alone"
        )
    # the hub would be asked for a path otherwise, and say what its ids look like
    if not HUB_ID.fullmatch(checkpoint):
        raise NoSuchFolder(
            "model.checkpoint: expected a folder or a hub id like owner/name, "
            f"got {data / checkpoint}: no such folder"
        )
    return checkpoint
