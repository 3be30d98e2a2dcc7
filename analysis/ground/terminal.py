"""What the commands show in a terminal: lines that fit it, colours, a bar of what is left to do,
and where to look next.

Where output is piped there are no bars, no colours and no control characters.
"""

import os
import re
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TextIO, TypeVar

Item = TypeVar("Item")
PROGRAMS = ("odestab", "imbert")
WIDEST = 80  # columns of every table, and of sentences
COLOURS = {"error": "1;31", "warning": "33", "next": "1"}  # SGR: bold red, yellow, bold
MARKED = re.compile(r"^((?:[\w. -]+: )?)(error|warning|next):")


def width() -> int:
    """Columns for sentences: those of the terminal, at most 80; 80 where there is none and COLUMNS
    does not say otherwise.
    """
    return max(20, min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns))


def wrapped(text: str, hanging: int = 0) -> list[str]:
    """A text in lines that fit; a path or a word that is too long stays whole.

    Args:
        text: without line breaks.
        hanging: blanks before every line but the first.
    """
    return textwrap.wrap(
        text,
        width(),
        subsequent_indent=hanging * " ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is shown to somebody at once."""
    return stream is not None and not stream.closed and stream.isatty()


def has_colours(stream: TextIO | None) -> bool:
    """Whether a stream takes colours: a terminal that knows some, unless NO_COLOR is set
    (no-color.org).
    """
    return (
        is_terminal(stream)
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM", "dumb") != "dumb"
    )


def coloured(line: str, stream: TextIO | None) -> str:
    """A line whose "error:", "warning:" or "next:" has its colour, where the stream takes any."""
    if not has_colours(stream):
        return line
    return MARKED.sub(
        lambda mark: f"{mark[1]}\x1b[{COLOURS[mark[2]]}m{mark[2]}:\x1b[0m", line, count=1
    )


def say(line: str) -> None:
    """One line on stderr, at once; none where there is no stderr, as under a service, where print
    would take stdout.
    """
    if sys.stderr is None:
        return
    shown = coloured(line, sys.stderr)
    bars = sys.modules.get("tqdm")
    if bars is None or not is_terminal(sys.stderr):
        print(shown, file=sys.stderr, flush=True)
        return
    # a bar that is on the screen moves down and lets the line stand above it
    bars.tqdm.write(shown, file=sys.stderr)
    sys.stderr.flush()


def show(lines: str | Iterable[str], hanging: int = 2) -> None:
    """Sentences on stdout, each in lines that fit."""
    for sentence in [lines] if isinstance(lines, str) else lines:
        # nothing to say is no empty line
        if sentence:
            print("\n".join(wrapped(sentence, hanging)))


def show_next(words: str, command: Sequence[object] = ()) -> None:
    """The end of a command's output: what to look at next.

    Args:
        words: what to open or to do.
        command: the program and the arguments that do it, as they are typed. They stand on a line
            of their own that is never broken, so that it can be copied.
    """
    first, *more = wrapped(f"next: {words}", 2)
    print("\n".join([coloured(first, sys.stdout), *more]))
    if command:
        program, *arguments = map(str, command)
        print(f"  {shlex.join([_callable(program), *arguments])}")


def _callable(program: str) -> str:
    """A program of ours as it can be typed here: by the path of the one that runs, where no shell
    would find it by name, as in an environment that is not active.
    """
    folder, running = os.path.split(sys.argv[0])
    beside = os.path.join(folder, program)
    if running not in PROGRAMS or not os.path.isfile(beside):
        return program
    by_name = shutil.which(program)
    # another installation may be found first
    return program if by_name and os.path.samefile(by_name, beside) else beside


def progress(
    items: Iterable[Item],
    total: int,
    unit: str = "cell",
    words: str = "measuring",
    size: Callable[[Item], int] = lambda item: 1,
) -> Iterator[Item]:
    """The items, with a bar on stderr and the time that is left, where stderr is a terminal.

    Args:
        items: what is worked on.
        total: how many units they are together.
        unit: what is counted.
        words: what is done to them.
        size: units of an item.
    """
    from tqdm import tqdm  # late: `--help` shows no bar

    bar: Any
    # without items there is nothing to wait for; None is quiet unless the stream is a terminal
    disable = True if total == 0 else None
    with tqdm(
        desc=words, unit=unit, total=total, file=sys.stderr, disable=disable, dynamic_ncols=True
    ) as bar:
        for item in items:
            yield item
            bar.update(size(item))
