"""Every public name of imbert has an example, and the examples give what they show."""

import doctest

import pytest
from docstring_examples import examples, require, shows_a_result

import imbert


@pytest.mark.parametrize("test", examples("imbert"), ids=lambda test: test.name)
def test_an_example_gives_what_it_shows(test: doctest.DocTest) -> None:
    require(test)


def test_every_public_name_has_an_example() -> None:
    assert [name for name in imbert.__all__ if not shows_a_result(getattr(imbert, name))] == []
