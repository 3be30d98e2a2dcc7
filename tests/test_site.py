"""The documentation site: its navigation, the links of its pages, the formulas, what it may fetch.

`make docs` builds all of it with warnings as errors; these are the parts that need no builder.
"""

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import analysis
import figures
import imbert
import odestab

ROOT = Path(__file__).parent.parent


def part(name: str) -> ModuleType:
    """A file of docs/site."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "site" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


repository = part("repository")
reference = part("reference")
formulas = part("formulas")
check = part("check")

SOURCES = [
    file
    for package in ("odestab", "analysis", "figures", "imbert")
    for file in (ROOT / package).rglob("*.py")
]
ANY_REFERENCE = re.compile(r"\bMathematics,\s+sections?\s+(\d+)")


class Settings(yaml.SafeLoader):
    """Reads mkdocs.yml, without what it asks Python for."""


Settings.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def settings() -> dict[str, Any]:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    read = yaml.load(text, Loader=Settings)
    assert isinstance(read, dict)
    return read


def places(entry: Any) -> list[str]:
    """The pages of a part of the navigation."""
    if isinstance(entry, str):
        return [entry]
    entries = entry.values() if isinstance(entry, dict) else entry
    return [place for inner in entries for place in places(inner)]


def test_the_navigation_lists_every_page_once() -> None:
    listed = places(settings()["nav"])
    written = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert len(listed) == len(set(listed))
    assert set(listed) == written | set(repository.ROOT_PAGES.values()) | set(reference.pages())


def test_a_warning_is_an_error_and_nothing_is_fetched() -> None:
    read = settings()
    assert read["strict"] is True
    assert read["theme"]["font"] is False
    assert all(level == "warn" for kind in read["validation"].values() for level in kind.values())


def test_every_public_name_has_an_entry() -> None:
    text = "\n".join(reference.pages().values())
    entries = re.findall(r"^::: (\S+)$", text, re.MULTILINE)
    packages = {"odestab": odestab, "imbert": imbert, "analysis": analysis, "figures": figures}
    public = [f"{name}.{public}" for name, module in packages.items() for public in module.__all__]
    assert sorted(entries) == sorted(public)


@pytest.mark.parametrize(
    ("path", "link", "of_site"),
    [
        ("README.md", "docs/theory.md#through-depth", "theory.md#through-depth"),
        ("README.md", "docs/studies/placement", "studies/placement/README.md"),
        ("docs/glossary.md", "../odestab/solver/auto.py", "source/odestab/solver/auto.py.md"),
        ("docs/glossary.md", "../odestab/krylov/", "source/odestab/krylov/index.md"),
        ("docs/how-to/edits.md", "../../README.md#install", "../index.md#install"),
        ("docs/how-to/edits.md", "../mathematics.md", "../mathematics.md"),
        ("docs/studies/README.md", "sst2-1000/", "sst2-1000/README.md"),
        ("CHANGELOG.md", "examples/own_labels.tsv", "source/examples/own_labels.tsv"),
        ("docs/theory.md", "https://scipy.org", "https://scipy.org"),
        ("docs/theory.md", "nothing.md", "nothing.md"),
        ("docs/theory.md", "../../outside", "../../outside"),
    ],
)
def test_a_link_of_the_repository_is_one_of_the_site(path: str, link: str, of_site: str) -> None:
    assert repository.relinked(f"see [it]({link}).", path) == f"see [it]({of_site})."


def test_code_holds_no_links() -> None:
    text = "```python\nvalues[0](README.md)\n```\n[a](../README.md)"
    assert repository.relinked(text, "docs/theory.md") == text.replace("../README.md", "index.md")
    assert repository.targets(text, "docs/theory.md") == {"README.md"}


def test_a_folder_says_what_it_holds() -> None:
    page = repository.folder_page("odestab/adjoint", {"odestab/adjoint/base.py"})
    assert "- [`base.py`](base.py.md): " in page
    assert "- `implicit.py`: " in page
    assert "__init__" not in page


def test_every_section_that_is_named_exists() -> None:
    named = {
        (file.name, int(number))
        for file in SOURCES
        for number in ANY_REFERENCE.findall(file.read_text(encoding="utf-8"))
    }
    assert len(named) > 10
    assert {(name, number) for name, number in named if number not in formulas.sections()} == set()


def test_one_reference_names_one_section() -> None:
    """A list of sections, as in "sections 1 and 5", would be linked in part."""
    assert [
        file.name
        for file in SOURCES
        if re.search(r"Mathematics,\s+sections\b", file.read_text(encoding="utf-8"))
    ] == []


def test_an_api_page_links_to_the_sections() -> None:
    page = formulas.referred("(Mathematics,\nsection 8)", "api/steps.html")
    assert page == (
        '(<a href="../mathematics.html#8-stability-quantities-of-a-layer">'
        "Mathematics,\nsection 8</a>)"
    )
    with pytest.raises(KeyError):
        formulas.referred("Mathematics, section 99", "api/steps.html")


@pytest.mark.parametrize("page", ["mathematics.md", "theory.md"])
def test_dollars_pair_and_bars_too(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert text.count("$") % 2 == 0
    for formula in re.findall(r"\$\$?(.+?)\$\$?", text, re.DOTALL):
        assert len(re.findall(r"\\l[vV]ert", formula)) == len(re.findall(r"\\r[vV]ert", formula))
        assert formula.count("{") == formula.count("}")


@pytest.mark.parametrize(
    ("html", "fault"),
    [
        ('<script src="https://a.example/b.js"></script>', "fetches https://a.example/b.js"),
        ('<link rel="stylesheet" href="//a.example/b.css">', "fetches //a.example/b.css"),
        ('<link rel="preconnect" href="https://a.example">', "fetches https://a.example"),
        ('<img alt="" src="http://a.example/b.png">', "fetches http://a.example/b.png"),
        ("<style>@import 'https://a.example/b.css'</style>", "fetches "),
        ("<style>a { src: url(https://a.example/b.woff) }</style>", "fetches "),
        ("<p>three:\n- one\n- two</p>", "has a list"),
        ('<span class="arithmatex">\\(x\\)</span>', "has TeX"),
        ("<blockquote>\n<blockquote>\n<blockquote>\n<p>f(1)", "has a docstring's example"),
    ],
)
def test_a_fault_of_a_built_page_is_found(html: str, fault: str) -> None:
    assert [line[: len(fault)] for line in check.faults_of_page(html)] == [fault]


def test_links_that_a_reader_may_follow_are_no_fault(tmp_path: Path) -> None:
    page = '<a href="https://scipy.org">SciPy</a><img src="a.png"><p>one - two</p><math></math>'
    (tmp_path / "mathematics.html").write_text(page, encoding="utf-8")
    (tmp_path / "style.css").write_text("a { src: url(b.woff) }", encoding="utf-8")
    assert check.faults(tmp_path) == []
    (tmp_path / "style.css").write_text("a { src: url('https://b.example/c') }", encoding="utf-8")
    assert len(check.faults(tmp_path)) == 1
