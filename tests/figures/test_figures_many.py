"""A page of many texts stays small: marks cost few bytes, those of single texts are of some, and
the page says of how many.
"""

import functools
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import synthetic
from browser import BROWSER, browser
from synthetic_truncated import with_truncated

from analysis.quantities import METHODS
from analysis.run import Measurements
from figures import inline_svg, readings, slider, spectra, style, template
from figures.findings import number
from figures.inline_svg import LINK, SVG, joined
from figures.picture import Picture
from figures.pictures import PICTURES
from figures.report import write_report

MANY, LAYERS = 600, 2
FIGURE = template._TEMPLATES.from_string(
    '{% from "parts.html.j2" import figure %}{{ figure(shown) }}'
)
# bytes of the figures of so many texts: a tenth more than they took when first measured
LIMITS = {
    "growth": 134_000,
    "advantage": 85_000,
    "spectra": 222_000,
    "stability_map": 179_000,
    "propagation": 100_000,
    "linearity": 115_000,
}


@functools.cache
def run(texts: int = MANY) -> Measurements:
    return synthetic.summary(
        layers=LAYERS, texts=texts, kinds={"gaussian": texts, "typo": 3}, dense=False
    )


def picture(name: str) -> Picture:
    return next(each for each in PICTURES if each.name == name)


def shown(name: str, folder: Path, texts: int = MANY) -> template.Shown:
    each = picture(name)
    figure = each.draw(run(texts), 1.0)
    return template.shown(figure, folder, name, "finding", each.caption, kinds=["svg"])


def who(figure: template.Shown) -> set[str]:
    return {row.who for group in figure.groups for row in group.rows} - {""}


def values_of(name: str) -> list[np.ndarray]:
    """What a figure of this run reads out, `(texts, places)` for each of its groups."""
    if name == "growth":
        growth = run()["growth"].sel(step_size=1.0)
        each = [growth[f"{kind}_growth"] for kind in ("worst", "spectral")]
        by_method = [of.sel(scheme=method) for of in each for method in METHODS]
        found = [*by_method, growth["logarithmic_norm"]]
    else:
        of_map = run()["stability_map"]["map_growth"]
        found = [of_map.sel(scheme=m, layer=layer) for m in METHODS for layer in range(LAYERS)]
    return [one.transpose("text", ...).values for one in found]


@pytest.mark.slow
@pytest.mark.parametrize("name", LIMITS)
def test_the_figures_of_many_texts_take_few_bytes(name: str, tmp_path: Path) -> None:
    figure = shown(name, tmp_path)
    assert len(FIGURE.render(shown=figure).encode()) < LIMITS[name]


@pytest.mark.parametrize("name", ["growth", "stability_map"])
def test_the_caption_counts_the_texts_with_points_and_all_extreme_ones_are_among_them(
    name: str, tmp_path: Path
) -> None:
    figure = shown(name, tmp_path)
    said = re.search(r"Points of (\d+) of (\d+) texts can be read out: those with", figure.caption)
    assert said is not None and int(said[2]) == MANY
    assert len(who(figure)) == int(said[1]) == readings.MOST
    extreme = {
        f"t{text}" for values in values_of(name) for text in (*values.argmin(0), *values.argmax(0))
    }
    assert 2 < len(extreme) < readings.MOST and extreme <= who(figure)


def test_what_summarises_takes_all_texts(tmp_path: Path) -> None:
    group = shown("growth", tmp_path).groups[0]
    growth = run()["growth"]["worst_growth"].sel(step_size=1.0, scheme="explicit")
    median, low, high = (
        number(float(growth.sel(layer=0).quantile(share))) for share in (0.5, 0.1, 0.9)
    )
    assert group.rows[0].values.split("|")[0] == f"{median} (80 % from {low} to {high})"


def test_few_texts_have_all_their_points_and_nothing_is_said_of_it(tmp_path: Path) -> None:
    figure = shown("growth", tmp_path, texts=24)
    assert who(figure) == {f"t{text}" for text in range(24)}
    assert figure.caption == picture("growth").caption


def test_other_figures_have_the_same_texts_but_for_extreme_ones() -> None:
    every = [f"t{text}" for text in range(1000)]
    assert readings.sample(every[: readings.MOST], set()) == set(every[: readings.MOST])
    plain = readings.sample(every, set())
    some = readings.sample(every, {"t1", "t2", "p7"})
    assert len(plain) == len(some) == readings.MOST and len(plain - some) <= 2
    assert readings.sample(every, set(every[:300])) == set(every[:300])


def decoded(path: str, between: str) -> np.ndarray:
    """Places of a path of relative steps."""
    step = re.compile(r"(-?\d*\.?\d+) ?(-?\d*\.?\d+)")
    steps = [step.fullmatch(each) for each in path.split(between)]
    assert all(steps)
    return np.cumsum([[float(each[1]), float(each[2])] for each in steps if each], axis=0)


@pytest.mark.parametrize(("digits", "between"), [(1, "l"), (0, "h0m"), (2, "l")])
def test_places_are_rounded_once_however_many_there_are(digits: int, between: str) -> None:
    places = np.random.default_rng(0).normal(0, 40, (500, 2))
    found = decoded(joined(places, digits, between), between)
    rounded = places.round(digits)
    np.testing.assert_allclose(found, rounded[np.lexsort(rounded.T[::-1])], atol=1e-9)


def test_equal_marks_become_one_path_with_a_mark_at_each_place() -> None:
    def use(place: int, shape: str) -> str:
        return f'<use xlink:href="#{shape}" x="{place}.25" y="{9 - place}" style="fill: #000"/>'

    few, many = range(inline_svg.FEW - 1), range(inline_svg.FEW)
    panels = ["".join(use(place, "dot") for place in places) for places in (few, many)]
    between = "".join(use(place, "dot" if place % 2 else "square") for place in many)
    groups = "".join(f"<g>{marks}</g>" for marks in (*panels, between))
    names = f'xmlns="{SVG[1:-1]}" xmlns:xlink="{LINK[1:].split("}")[0]}"'
    svg = f'<svg viewBox="0 0 9 9" {names}>{groups}</svg>'
    content = inline_svg.inlined(svg.encode(), "name", []).content
    first, second, third = ElementTree.fromstring(f"<svg>{content}</svg>")
    assert len(first) == len(few) and len(third) == len(many)
    marker, path = second
    assert path.attrib["style"] == f"marker:url(#{marker.attrib['id']})"
    assert marker[0].attrib["href"] == "#name-dot" and "fill:#000" in marker.attrib["style"]
    expected = [(place + 0.2, 9 - place) for place in many]
    np.testing.assert_allclose(decoded(path.attrib["d"][1:].replace(" 1", ";1"), ";"), expected)


def test_the_plane_of_many_texts_shows_every_eigenvalue_and_says_whose_are_read_out() -> None:
    made = slider.prepare(with_truncated(run()))
    assert made is not None
    assert made.thinned == f"{readings.MOST} of {MANY} texts"
    page = template.render("slider.html.j2", slider=made, colours=slider.COLOURS)
    assert f"those of {made.thinned} can be read out" in " ".join(page.split())
    for plane, spectrum in zip(made.planes, spectra.spectra_of(run()), strict=True):
        texts = [int(row.who[1:]) for row in plane.leading]
        assert len(texts) == readings.MOST
        others = decoded(plane.others.removeprefix("m").removesuffix("h0"), "h0m")
        rest = np.delete(spectrum.leading, texts, axis=0).ravel()
        expected = np.unique(np.stack([rest.real, rest.imag], axis=1).round(2) * 100, axis=0)
        np.testing.assert_allclose(others, expected.round())
        farthest = np.abs(spectrum.leading + 1).max(1).argmax()
        rightmost = spectrum.leading.real.max(1).argmax()
        assert {farthest, rightmost} <= set(texts)
    marks = re.findall(r'<g class="(?:others|leading)".*?</g>', page, re.DOTALL)
    assert sum(map(len, marks)) < 15 * 8 * MANY * LAYERS


def test_the_plane_names_every_text_that_did_not_converge() -> None:
    made = with_truncated(synthetic.summary(layers=1, texts=250, converged=False, dense=False))
    planes = slider.prepare(made)
    assert planes is not None and planes.thinned
    assert {row.who for row in planes.planes[0].unsettled} == {f"t{i}" for i in range(62)}


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no browser")
def test_texts_with_points_are_read_and_picked_and_the_others_are_said_to_have_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "MOST", 4)
    monkeypatch.setattr(style, "_WITHOUT_DATES", {"svg": style._WITHOUT_DATES["svg"]})
    few = with_truncated(synthetic.summary(layers=1, texts=12, kinds={"typo": 3}))
    path = write_report(few, tmp_path)
    spectra_figure = "document.querySelector('#slider .readable')"
    rows = f"{spectra_figure}.querySelectorAll('.leading path')"
    note = f"{spectra_figure}.querySelector('.without').textContent"
    with browser(tmp_path) as page:
        page.open(path, 1280)
        read = page.evaluate(f"Array.from({rows}, row => row.dataset.who)")
        assert len(read) == 4
        page.centre("#slider .readable")
        x, y = page.evaluate(
            f"""(() => {{
              const row = {rows}[0];
              const [x, y] = row.getAttribute("d").slice(1).split("h0")[0].split(" ");
              const at = new DOMPoint(x, y).matrixTransform(row.getScreenCTM());
              return [at.x, at.y];
            }})()"""
        )
        page.move(x, y)
        tip = page.evaluate(f"{spectra_figure}.querySelector('.tip').textContent")
        assert "leading eigenvalue λ = " in tip
        lacking = next(f"t{text}" for text in range(1, 12) if f"t{text}" not in read)
        for who, said in (
            (read[0], ""),
            (lacking, f"This figure has no point of text {lacking[1:]}."),
        ):
            page.evaluate(f"document.querySelector('tr[data-who={who}] button').click()")
            assert page.evaluate(note) == said
        page.key("Escape")
        # every eigenvalue is drawn, of other texts without a name
        others = f"{spectra_figure}.querySelector('.others path')"
        ours = few["spectrum"]["eigenvalue"].isel(layer=0).sel(text=int(lacking[1:])).values
        drawn = page.evaluate(f"""Array.from({others}.getAttribute("d").matchAll("m")).length""")
        assert drawn >= len(ours)
        assert page.evaluate(f"{others}.getBoundingClientRect().width") > 100
