"""What the commands share: a parser, types of arguments, errors of one line and exit codes."""

import argparse
import contextlib
import dataclasses
import io
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from analysis.ground.interrupts import kept_interrupts
from analysis.ground.labelled_tables import ColumnNames
from analysis.ground.plain_numbers import decimal_number, whole_number
from analysis.ground.terminal import WIDEST, say
from analysis.ground.versions import versions

Options = argparse._ActionsContainer  # a parser, or a group of its options
LARGEST = 10**9  # of what is counted: texts, dimensions
FAILED = 1  # exit codes
WRONG_INPUT = 2
INTERRUPTED = 130
# what the user can mend by other arguments, other files or another package
OF_INPUT = (
    ValueError,
    ImportError,
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
# work that could not be done: a full disk, no memory, a training that diverges, a lost worker
OF_WORK = (OSError, MemoryError, ArithmeticError, RuntimeError)


class FailedWork(RuntimeError):
    """Some of the work of a command was done, and some failed."""


@dataclasses.dataclass(frozen=True)
class Words:
    """What a command is told of in `--help`.

    Attributes:
        summary: a phrase for the list of commands.
        description: whole sentences.
        examples: command lines that can be typed.
    """

    summary: str
    description: str
    examples: tuple[str, ...]

    def options(self) -> dict[str, Any]:
        """Arguments of `add_parser`."""
        examples = "".join(f"\n  {line}" for line in self.examples)
        return {
            "help": self.summary,
            "description": self.description,
            "epilog": f"examples:{examples}",
        }


class Layout(argparse.HelpFormatter):
    """Help of at most 80 columns, whose examples keep their lines."""

    def __init__(self, prog: str) -> None:
        # two columns less than the terminal, as argparse does
        super().__init__(prog, width=min(shutil.get_terminal_size().columns, WIDEST) - 2)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(
            line if line.startswith("  ") else textwrap.fill(line, width)
            for line in text.splitlines()
        )


class Version(argparse.Action):
    """Prints the version that is installed, which is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """Print it and exit."""
        sys.stdout.write(f"{parser.prog} {versions(('odestab',))['odestab']}\n")
        parser.exit()


class Parser(argparse.ArgumentParser):
    """Wrong usage is a ValueError, one line like any other wrong input; options are not
    abbreviated.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": Layout, **options}, allow_abbrev=False)
        self._groups: dict[str, argparse._ArgumentGroup] = {}

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments."""
        raise ValueError(f"{message} (see {self.prog} --help)")

    def group(self, title: str) -> argparse._ArgumentGroup:
        """The options of one title, which stand together in `--help` wherever they are added."""
        if title not in self._groups:
            self._groups[title] = self.add_argument_group(title)
        return self._groups[title]

    def takes_version(self) -> None:
        """`--version`."""
        self.add_argument(
            "--version", action=Version, nargs=0, help="show the version that is installed and exit"
        )


def run_command(parser: Callable[[], Parser], arguments: Sequence[str] | None) -> int:
    """Parse the arguments and run the command that they name, `options.command(options)`.

    Args:
        parser: makes the parser; its `prog` is the name that lines on stderr begin with.
        arguments: None is those of the process.

    Returns:
        The exit code: 0; 2 after wrong input and 1 after work that failed, which are one line on
        stderr; 130 after Ctrl-C.
    """
    ready_streams()
    program = parser()
    try:
        with kept_interrupts():
            options = program.parse_args(arguments)
            options.command(options)
            sys.stdout.flush()
    except BrokenPipeError:
        return _closed_pipe()
    except OF_INPUT as error:
        say(f"{program.prog}: error: {one_line(error)}")
        return WRONG_INPUT
    except OF_WORK as error:
        say(f"{program.prog}: error: {one_line(error)}")
        return FAILED
    except KeyboardInterrupt:
        say(f"{program.prog}: interrupted; the same command continues where it stopped")
        return INTERRUPTED
    return 0


def _closed_pipe() -> int:
    """The reader of stdout has gone, as `head` does: nothing is left to say."""
    # Python flushes stdout once more at its end, and would complain
    with contextlib.suppress(io.UnsupportedOperation), open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    return FAILED


def ready_streams() -> None:
    """Give stdout and stderr somewhere to write, and a way to show names that the terminal has no
    letters for.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed before the start
            # open for the life of the process
            nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
            setattr(sys, name, nowhere)
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def one_line(error: BaseException) -> str:
    """What an error says, on one line, with the file that it is about."""
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    text = "; ".join([text, *getattr(error, "__notes__", ())])
    return " ".join(text.split())


def column_options(
    options: Options,
    label: str = "",
    pair: str = "the second texts of pairs",
) -> None:
    """Options that name the columns of a table.

    Args:
        options: of a command that takes a table.
        label: what the labels are for, or where they come from by default.
        pair: what the second column of texts holds.
    """
    for name, words in (
        ("text", "the texts (default: sentence, text, or GLUE's names)"),
        ("pair", pair),
        ("label", f"the labels (default: label{label})"),
    ):
        options.add_argument(
            f"--{name}-column", type=a_name, metavar="NAME", help=f"column that holds {words}"
        )


def column_names(options: argparse.Namespace, table: str = "texts") -> ColumnNames:
    """The columns that the options name.

    Args:
        options: of a command with `column_options`.
        table: the option that names the table.

    Raises:
        ValueError: if they do not fit each other, or there is no table.
    """
    names = ColumnNames(options.text_column, options.pair_column, options.label_column)
    if names.given and getattr(options, table) is None:
        raise ValueError(f"columns are named of the table --{table}, which is not given")
    return names


def a_name(text: str) -> str:
    """Anything that is Unicode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"expected UTF-8, got {text!r}") from None
    return text


def a_text(text: str) -> str:
    """A text that is not empty."""
    if not text.strip():
        raise argparse.ArgumentTypeError("expected a text, got an empty one")
    return a_name(text)


def a_path(text: str) -> Path:
    """A path."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected a path, got {text!r}")
    return Path(text)


def a_number(text: str) -> float:
    """A finite number in plain digits."""
    try:
        return decimal_number(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def positive(text: str) -> int:
    """A whole number from 1."""
    if not (text.isascii() and text.isdecimal()) or not text.strip("0"):
        raise argparse.ArgumentTypeError(f"expected a whole number >= 1, got {text[:30]!r}")
    if len(text) > len(str(LARGEST)) or int(text) > LARGEST:
        raise argparse.ArgumentTypeError(f"expected at most {LARGEST}, got {text[:30]}")
    return int(text)


def a_seed(text: str) -> int:
    """A whole number from 0."""
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(
            f"invalid int value: {text!r}, expected a whole number >= 0"
        )
    return whole_number(text)


def a_shard(text: str) -> tuple[int, int]:
    """Rank/ranks."""
    rank, _, ranks = text.partition("/")
    digits = text.isascii() and rank.isdecimal() and ranks.isdecimal()
    if not digits or whole_number(rank) >= whole_number(ranks):
        raise argparse.ArgumentTypeError(f"expected rank/ranks like 0/2, got {text!r}")
    return whole_number(rank), whole_number(ranks)
