"""Which regularizer a run trains with: the table `[train.regularizer]`.

Knows neither torch nor transformers.
"""

import math
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, UnsetType, structs

from analysis.ground.frozen_record import Choice
from imbert.toml_tables import MOST, in_range, one_of
from imbert.training.regularizers.registry import NEEDED, REGULARIZERS

if TYPE_CHECKING:
    from imbert.training.regularizers.regularizer import AbstractRegularizer

TABLE = "train.regularizer"
NO_REGULARIZER = "none"  # a kind without options: a run without one
EDITS = ("tokens", "characters")
NOISES = ("uniform", "normal")
MOST_STEPS = 100  # far more ascent steps than anybody takes


class RegularizerChoice(Choice, frozen=True):
    """What is added to the loss; each kind has some of these options, and defaults of its own.

    Attributes:
        kind: by the names of the registry; "none" is none of them, as if there were no table.
        strength: λ, what the penalty is multiplied by.
        bound: c, which one-sided ratios should stay below.
        layers: whose ratios are penalised; None is all.
        edits: "tokens" are replaced by others of the training texts, or "characters" of words are
            edited.
        max_edits: words of a text that are edited, fewer where there are fewer.
        steps: K, ascent steps.
        step_size: of an ascent step, in the norm of word embeddings.
        radius: of the ball that they stay in, per text, in the norm of word embeddings.
        noise: on word embeddings, "uniform" in ±scale or "normal".
        scale: of the noise.

    Raises:
        ValueError: if there is no such kind, an option means nothing for it, is missing or out of
            range.

    >>> RegularizerChoice("r3f").scale
    1e-05
    """

    kind: str = ""
    strength: float | UnsetType = UNSET
    bound: float | UnsetType = UNSET
    layers: tuple[int, ...] | UnsetType | None = UNSET
    edits: str | UnsetType = UNSET
    max_edits: int | UnsetType = UNSET
    steps: int | UnsetType = UNSET
    step_size: float | UnsetType = UNSET
    radius: float | UnsetType = UNSET
    noise: str | UnsetType = UNSET
    scale: float | UnsetType = UNSET

    def __post_init__(self) -> None:
        layers: Any = self.layers
        if isinstance(layers, list):
            # as TOML's lists become, so that equal choices are equal
            structs.force_setattr(self, "layers", tuple(layers))
        one_of(f"{TABLE}.kind", self.kind, (*REGULARIZERS, NO_REGULARIZER))
        options = REGULARIZERS[self.kind].options if self.kind != NO_REGULARIZER else {}
        for name in self.__struct_fields__[1:]:
            given = getattr(self, name)
            if name not in options and given is not UNSET:
                raise ValueError(
                    f"{TABLE}.{name} means nothing for kind {self.kind!r}: expected options among "
                    f"{', '.join(options) or 'none'}, got {given!r}"
                )
            if name in options and given is UNSET:
                if options[name] is NEEDED:
                    raise ValueError(
                        f"{TABLE}.{name} must be given for kind {self.kind!r}, got none"
                    )
                # a record says what was used, whatever later defaults are
                structs.force_setattr(self, name, options[name])
        self._require_ranges()

    def _require_ranges(self) -> None:
        for name in ("strength", "radius", "scale"):
            in_range(f"{TABLE}.{name}", self._number(name), 0)
        in_range(f"{TABLE}.bound", self._number("bound"), -math.inf)
        in_range(f"{TABLE}.max_edits", self._number("max_edits"), 1, MOST)
        in_range(f"{TABLE}.steps", self._number("steps"), 1, MOST_STEPS)
        in_range(f"{TABLE}.step_size", self._number("step_size"), 0, low_allowed=False)
        if self.edits is not UNSET:
            one_of(f"{TABLE}.edits", self.edits, EDITS)
        if self.noise is not UNSET:
            one_of(f"{TABLE}.noise", self.noise, NOISES)
        if isinstance(self.layers, tuple):
            layers = list(self.layers)
            if not layers or min(layers) < 0 or len(set(layers)) < len(layers):
                raise ValueError(
                    f"{TABLE}.layers must be different indices >= 0, at least one, got {layers}"
                )

    def _number(self, name: str) -> float | None:
        """The option; None where the kind has none."""
        value = getattr(self, name)
        return None if value is UNSET else value

    def require_setting(self, precision: str) -> None:
        """Raise ValueError unless the precision is one that its differences can be told in."""
        if precision != "float32":
            raise ValueError(
                "train.precision must be 'float32' with a regularizer, which differentiates "
                f"differences of nearly equal states, got {precision!r}"
            )

    def require_task(self, is_regression: bool) -> None:
        """Raise ValueError unless it means something for the task."""
        if is_regression and REGULARIZERS[self.kind].classes:
            raise ValueError(
                f"{TABLE}.kind = {self.kind!r} needs a task with classes, got a regression"
            )

    def regularizer(self) -> "AbstractRegularizer":
        """The regularizer of these choices."""
        kind = REGULARIZERS[self.kind]
        return kind.load()(**{name: getattr(self, name) for name in kind.options})
