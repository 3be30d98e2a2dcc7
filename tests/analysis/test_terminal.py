"""What the commands show: colours and bars on terminals alone, lines that fit, one exit code for
each way to end.
"""

import errno
import io
import os
import sys
from collections.abc import Callable

import pytest

from analysis import __main__ as odestab
from analysis.ground import terminal
from analysis.ground.commands import FailedWork, Parser, run_command
from imbert import __main__ as imbert


class Terminal(io.StringIO):
    """A stream that is shown to somebody."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Callable[[io.StringIO], io.StringIO]:
    """Puts a stream in the place of stderr, in a terminal that knows colours."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def put(stream: io.StringIO) -> io.StringIO:
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return put


def test_colours_mark_errors_and_warnings_on_a_terminal(stderr) -> None:
    shown = stderr(Terminal())
    for line in ("odestab: error: no", "python -m figures: warning: hm", "scheduler: a warning:"):
        terminal.say(line)
    assert shown.getvalue() == (
        "odestab: \x1b[1;31merror:\x1b[0m no\n"
        "python -m figures: \x1b[33mwarning:\x1b[0m hm\n"
        "scheduler: a warning:\n"
    )


@pytest.mark.parametrize(
    ("stream", "variables"),
    [
        (io.StringIO(), {}),
        (Terminal(), {"NO_COLOR": "1"}),
        (Terminal(), {"NO_COLOR": "0"}),
        (Terminal(), {"TERM": "dumb"}),
    ],
)
def test_colours_are_left_out(stderr, monkeypatch, stream, variables) -> None:
    shown = stderr(stream)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    terminal.say("odestab: error: no")
    assert shown.getvalue() == "odestab: error: no\n"


def test_an_empty_no_color_asks_for_nothing(stderr, monkeypatch) -> None:
    shown = stderr(Terminal())
    monkeypatch.setenv("NO_COLOR", "")
    terminal.say("odestab: error: no")
    assert "\x1b[1;31m" in shown.getvalue()


def test_without_stderr_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    terminal.say("odestab: error: no")
    assert not terminal.is_terminal(None) and not terminal.has_colours(None)


def test_progress_is_quiet_where_it_is_piped(stderr) -> None:
    shown = stderr(io.StringIO())
    assert list(terminal.progress(iter("abc"), 3)) == ["a", "b", "c"]
    assert shown.getvalue() == ""


def test_progress_on_a_terminal_counts_units_and_tells_the_time_left(stderr) -> None:
    shown = stderr(Terminal())
    list(terminal.progress(["ab", "cde"], 5, unit="text", words="reading", size=len))
    assert "reading: 100%" in shown.getvalue() and "5/5 [00:00<00:00" in shown.getvalue()
    assert "\x1b[3" not in shown.getvalue()  # no colour
    shown = stderr(Terminal())
    assert list(terminal.progress([], 0)) == [] and shown.getvalue() == ""


def test_a_line_stands_above_the_bar(stderr) -> None:
    shown = stderr(Terminal())
    for item in terminal.progress(["a", "b"], 2):
        if item == "b":
            terminal.say("a line")
    before, after = shown.getvalue().split("a line\n")
    assert before.endswith("\r") and "measuring" in before and "measuring" in after


def test_lines_fit_and_words_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    path = "/a-folder/" * 12
    for columns, most in (("60", 60), ("80", 80), ("200", 80), ("1", 20)):
        monkeypatch.setenv("COLUMNS", columns)
        lines = terminal.wrapped(f"{30 * 'some words '}{path} rest", 4)
        assert path in "".join(lines) and len(lines) > 4
        assert all(len(line) <= most for line in lines if path not in line)
        assert all(line.startswith("    ") for line in lines[1:])


def test_the_next_command_is_one_line_that_can_be_typed(monkeypatch, capsys) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    terminal.show_next("open the report of what was measured:", ["odestab", "export", "my runs/a"])
    assert capsys.readouterr().out == (
        "next: open the report of what was\n  measured:\n  odestab export 'my runs/a'\n"
    )


def test_the_next_command_is_that_of_an_environment_that_is_not_active(
    tmp_path, monkeypatch, capsys
) -> None:
    beside = tmp_path / "env" / "bin"
    beside.mkdir(parents=True)
    for name in ("odestab", "imbert"):
        (beside / name).touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["env/bin/imbert", "study"])
    monkeypatch.setenv("PATH", "")
    terminal.show_next("look", ["odestab", "export", "run"])
    terminal.show_next("look", ["elsewhere", "run"])
    monkeypatch.setenv("PATH", str(beside))
    terminal.show_next("look", ["odestab", "export", "run"])
    assert [line.strip() for line in capsys.readouterr().out.splitlines()[1::2]] == [
        "env/bin/odestab export run",
        "elsewhere run",
        "odestab export run",
    ]


ENDS = [
    (ValueError("no"), 2),
    (FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "here"), 2),
    (NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), "here"), 2),
    (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "here"), 2),
    (ModuleNotFoundError("No module named 'wandb'"), 2),
    (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "here"), 1),
    (MemoryError("too little"), 1),
    (FloatingPointError("the loss is not finite"), 1),
    (RuntimeError("expected all\ntensors on one device"), 1),
    (FailedWork("2 runs failed"), 1),
    (KeyboardInterrupt(), 130),
]


@pytest.mark.parametrize(("program", "name"), [(odestab, "info"), (imbert, "evaluate")])
@pytest.mark.parametrize(("error", "code"), ENDS, ids=lambda value: type(value).__name__)
def test_both_commands_end_alike(program, name, error, code, monkeypatch, capsys) -> None:
    def command(options) -> None:
        raise error

    command.__name__ = name
    monkeypatch.setattr(program, name, command)
    assert program.main([name, *(["checkpoint"] if program is imbert else [])]) == code
    out, err = capsys.readouterr()
    prog = program._parser().prog
    assert out == "" and err.count("\n") == 1
    assert err.startswith(f"{prog}: {'interrupted' if code == 130 else 'error: '}")


def test_a_reader_that_has_gone_is_no_error(monkeypatch, capsys) -> None:
    def parser() -> Parser:
        made = Parser(prog="made")
        made.set_defaults(command=lambda options: None)
        return made

    class Closed(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    monkeypatch.setattr(sys, "stdout", Closed())
    assert run_command(parser, []) == 1
    assert capsys.readouterr().err == ""
