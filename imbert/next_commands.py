"""The commands that the output of a command ends with: they name the rows that it was given."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from imbert.data.hub import is_dataset
from imbert.data.split_files import locate
from imbert.training.own_data import source_of, split_of
from imbert.training.run_config import DataChoice

COLUMNS = ("text_column", "pair_column", "label_column")
MEASURED_ON = ("task", "source", *COLUMNS, "max_length")
# minutes where the default takes hours: it needs no table of words, and no gradient to be checked
CHEAPEST = ("--kind", "characters", "--no-masking")


def attack_command(
    checkpoint: Path, data: Path, beside: Path, given: Mapping[str, object] = MappingProxyType({})
) -> list[object]:
    """The cheapest `imbert attack` of a checkpoint; its records lie beside what was written.

    Args:
        checkpoint: the folder.
        data: where relative paths start.
        beside: the folder in which that of the records stands.
        given: the options that say what it is measured on, by name; None is not given.
    """
    where: list[object] = [] if data == Path() else ["--data", data]
    where += _options({name: given.get(name) for name in MEASURED_ON})
    return ["imbert", "attack", checkpoint, *where, *CHEAPEST, "--out", beside / "attacks"]


def condition_command(checkpoint: Path, choice: DataChoice, data: Path) -> list[object]:
    """`odestab condition` of the rows on which a checkpoint was measured, read as far as there.

    Args:
        checkpoint: the folder.
        choice: what it was measured on.
        data: where relative paths start.

    Raises:
        ValueError: if the source holds no dev rows.
        OSError: if it is not there.
    """
    source = source_of(choice, data)
    file: object = "FILE"
    # a dataset of the hub is no table that the command reads, and of one file that holds the rows
    # of training too the command would read all
    if not is_dataset(source) and not choice.dev_rows:
        split = split_of(choice, "dev")
        file = locate(choice.task, Path(source), split, choice.splits or {}).path
    columns = _options({name: getattr(choice, name) or None for name in COLUMNS})
    most = ["--max-tokens", choice.max_length]
    return ["odestab", "condition", checkpoint, "--data", file, *columns, *most]


def _options(values: Mapping[str, object]) -> list[object]:
    """The choices that are given, as options of the command line."""
    given = {name: value for name, value in values.items() if value is not None}
    return [part for name, value in given.items() for part in (_option(name), value)]


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
