"""`--help` and `--version` of both commands: whole phrases, 80 columns, examples that parse."""

import argparse
import re
import shlex
from collections.abc import Iterator

import pytest

from analysis import __main__ as odestab
from analysis.ground.commands import Parser, Words
from analysis.ground.versions import versions
from imbert import __main__ as imbert

PROGRAMS = (odestab, imbert)
COMMANDS = [(program, name) for program in PROGRAMS for name in ("", *program.WORDS)]
IDS = [f"{program.__name__.split('.')[0]} {name}" for program, name in COMMANDS]
# beginnings of what is no phrase of its own: "of resamples" says nothing without the option's name
FRAGMENTS = ("of ", "by ", "that ", "for ", "to ", "(")


def parser_of(program: object, name: str) -> Parser:
    """The parser of a program, or of one of its commands."""
    parser = program._parser()
    if not name:
        return parser
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return commands.choices[name]


def options_of(parser: Parser) -> Iterator[argparse.Action]:
    return (
        action for action in parser._actions if not isinstance(action, argparse._SubParsersAction)
    )


def printed(program: object, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit, match=r"^0$"):
        program.main(arguments)
    out, err = capsys.readouterr()
    assert err == ""
    return out


@pytest.mark.parametrize("columns", ["80", "200"])
@pytest.mark.parametrize(("program", "name"), COMMANDS, ids=IDS)
def test_help_fits_80_columns_and_ends_with_examples(
    program, name: str, columns: str, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    lines = printed(program, [*name.split(), "--help"], capsys).splitlines()
    assert max(map(len, lines)) <= 80
    assert not any(line != line.rstrip() for line in lines) and "\x1b" not in "".join(lines)
    examples = lines[lines.index("examples:") + 1 :]
    assert examples and all(re.match(r"  (odestab|imbert) \S", line) for line in examples)


@pytest.mark.parametrize(("program", "name"), COMMANDS, ids=IDS)
def test_every_option_has_a_phrase_of_its_own(program, name: str) -> None:
    for action in options_of(parser_of(program, name)):
        words = action.help
        assert words and len(words.split()) >= 3, action.option_strings
        assert not words.startswith(FRAGMENTS), (action.option_strings, words)
        assert words.count("(default: ") <= 1 and not words.endswith("."), words


@pytest.mark.parametrize(("program", "name"), COMMANDS[1:], ids=IDS[1:])
def test_many_options_stand_in_groups(program, name: str) -> None:
    parser = parser_of(program, name)
    titled = {title for title in parser._groups if title}
    options = [action for action in options_of(parser) if action.option_strings]
    assert len(options) <= 11 or len(titled) >= 2, (len(options), titled)
    # a group of a title is one, wherever its options come from
    titles = [group.title for group in parser._action_groups]
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize("program", PROGRAMS, ids=["odestab", "imbert"])
def test_the_words_of_every_command_are_sentences_and_its_examples_parse(program) -> None:
    for name, words in program.WORDS.items():
        assert isinstance(words, Words) and words.description.endswith(".")
        assert words.description[0].isupper() and not words.summary.endswith(".")
        for line in words.examples:
            typed = shlex.split(line)
            options = program._parser().parse_args(typed[1:])
            assert typed[0] == program._parser().prog and options.command.__name__ == name


@pytest.mark.parametrize("program", PROGRAMS, ids=["odestab", "imbert"])
def test_the_version_is_that_of_the_package(program, capsys) -> None:
    prog = program._parser().prog
    assert printed(program, ["--version"], capsys) == f"{prog} {versions()['odestab']}\n"
