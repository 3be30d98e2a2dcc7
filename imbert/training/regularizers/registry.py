"""The regularizers by name: the only table of them, which loads none until it is used.

Which kinds `[train.regularizer]` takes, the options of each with their defaults, what a run must
have for them and the table of the documentation follow from it. A new one is a class in a file of
its own, a line here, and the fields of `RegularizerChoice` that it needs.
"""

import dataclasses
import importlib
import types
from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from imbert.toml_tables import Plain

if TYPE_CHECKING:
    from imbert.training.regularizers.regularizer import AbstractRegularizer

NEEDED = UNSET  # the value of an option that has no default


@dataclasses.dataclass(frozen=True)
class RegularizerKind:
    """Where a regularizer stands and what it needs.

    Attributes:
        module: its file in this folder.
        class_name: its class there.
        options: its fields with their defaults; `NEEDED` is none.
        classes: whether it is about classes, so that it means nothing for a regression.
    """

    module: str
    class_name: str
    options: Mapping[str, Plain | UnsetType]
    classes: bool = False

    def load(self) -> "type[AbstractRegularizer]":
        """The class."""
        module = importlib.import_module(f"imbert.training.regularizers.{self.module}")
        loaded: type[AbstractRegularizer] = getattr(module, self.class_name)
        return loaded


REGULARIZERS: Mapping[str, RegularizerKind] = types.MappingProxyType(
    {
        "margin-gradient": RegularizerKind(
            "margin_gradient", "MarginGradient", {"strength": NEEDED}, classes=True
        ),
        "monotone": RegularizerKind(
            "monotone",
            "Monotone",
            {"strength": NEEDED, "bound": 0.0, "layers": None, "edits": "tokens", "max_edits": 1},
        ),
        "consistency": RegularizerKind(
            "consistency",
            "Consistency",
            {"strength": NEEDED, "edits": "characters", "max_edits": 1},
        ),
        "freelb": RegularizerKind(
            "freelb", "FreeLB", {"steps": 3, "step_size": 0.1, "radius": 0.6}
        ),
        "r3f": RegularizerKind(
            "r3f", "R3F", {"strength": 1.0, "noise": "uniform", "scale": 1e-5}, classes=True
        ),
    }
)


def markdown() -> str:
    """The table of the documentation."""
    lines = [
        "| kind | options | passes more: forward, backward | |",
        "|---|---|---|---|",
    ]
    for name, kind in REGULARIZERS.items():
        shown = ", ".join(
            f"`{option}`" if value is NEEDED else f"`{option}` = {_shown(value)}"
            for option, value in kind.options.items()
        )
        loaded = kind.load()
        given = {
            option: 1.0 if value is NEEDED else value for option, value in kind.options.items()
        }
        passes = loaded(**given).passes
        sentence = " ".join((loaded.__doc__ or "").partition("\n\n")[0].split())
        lines.append(
            f"| `{name}` | {shown} | {passes.forward}, {passes.backward} | "
            f"{sentence.replace('|', '∣')} |"
        )
    return "\n".join(lines) + "\n"


def _shown(value: Plain | UnsetType) -> str:
    return "all" if value is None else f"`{value}`"
