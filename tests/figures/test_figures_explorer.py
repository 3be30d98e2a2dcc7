"""The page under real keys, pointer and finger, and without its script."""

import csv
import io
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
from browser import BROWSER, Page, browser
from synthetic_truncated import with_truncated

from analysis.run import Measurements
from figures import style
from figures.findings import number
from figures.report import write_report

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no browser")]

TEXTS = 5


@pytest.fixture(scope="module")
def run() -> Measurements:
    kinds = {"gaussian": TEXTS, "typo": 3}
    made = with_truncated(synthetic.summary(layers=2, texts=TEXTS, kinds=kinds))
    pairs = [["typo", f"A good film, number {i}.", f"A godo film, {i}."] for i in range(3)]
    words = ["rain", "snow, and hail", 'a "cold" wind', "rain again", "sun"]
    return synthetic.with_config(made, texts=words, pairs=pairs, skipped_pairs=[])


@pytest.fixture(scope="module")
def path(run: Measurements, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "_WITHOUT_DATES", {"svg": style._WITHOUT_DATES["svg"]})
        return write_report(run, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(tab: Page, path: Path) -> Page:
    tab.open(path, 1280)
    return tab


def place(page: Page, picture: str, name: str, who: str, index: int) -> tuple[float, float]:
    """Where a point is on the screen, its figure scrolled into view."""
    page.centre(f"[aria-labelledby=figure-{picture}] .marks")
    group = f'[aria-labelledby=figure-{picture}] g[data-name="{name}"]'
    x, y = page.evaluate(
        f"""(() => {{
          const path = document.querySelector('{group} > path[data-who={who}]');
          const spots = path.getAttribute("d").match(/M[^h]*/g)[{index}].slice(1).split(" ");
          const at = new DOMPoint(...spots).matrixTransform(path.getScreenCTM());
          return [at.x, at.y];
        }})()"""
    )
    return x, y


def tip(page: Page, picture: str) -> str | None:
    """What is read out in a figure; None where nothing is."""
    shown = page.evaluate(
        "Array.from(document.querySelectorAll("
        f"'[aria-labelledby=figure-{picture}] .tip')).filter(tip => !tip.hidden)"
        ".map(tip => tip.textContent)"
    )
    assert len(shown) <= 1
    return str(shown[0]) if shown else None


def picked(page: Page) -> str | None:
    bar = "document.getElementById('picked')"
    if page.evaluate(f"{bar}.hidden"):
        return None
    return str(page.evaluate(f"{bar}.querySelector('p').textContent")).strip()


def worst(run: Measurements, text: int, layer: int, method: str = "explicit") -> str:
    growth = run["growth"].sel(step_size=1.0, scheme=method, layer=layer, text=text)
    return number(float(growth["worst_growth"]))


def farthest(run: Measurements, layer: int) -> int:
    """The text whose point stands highest, away from those of others and from the median."""
    growth = run["growth"].sel(step_size=1.0, scheme="explicit", layer=layer)
    return int(np.argmax(growth["worst_growth"].values))


def test_the_pointer_reads_text_layer_and_value(page: Page, run: Measurements) -> None:
    text = farthest(run, 1)
    page.move(*place(page, "growth", "worst growth, explicit", f"t{text}", 1))
    expected = f"Text {text}, layer 1: worst growth, explicit {worst(run, text, 1)}. "
    assert tip(page, "growth") == f"{expected}“{run.config['texts'][text]}”"
    page.move(5, 5)
    assert tip(page, "growth") is None


def test_arrow_keys_read_and_enter_picks(page: Page, run: Measurements) -> None:
    page.evaluate("document.querySelector('#figure-growth').scrollIntoView()")
    page.evaluate("document.querySelector('[aria-labelledby=figure-growth] .scroll').focus()")
    page.key("Tab")
    assert str(tip(page, "growth")).startswith("Median, layer 0: worst growth, explicit ")
    page.key("ArrowRight")
    assert str(tip(page, "growth")).startswith("Median, layer 1: ")
    page.key("ArrowDown")
    expected = f"Text 0, layer 1: worst growth, explicit {worst(run, 0, 1)}. “rain”"
    assert tip(page, "growth") == expected
    page.key("ArrowLeft")
    assert str(tip(page, "growth")).startswith("Text 0, layer 0: ")
    page.key("Enter")
    assert picked(page) == "Text 0: rain"
    page.key("ArrowDown")  # texts that are not picked are passed over
    assert str(tip(page, "growth")).startswith("Median, layer 0: worst growth, implicit ")
    page.key("Escape")
    assert picked(page) is None and tip(page, "growth") is None


def test_a_finger_reads_first_and_picks_when_it_comes_again(
    tab: Page, path: Path, run: Measurements
) -> None:
    tab.open(path, 400)
    text = farthest(run, 0)
    spot = place(tab, "growth", "worst growth, explicit", f"t{text}", 0)
    tab.tap(*spot)
    said = f"Text {text}, layer 0: worst growth, explicit"
    assert str(tip(tab, "growth")).startswith(said) and picked(tab) is None
    tab.tap(*spot)
    assert str(picked(tab)).startswith(f"Text {text}:")
    tab.call("Emulation.setTouchEmulationEnabled", enabled=False)


def test_a_text_of_the_table_is_shown_in_every_figure_that_has_it(page: Page) -> None:
    page.click(*page.centre("tr[data-who=t3] button"))
    assert picked(page) == "Text 3: rain again"
    seen = page.evaluate(
        """Array.from(document.querySelectorAll(".readable"), figure => [
          figure.querySelectorAll('.marks path[data-who="t3"]').length > 0,
          figure.querySelectorAll("path.on").length > 0,
          figure.classList.contains("lacks"),
          figure.querySelector(".without").textContent])"""
    )
    assert len(seen) > 6 and {has for has, *_ in seen} == {True, False}
    for has, is_on, lacks, note in seen:
        assert is_on == has and lacks != has
        assert note == ("" if has else "This figure has no point of text 3.")
    faint = "getComputedStyle(document.querySelector('[aria-labelledby=figure-growth] {}')).opacity"
    assert float(page.evaluate(faint.format("path.on"))) == 1
    assert float(page.evaluate(faint.format("path[data-who=t0]"))) < 0.1
    assert float(page.evaluate(faint.format(".data"))) < 0.5
    page.click(*page.centre("#picked button[data-step='1']"))
    assert picked(page) == "Text 4: sun"
    page.click(*page.centre("#picked button[data-step='0']"))
    assert picked(page) is None and page.evaluate("document.querySelector('path.on')") is None


def test_an_edit_is_shown_where_edits_are(page: Page) -> None:
    page.click(*page.centre("tr[data-who=p1] button"))
    assert str(picked(page)).startswith("Edit 1: A good film, number 1. → A godo film, 1.")
    for picture, is_there in (("secants", True), ("propagation", True), ("growth", False)):
        count = f"document.querySelectorAll('[aria-labelledby=figure-{picture}] path.on').length"
        assert (page.evaluate(count) > 0) == is_there


def rows(page: Page, table: str) -> list[str]:
    return list(
        page.evaluate(
            f"Array.from(document.querySelectorAll('#{table} tbody tr'))"
            ".filter(row => !row.hidden).map(row => row.dataset.who)"
        )
    )


def test_texts_are_searched_and_ordered(page: Page, run: Measurements) -> None:
    page.click(*page.centre("#texts-table-search"))
    page.type("rain")
    assert rows(page, "texts-table") == ["t0", "t3"]
    output = "document.querySelector('#texts-table output').textContent"
    assert page.evaluate(output) == "2 of 5 texts"
    page.evaluate("document.querySelector('#texts-table-search').select()")
    page.type(" ")
    assert len(rows(page, "texts-table")) == TEXTS
    largest = run["growth"]["worst_growth"].sel(step_size=1.0, scheme="explicit").max("layer")
    ascending = [f"t{text}" for text in np.argsort(largest.values)]
    page.click(*page.centre("#texts-table thead th:nth-child(4) button"))
    assert rows(page, "texts-table") == ascending
    page.click(*page.centre("#texts-table thead th:nth-child(4) button"))
    assert rows(page, "texts-table") == ascending[::-1]


def test_the_slider_moves_everything_by_keys(page: Page) -> None:
    data = json.loads(page.evaluate("document.getElementById('slider-data').textContent"))
    page.click(*page.centre("#slider-h"))
    page.key("End")
    page.key("ArrowLeft")
    last = len(data["steps"]) - 2
    assert page.evaluate("document.querySelector('#slider-h').ariaValueText") == (
        f"h = {data['labels'][last]}"
    )
    scales = "Array.from(document.querySelectorAll('g.spectrum'), g => g.getAttribute('transform'))"
    assert set(page.evaluate(scales)) == {f"scale({data['steps'][last]:g})"}
    drawn = page.evaluate("document.querySelector('path.truncated').getAttribute('d')")
    assert drawn == data["regions"][0][last]
    captions = "Array.from(document.querySelectorAll('#slider figcaption'), c => c.textContent)"
    assert page.evaluate(captions) == [of_layer[last] for of_layer in data["captions"]]
    hidden = "getComputedStyle(document.querySelector('g.secants')).display"
    assert page.evaluate(hidden) == "none"


def test_an_eigenvalue_says_what_either_step_does_to_it(page: Page) -> None:
    page.evaluate("document.querySelector('#slider').scrollIntoView()")
    page.evaluate("document.querySelector('#slider-h').focus()")
    page.key("Tab")
    read = str(tip(page, "spectra")).replace("−", "-")
    found = re.fullmatch(
        r"Text \d, layer 0: eigenvalue λ = .*, z = (\S+) ([+-]) (\S+)i; "
        r"explicit \|1 \+ z\| = (\S+), implicit 1/\|1 - z\| = (\S+?)\. “.*”",
        read,
    )
    assert found is not None, read
    z = complex(float(found[1]), float(found[3]) * (1 if found[2] == "+" else -1))
    assert abs(1 + z) == pytest.approx(float(found[4]), abs=0.01 + 0.01 * abs(z))
    assert 1 / abs(1 - z) == pytest.approx(float(found[5]), rel=0.02)


def test_a_table_is_saved_as_csv(page: Page, run: Measurements, tmp_path: Path) -> None:
    page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    for section in ("texts", "layers"):
        page.click(*page.centre(f"[aria-labelledby={section}] button.csv"))
        deadline = time.monotonic() + 20
        while not (tmp_path / f"{section}.csv").exists() and time.monotonic() < deadline:
            page.evaluate("0")
    texts = list(csv.reader(io.StringIO((tmp_path / "texts.csv").read_text("utf-8-sig"))))
    assert texts[0][:4] == ["number", "text", "tokens", "worst growth, explicit"]
    assert [row[1] for row in texts[1:]] == list(run.config["texts"])
    layers = list(csv.reader(io.StringIO((tmp_path / "layers.csv").read_text("utf-8-sig"))))
    assert layers[0][:5] == [
        "layer",
        "μ₂",
        "hμ₂",
        "worst growth explicit",
        "worst growth implicit",
    ]
    assert len({len(row) for row in layers}) == 1 and len(layers) == 3
    median = float(run["growth"]["worst_growth"].sel(step_size=1.0, scheme="explicit")[0].median())
    assert float(layers[1][3]) == pytest.approx(median, rel=0.01)


def test_no_other_script_runs_and_nothing_is_loaded(page: Page) -> None:
    page.evaluate(
        """document.body.append(Object.assign(
             document.createElement("script"), {textContent: "window.bad = 1"}));
           window.blocked = [];
           document.addEventListener("securitypolicyviolation",
             event => window.blocked.push(event.effectiveDirective));
           document.body.append(Object.assign(new Image(), {src: "http://127.0.0.1:9/x.png"}));
           fetch("http://127.0.0.1:9/").catch(() => {})"""
    )
    deadline = time.monotonic() + 20
    while page.evaluate("window.blocked.length") < 3 and time.monotonic() < deadline:
        pass
    assert page.evaluate("typeof window.bad") == "undefined"
    blocked = sorted(page.evaluate("window.blocked"))
    assert blocked == ["connect-src", "img-src", "script-src-elem"]


@pytest.mark.parametrize("width", [400, 800, 1280, 1600])
def test_the_page_fits_its_window(tab: Page, path: Path, width: int) -> None:
    tab.open(path, width)
    root = "document.documentElement"
    assert tab.evaluate(f"{root}.scrollWidth <= {root}.clientWidth")
    # from a notebook on no table has to be scrolled sideways
    if width >= 1280:
        frames = "Array.from(document.querySelectorAll('.scroll:has(table)'))"
        assert tab.evaluate(f"{frames}.every(frame => frame.scrollWidth <= frame.clientWidth)")
    assert not [event for event in tab.events if event.get("method") == "Runtime.exceptionThrown"]
    assert not [event for event in tab.events if event.get("method") == "Log.entryAdded"]


def test_what_the_answers_rest_on_is_folded_on_the_screen_and_printed(
    tab: Page, path: Path
) -> None:
    tab.open(path, 1280)
    shown = """document.querySelector(".answers li").checkVisibility()"""
    assert not tab.evaluate(shown)
    tab.call("Emulation.setEmulatedMedia", media="print")
    assert tab.evaluate(shown)
    tab.call("Emulation.setEmulatedMedia", media="")


def test_without_its_script_all_is_there_and_nothing_waits_for_it(tab: Page, path: Path) -> None:
    tab.open(path, 1280, script=False)
    snapshot = tab.call(
        "DOMSnapshot.captureSnapshot", computedStyles=["display"], includeDOMRects=True
    )
    strings = snapshot["strings"]
    seen = {strings[index] for index in snapshot["documents"][0]["layout"]["text"] if index >= 0}
    for words in ("Would an implicit step help?", "rain again", "Layer by layer"):
        assert any(words in each for each in seen), words
    # controls that need the script are not shown
    assert not {"Show all", "Save as CSV", "Search the texts "} & seen
    tab.call("Emulation.setScriptExecutionDisabled", value=False)


CONTRAST = """(() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = colour => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return Array.from(canvas.getImageData(0, 0, 1, 1).data);
  };
  const luminance = colour => rgba(colour).slice(0, 3)
    .map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + [0.2126, 0.7152, 0.0722][i] * c, 0);
  const ground = element => {
    for (let each = element; each; each = each.parentElement) {
      const colour = getComputedStyle(each).backgroundColor;
      if (rgba(colour)[3] === 255) {
        return colour;
      }
    }
    return "white";
  };
  const bad = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    const element = node.parentElement;
    // coloured bullets are graphics, glyphs of a figure stand on its card
    if (!/[\\w]/.test(node.data) || element.closest("svg, script") || !element.checkVisibility()) {
      continue;
    }
    const pair = [luminance(getComputedStyle(element).color), luminance(ground(element))];
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (ratio < 4.5) {
      bad.push([node.data.slice(0, 40), ratio]);
    }
  }
  return bad;
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_what_is_behind_it(tab: Page, path: Path, scheme: str) -> None:
    tab.open(path, 1280, scheme=scheme)
    ground: Any = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(23, 25, 28)") == (scheme == "dark")
    tab.click(*tab.centre("tr[data-who=t3] button"))
    tab.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    assert tab.evaluate(CONTRAST) == []
