"""The slider shows what the records hold at every step size, with its script in a browser and
without it.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
import xarray as xr
from markupsafe import escape

from analysis.run import Measurements
from figures import slider, template
from figures.report import write_report

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--virtual-time-budget=5000",
)
K = 5


def amplification(h: float, z: np.ndarray) -> np.ndarray:
    """|R_k| of k resolvent fixed-point iterations (Mathematics, section 2)."""
    c = (h + z) / (1 + h)
    return np.abs((1 - c**K) / (1 - z) + c**K)


@pytest.fixture(scope="module")
def summary() -> Measurements:
    whole = synthetic.summary(map_steps=[0.0625, 0.25, 1.0, 4.0])
    steps = whole["stability_map"]["map_step_size"].values
    re, im = np.linspace(-4, 4, 120), np.linspace(0, 3, 46)
    values = np.stack([amplification(float(h), re[None, :] + 1j * im[:, None]) for h in steps])
    truncated = xr.Dataset(
        {
            "truncated_amplification": (
                ("solver", "map_step_size", "truncated_im", "truncated_re"),
                values[None],
            )
        },
        coords={
            "solver": ["fixed point, k = 5"],
            "map_step_size": steps,
            "truncated_re": re,
            "truncated_im": im,
        },
    )
    return synthetic.with_dataset(whole, "truncated", truncated)


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
        outside = int(((np.abs(z.real) > 4) | (np.abs(z.imag) > 3)).sum())
        assert (f"{outside} of {z.size}" in caption) == (outside > 0)


def test_nothing_is_drawn_where_nothing_was_measured(summary: Measurements) -> None:
    for name in ("spectrum", "stability_map", "truncated"):
        assert slider.prepare(synthetic.with_dataset(summary, name, xr.Dataset())) is None


@pytest.mark.skipif(BROWSER is None, reason="no browser")
@pytest.mark.parametrize("width", [400, 1280])
def test_in_a_browser_the_slider_moves_everything(
    summary: Measurements, tmp_path: Path, width: int
) -> None:
    probe = """<script>
    const input = document.querySelector("#slider input"), seen = [];
    for (const place of [0, Number(input.max)]) {
      input.focus(); input.value = place; input.dispatchEvent(new Event("input"));
      seen.push({
        focus: document.activeElement === input,
        shown: !input.closest("div").hidden,
        text: input.ariaValueText,
        scale: document.querySelector("g.spectrum").getAttribute("transform"),
        path: document.querySelector("path.truncated").getAttribute("d"),
        caption: document.querySelector("#slider figcaption").textContent,
        wide: document.documentElement.scrollWidth <= document.documentElement.clientWidth});
    }
    const told = Object.assign(document.createElement("pre"), {textContent: JSON.stringify(seen)});
    document.body.replaceChildren(told);
    </script>"""
    whole = write_report(summary, tmp_path).read_text(encoding="utf-8")
    probed = whole.replace("</body>", f"{probe}</body>")
    (tmp_path / "page.html").write_text(probed, encoding="utf-8")
    command = [
        BROWSER or "",
        *FLAGS,
        f"--window-size={width},900",
        f"--user-data-dir={tmp_path / 'browser'}",
        "--dump-dom",
    ]
    done = subprocess.run(
        [*command, (tmp_path / "page.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    text = re.search(r"<pre>(.*?)</pre>", done.stdout, re.DOTALL)
    assert text is not None, done.stdout[-500:]
    data, seen = (
        held(whole),
        json.loads(text[1].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")),
    )
    for place, one in zip((0, -1), seen, strict=True):
        assert one["focus"] and one["shown"] and one["wide"]
        assert (
            one["scale"] == f"scale({data['steps'][place]:g})"
            and one["text"] == f"h = {data['labels'][place]}"
        )
        assert (
            one["path"] == data["regions"][0][place]
            and one["caption"] == data["captions"][0][place]
        )
