"""axe-core finds no fault of WCAG 2.1 AA in any kind of page, wide or narrow, light or dark."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import synthetic
import synthetic_flips
import test_figures_conditioning
import test_figures_edits
import test_figures_story
from browser import BROWSER, Page, browser

from figures import condition_page, flips_page, style
from figures.report import write_report

AXE = importlib.util.find_spec("axe_core_python")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no browser"),
    pytest.mark.skipif(AXE is None, reason="axe-core is not installed"),
]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]


def report(folder: Path) -> Path:
    kinds = {"gaussian": 4, "typo": 3}
    return write_report(synthetic.summary(layers=2, texts=4, kinds=kinds), folder)


def told_report(folder: Path) -> Path:
    story = test_figures_story.story(**test_figures_story.records())
    run = synthetic.summary(layers=2, texts=3, dense=False)
    return write_report(run, folder, told=story)


def edits(folder: Path) -> Path:
    test_figures_edits.page(test_figures_edits.record(3), folder)
    return folder / "edits.html"


def condition(folder: Path) -> Path:
    texts = [(text,) for text in test_figures_conditioning.TEXTS]
    found = test_figures_conditioning.record(*test_figures_conditioning.SOME)
    return condition_page.write_page(found, texts, folder, "inputs.csv")


def flips(folder: Path) -> Path:
    return flips_page.write_page(synthetic_flips.flips(), folder)


PAGES = (report, told_report, edits, condition, flips)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


def audit(page: Page) -> dict[str, Any]:
    """Faults by rule, and how many rules were kept."""
    assert AXE is not None and AXE.submodule_search_locations is not None
    source = Path(AXE.submodule_search_locations[0]) / "axe.min.js"
    page.evaluate(source.read_text(encoding="utf-8") + "\n0")
    options = json.dumps({"runOnly": RULES})
    found = page.wait(
        f"axe.run({options}).then(found => ({{"
        "passed: found.passes.length,"
        "faults: Object.fromEntries(found.violations.map("
        "rule => [rule.id, rule.nodes.map(node => node.html)]))}))"
    )
    return dict(found)


@pytest.fixture(scope="module", params=PAGES, ids=lambda write: write.__name__)
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "_WITHOUT_DATES", {"svg": style._WITHOUT_DATES["svg"]})
        written = request.param(tmp_path_factory.mktemp("page"))
    assert isinstance(written, Path)
    return written


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_no_fault_is_found(tab: Page, path: Path, width: int, scheme: str) -> None:
    tab.open(path, width, scheme=scheme)
    found = audit(tab)
    assert found["passed"] > 15
    assert found["faults"] == {}


def test_a_fault_is_found(tab: Page, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        '<!doctype html><html lang="en"><title>t</title><main><h1>t</h1>'
        '<p style="color:#bbb;background:#fff">pale</p></main></html>'
    )
    tab.open(bad, 400)
    assert set(audit(tab)["faults"]) == {"color-contrast"}
