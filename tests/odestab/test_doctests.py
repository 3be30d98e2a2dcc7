"""Every public name of odestab has an example, and the examples give what they show."""

import doctest

import pytest
from docstring_examples import examples, require, shows_a_result

import odestab as od


@pytest.mark.parametrize("test", examples("odestab"), ids=lambda test: test.name)
def test_an_example_gives_what_it_shows(test: doctest.DocTest) -> None:
    require(test)


def test_every_public_name_has_an_example() -> None:
    assert [name for name in od.__all__ if not shows_a_result(getattr(od, name))] == []


@pytest.mark.parametrize(
    ("example", "fault"),
    [
        (">>> 1 + 1\n3", "Failed example"),
        (">>> 1 / 0", "ZeroDivisionError"),
        (">>> one = 1\n" * 5 + ">>> one\n1", "has 6 lines"),
    ],
)
def test_a_bad_example_is_refused(example: str, fault: str) -> None:
    test = doctest.DocTestParser().get_doctest(example, {}, "bad", od.__file__, 0)
    with pytest.raises(AssertionError, match=fault):
        require(test)


def test_an_example_without_a_result_does_not_count() -> None:
    def shown() -> None:
        """>>> one = 1"""

    assert not shows_a_result(shown) and not shows_a_result(test_an_example_gives_what_it_shows)
    assert shows_a_result(od.affine)
