"""What the commands share: a parser, types of arguments, errors of one line and exit codes."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from analysis.ground.interrupts import kept_interrupts
from analysis.ground.labelled_tables import ColumnNames
from analysis.ground.plain_numbers import decimal_number, whole_number

LARGEST = 10**9  # of what is counted: texts, dimensions
WRONG_INPUT = 2  # exit codes
INTERRUPTED = 130
EXPECTED = (ValueError, OSError, MemoryError)  # errors that are told in one line


class Parser(argparse.ArgumentParser):
    """Wrong usage is a ValueError, one line like any other wrong input; options are not
    abbreviated.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see {self.prog} --help)")


def run_command(
    parser: Callable[[], Parser],
    arguments: Sequence[str] | None,
    expected: tuple[type[Exception], ...] = EXPECTED,
) -> int:
    """Parse the arguments and run the command that they name, `options.command(options)`.

    Args:
        parser: makes the parser; its `prog` is the name that lines on stderr begin with.
        arguments: None is those of the process.
        expected: exceptions that are wrong input: one line on stderr.

    Returns:
        The exit code: 0, 2 after wrong input, or 130 after Ctrl-C.
    """
    ready_streams()
    program = parser()
    try:
        with kept_interrupts():
            options = program.parse_args(arguments)
            options.command(options)
    except expected as error:
        say(f"{program.prog}: error: {one_line(error)}")
        return WRONG_INPUT
    except KeyboardInterrupt:
        say(f"{program.prog}: interrupted; the same command continues where it stopped")
        return INTERRUPTED
    return 0


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


def say(line: str) -> None:
    """One line on stderr, at once; none where there is no stderr, as under a service, where print
    would take stdout.
    """
    if sys.stderr is not None:
        print(line, file=sys.stderr, flush=True)


def one_line(error: BaseException) -> str:
    """What an error says, on one line, with the file that it is about."""
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    text = "; ".join([text, *getattr(error, "__notes__", ())])
    return " ".join(text.split())


def column_options(
    parser: argparse.ArgumentParser,
    label: str = "",
    pair: str = "the second texts of pairs",
) -> None:
    """Options that name the columns of a table.

    Args:
        parser: of a command that takes a table.
        label: what the labels are for, or where they come from by default.
        pair: what the second column of texts holds.
    """
    for name, words in (
        ("text", "the texts (default: sentence, text, or GLUE's names)"),
        ("pair", pair),
        ("label", f"the labels (default: label{label})"),
    ):
        parser.add_argument(
            f"--{name}-column", type=a_name, metavar="NAME", help=f"of a table: that holds {words}"
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
