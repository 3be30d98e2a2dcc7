"""Every public name of odestab has an example, and the examples give what they show."""

import doctest
import inspect

import pytest
from docstring_examples import examples, require

import odestab as od


@pytest.mark.parametrize("test", examples("odestab"), ids=lambda test: test.name)
def test_an_example_gives_what_it_shows(test: doctest.DocTest) -> None:
    require(test)


def test_every_public_name_has_an_example() -> None:
    without = [
        name for name in od.__all__ if ">>>" not in (inspect.getdoc(getattr(od, name)) or "")
    ]
    assert without == []


@pytest.mark.parametrize(
    ("example", "fault"),
    [
        (">>> 1 + 1\n3", "Failed example"),
        (">>> 1 / 0", "ZeroDivisionError"),
        (">>> one = 1", "shows no result"),
        (">>> one = 1\n" * 5 + ">>> one\n1", "has 6 lines"),
    ],
)
def test_a_bad_example_is_refused(example: str, fault: str) -> None:
    test = doctest.DocTestParser().get_doctest(example, {}, "bad", od.__file__, 0)
    with pytest.raises(AssertionError, match=fault):
        require(test)
