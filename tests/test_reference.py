"""The API reference is built from docstrings and has every public name."""

import inspect
from pathlib import Path

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


@pytest.mark.filterwarnings("ignore")
def test_the_reference_has_every_public_name(tmp_path: Path) -> None:
    import pdoc

    pdoc.render.configure(docformat="google")
    pdoc.pdoc("odestab", output_directory=tmp_path)
    page = (tmp_path / "odestab.html").read_text(encoding="utf-8")
    assert [
        name
        for name in odestab.__all__
        if f'id="{name}"' not in page and not inspect.ismodule(getattr(odestab, name))
    ] == []
