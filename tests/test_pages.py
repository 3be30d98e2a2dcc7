"""What the pages name exists: links, the headings they lead to, and paths of the repository."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted({ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")})
FOLDERS = "odestab|analysis|figures|imbert|tests|benchmarks|docs|examples"
PATH = re.compile(rf"(?<![\w/.~-])(?:{FOLDERS})/[\w./-]*\w")
LINK = re.compile(r"\]\(([^)\s]+)\)")
each_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix()
)


def anchors(page: Path) -> set[str]:
    """What a link to a heading of the page ends with."""
    headings = re.findall(r"^#+ +(.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in kept}


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    dead = []
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


@each_page
def test_every_path_of_the_repository_that_is_named_exists(page: Path) -> None:
    text = re.sub(r"\w+://\S+", "", page.read_text(encoding="utf-8"))
    linked = LINK.sub("", text)  # links are relative to their page
    assert [path for path in PATH.findall(linked) if not (ROOT / path).exists()] == []


def test_a_dead_path_would_be_found() -> None:
    assert PATH.findall("see `odestab/nothing.py`, [x](y) and analysis/none/") == [
        "odestab/nothing.py",
        "analysis/none",
    ]
