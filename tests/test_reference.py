"""Every public name has a docstring, from which the API reference is built."""

import inspect

import pytest

import imbert
import odestab


@pytest.mark.parametrize("package", [odestab, imbert], ids=lambda package: package.__name__)
def test_every_public_name_says_what_it_is(package) -> None:
    silent = [
        name
        for name in package.__all__
        if not inspect.isdatadescriptor(name) and not inspect.getdoc(getattr(package, name))
    ]
    assert silent == []
