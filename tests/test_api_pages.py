"""The API pages link every "Mathematics, section n" to a section that exists."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SPEC = importlib.util.spec_from_file_location("build", ROOT / "docs" / "api" / "build.py")
assert SPEC is not None and SPEC.loader is not None
build = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(build)

SOURCES = [
    file
    for package in ("odestab", "analysis", "figures", "imbert")
    for file in (ROOT / package).rglob("*.py")
]
ANY_REFERENCE = re.compile(r"\bMathematics,\s+sections?\s+(\d+)")
ONE_MODULE = "odestab.nonnormality.kreiss"


def test_every_section_that_is_named_exists() -> None:
    named = {
        (file.name, int(number))
        for file in SOURCES
        for number in ANY_REFERENCE.findall(file.read_text(encoding="utf-8"))
    }
    assert len(named) > 10
    assert {(name, number) for name, number in named if number not in build.sections()} == set()


def test_one_reference_names_one_section() -> None:
    """A list of sections, as in "sections 1 and 5", would be linked in part."""
    assert [
        file.name
        for file in SOURCES
        if re.search(r"Mathematics,\s+sections\b", file.read_text(encoding="utf-8"))
    ] == []


@pytest.mark.filterwarnings("ignore::UserWarning:pdoc", "ignore::DeprecationWarning")
def test_a_page_links_to_the_sections(tmp_path: Path) -> None:
    build.build(tmp_path, (ONE_MODULE,))
    page = next(tmp_path.rglob("kreiss.html")).read_text(encoding="utf-8")
    mathematics = (tmp_path / "mathematics.html").read_text(encoding="utf-8")
    targets = re.findall(r'href="mathematics\.html#(section-\d+)"', page)
    assert targets == ["section-4"]
    assert all(f'id="{target}"' in mathematics for target in targets)
    assert "<table>" in mathematics and "lemniscate" in mathematics
