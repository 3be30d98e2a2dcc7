"""The slider shows what the records hold at every step size; its script is tried with the rest of
the page.
"""

import json
import re
from typing import Any

import numpy as np
import pytest
import synthetic
import xarray as xr
from markupsafe import escape
from matplotlib.path import Path as MatplotlibPath
from synthetic_truncated import amplification, with_truncated

from analysis.run import Measurements
from figures import slider, spectra, template
from figures.findings import number


@pytest.fixture(scope="module")
def summary() -> Measurements:
    return with_truncated(synthetic.summary(map_steps=[0.0625, 0.25, 1.0, 4.0]))


def part(summary: Measurements) -> str:
    """The slider as it stands on the page."""
    return template.render("slider.html.j2", slider=slider.prepare(summary), colours=slider.COLOURS)


def held(page: str) -> dict[str, Any]:
    found = re.search(
        r'<script type="application/json" id="slider-data">(.*?)</script>', page, re.DOTALL
    )
    assert found is not None
    return json.loads(found[1])


def test_the_outline_of_every_step_size_is_where_the_truncated_solver_neither_damps_nor_amplifies(
    summary: Measurements,
) -> None:
    data = held(part(summary))
    assert len(data["steps"]) == len(data["regions"][0]) == len(data["captions"][0])
    for h, path in zip(data["steps"], data["regions"][0], strict=True):
        points = np.array(
            [[float(x) for x in point.split()] for point in re.split("[ML]", path) if point]
        )
        assert len(points) > 20 and (points[:, 1] < 0).any() and (points[:, 1] > 0).any()
        assert (
            np.abs(np.log(amplification(h, points[:, 0] + 1j * points[:, 1]))).max() < 0.15
        )  # of linear interpolation on the grid


def test_without_the_script_it_shows_h_equal_to_one(summary: Measurements) -> None:
    page = part(summary)
    data = held(page)
    start = data["steps"].index(1.0)
    assert set(re.findall(r'class="spectrum" transform="([^"]*)"', page)) == {"scale(1)"}
    assert f'd="{data["regions"][0][start]}"' in page and '<div class="control" hidden>' in page
    for captions in data["captions"]:
        assert f"<figcaption>{escape(captions[start])}</figcaption>" in page


def test_eigenvalues_beyond_the_frame_are_counted(summary: Measurements) -> None:
    data = held(part(summary))
    leading = summary["spectrum"]["eigenvalue"].sel(layer=0).values
    for h, caption in zip(data["steps"], data["captions"][0], strict=True):
        z = h * leading.ravel()
        frame = slider.prepare(summary).frame
        outside = int(((np.abs(z.real) > frame.right) | (np.abs(z.imag) > frame.top)).sum())
        assert (f"{outside} of {z.size}" in caption) == (outside > 0)


@pytest.mark.parametrize(("reach", "wide"), [(0.5, 2.25), (3.1, 3.25), (3.1j, 4.0), (50.0, 4.0)])
def test_the_frame_is_as_wide_as_most_eigenvalues_need(
    summary: Measurements, reach: complex, wide: float
) -> None:
    found = slider.prepare(synthetic.changed(summary, "spectrum", eigenvalue=lambda _: reach))
    assert found is not None
    assert found.frame == (-wide, wide, -0.75 * wide, 0.75 * wide)
    page = template.render("slider.html.j2", slider=found, colours=slider.COLOURS)
    assert f"The frame reaches Re z = ±{wide:g}:" in page


def test_a_relative_graph_beyond_the_frame_is_told_with_its_reach(summary: Measurements) -> None:
    found = slider.prepare(summary)
    assert found is not None
    words = "the relative graph goes on beyond it, to |z| = "
    small, large = found.planes[0].captions[0], found.planes[0].captions[-1]
    reach = [float(each.split(words)[1]) for each in (small, large) if words in each]
    assert reach and words in large and reach[-1] > found.frame.right
    without = synthetic.with_dataset(summary, "relative_graph", xr.Dataset())
    assert words not in slider.prepare(without).planes[0].captions[-1]


def test_the_legend_names_full_spectra_only_where_there_are_some(summary: Measurements) -> None:
    words = "all eigenvalues of one short text"
    assert words in part(summary)
    assert words not in part(synthetic.with_dataset(summary, "dense", xr.Dataset()))


def test_nothing_is_drawn_where_nothing_was_measured(summary: Measurements) -> None:
    for name in ("spectrum", "stability_map", "truncated"):
        assert slider.prepare(synthetic.with_dataset(summary, name, xr.Dataset())) is None


def test_both_methods_are_shaded_where_they_are_stable(summary: Measurements) -> None:
    page = part(summary)
    inside = rf'<circle cx="-1" cy="0" r="1" fill="{slider.COLOURS["explicit"]}"'
    # the whole frame but for the disc about 1
    outside = '<path fill-rule="evenodd" d="M-2.25 -1.6875H2.25V1.6875H-2.25ZM0 0a1 1 0 1 0 2 0a1'
    assert inside in page and outside in page


def test_axes_have_ticks_with_numbers(summary: Measurements) -> None:
    numbers = re.findall(r"<text[^>]*>([^<]*)</text>", part(summary).split("<figcaption>")[0])
    assert numbers[:5] == ["−2", "−1", "0", "1", "2"]
    assert numbers[5:] == ["−1", "0", "1", "Re z", "Im z"]


def test_secants_stand_at_the_step_size_they_were_measured_at(summary: Measurements) -> None:
    drawn = re.search(
        r'<g class="secants" data-h="([^"]*)"( hidden)?>(.*?)</g></svg>', part(summary), re.S
    )
    assert drawn is not None and drawn[1] == "1" and not drawn[2]
    pairs = summary["secants"].sizes["pair"]
    assert len(re.findall(r'<path data-who="p\d+"', drawn[3])) == 2 * pairs  # methods
    h = summary["secants"]["step_size"].values[0]
    z = h * summary["secants"]["secant"].sel(layer=0, scheme="explicit", step_size=h).values
    other = slider.prepare(summary, h)
    assert other is not None and other.measured == number(h)
    first = other.planes[0].secants[0].rows[0]
    assert first.path == f"M{z[0].real:.3f} {z[0].imag:.3f}"


def is_filled(area: MatplotlibPath, point: tuple[float, float]) -> bool:
    """Whether an area with holes covers a point."""
    rings = [MatplotlibPath(ring) for ring in area.to_polygons()]
    return sum(ring.contains_point(point) for ring in rings) % 2 == 1


def test_the_figure_for_print_shades_the_same(summary: Measurements) -> None:
    panel = spectra.draw(summary, layer=0).axes[0]
    areas = {area.get_alpha(): area.get_paths()[0] for area in panel.collections}
    explicit, implicit = (areas[spectra.SHADES[method]] for method in ("explicit", "implicit"))
    assert is_filled(explicit, (-1, 0.5)) and not is_filled(explicit, (1, 0.5))
    assert is_filled(implicit, (-1, 0.5)) and not is_filled(implicit, (1, 0.5))
