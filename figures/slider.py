"""Each layer's spectrum against the stability regions at every step size of the map: a slider and
its inline script.

Without the script it shows h = 1. The script moves the spectrum, as z = hλ, and swaps what the
records hold for another h; it computes nothing.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.summary import METHODS, LayerSpectrum, Summary, TruncatedRegion
from figures import page, style
from figures.findings import number

FRAME = (-4.0, 4.0, -3.0, 3.0)  # of z: left, right, bottom, top
CSS = """
.slider { border: 1px solid #d5d5d0; padding: .75rem; background: #fff; }
.slider label { display: block; font-weight: 600; }
.slider input { width: 100%; max-width: 30rem; accent-color: #0072b2; }
.planes { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: .75rem; }
.planes figure { margin: 0; }
.planes svg { width: 100%; height: auto; display: block; border: 1px solid #d5d5d0; }
.planes figcaption { font-size: .8rem; font-variant-numeric: tabular-nums; margin-top: .2rem; }
.slider ul { list-style: none; margin: .75rem 0 0; padding: 0; font-size: .85rem; columns: 20rem; }
.planes path, .planes circle, .planes line { vector-effect: non-scaling-stroke; }
"""
SCRIPT = """
(function () {
  const box = document.getElementById("slider"), data = JSON.parse(document.getElementById("slider-data").textContent);
  const input = box.querySelector("input"), output = box.querySelector("output");
  function show() {
    const i = Number(input.value), h = data.steps[i];
    output.textContent = input.ariaValueText = "h = " + data.labels[i];
    box.querySelectorAll("g.spectrum").forEach(g => g.setAttribute("transform", "scale(" + h + ")"));
    box.querySelectorAll("path.truncated").forEach(p => p.setAttribute("d", data.regions[p.dataset.solver][i]));
    box.querySelectorAll("figcaption").forEach((c, layer) => { c.textContent = data.captions[layer][i]; });
  }
  input.addEventListener("input", show);
  box.querySelector(".control").hidden = false;
  show();
})();
"""


def part(summary: Summary) -> str:
    """HTML with one plane per layer, the control, its data and its script; nothing where the run
    has no spectra or no map.

    Args:
        summary: the records.
    """
    spectra = sorted(summary.spectra, key=lambda one: one.layer)
    if not spectra or not summary.maps or not summary.truncated:
        return ""
    steps = [float(h) for h in summary.maps[0].step_sizes]
    start = int(np.argmin(np.abs(np.log(steps))))  # h = 1
    regions = [[_outline(one, i) for i in range(len(steps))] for one in summary.truncated]
    captions = [[_caption(summary, one, i) for i in range(len(steps))] for one in spectra]
    data = {
        "steps": steps,
        "labels": [number(h) for h in steps],
        "regions": regions,
        "captions": captions,
    }
    planes = [
        _plane(one, steps[start], [outlines[start] for outlines in regions], captions[row][start])
        for row, one in enumerate(spectra)
    ]
    control = (
        '<div class="control" hidden><label for="slider-h">Step '
        'size <output for="slider-h"></output></label>'
        '<input id="slider-h" type="range" min="0" '
        f'max="{len(steps) - 1}" step="1" value="{start}"></div>'
    )
    held = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    inner = f'{control}\n<div class="planes">\n{"".join(planes)}</div>\n{_legend(summary)}'
    scripts = (
        '<script type="application/json" '
        f'id="slider-data">{held}</script>\n<script>{SCRIPT}</script>'
    )
    return f'<style>{CSS}</style>\n<div id="slider" class="slider">\n{inner}\n</div>\n{scripts}'


def _plane(one: LayerSpectrum, h: float, outlines: Sequence[str], caption: str) -> str:
    left, right, bottom, top = FRAME
    axes = (
        f'<path d="M{left} 0H{right}M0 {bottom}V{top}" '
        'stroke="#d5d5d0" stroke-width="1" fill="none"/>'
    )
    frame, disc = f"M{left} {bottom}H{right}V{top}H{left}Z", "M0 0a1 1 0 1 0 2 0a1 1 0 1 0 -2 0"
    stable = [
        f'<path fill-rule="evenodd" d="{frame}{disc}" '
        f'fill="{style.COLOURS["implicit"]}" fill-opacity="0.1"/>',
        f'<circle cx="-1" cy="0" r="1" fill="{style.COLOURS["explicit"]}" fill-opacity="0.12"/>',
        *(
            f'<circle cx="{centre}" cy="0" r="1" '
            f'stroke="{style.COLOURS[name]}" stroke-width="1.5" fill="none"/>'
            for name, centre in (("explicit", -1), ("implicit", 1))
        ),
    ]
    curve = (
        f'<path d="{_lemniscate()}" stroke="{style.COLOURS["lemniscate"]}" '
        'stroke-width="1" stroke-dasharray="2 2" fill="none"/>'
    )
    truncated = [
        f'<path class="truncated" data-solver="{i}" d="{d}" '
        f'stroke="{style.COLOURS["truncated"]}" stroke-width="1.5" '
        f'stroke-dasharray="{"6 2" if i == 0 else "2 2"}" fill="none"/>'
        for i, d in enumerate(outlines)
    ]
    short = one.full[0] if one.full else np.zeros(0)
    dots = _dots(short, style.FAINT, 2.0) + _dots(
        one.leading[np.isfinite(one.leading)], style.INK, 3.5
    )
    label = page.escape(f"Layer {one.layer}: eigenvalues over the stability regions")
    return (
        f'<figure><svg viewBox="{left} {-top} {right - left} '
        f'{top - bottom}" role="img" aria-label="{label}">'
        f'<g transform="scale(1,-1)">{axes}{"".join(stable)}{curve}{"".join(truncated)}'
        f'<g class="spectrum" transform="scale({h:g})">{dots}</g></g></svg>'
        f"<figcaption>{page.escape(caption)}</figcaption></figure>\n"
    )


def _dots(values: np.ndarray, colour: str, width: float) -> str:
    """One dot per eigenvalue, of a size that no scale changes; equal ones once."""
    places = sorted({(round(float(z.real), 3), round(float(z.imag), 3)) for z in values.ravel()})
    d = "".join(f"M{x:g} {y:g}h0" for x, y in places)
    return (
        f'<path d="{d}" stroke="{colour}" '
        f'stroke-width="{width}" stroke-linecap="round" fill="none"/>'
    )


def _outline(region: TruncatedRegion, step: int) -> str:
    """|R_k| = 1 in both half planes, as a path."""
    with style.house():
        axes = Figure().add_subplot()
        level = np.log(np.clip(region.amplification[step].astype(float), 1e-9, 1e9))
        lines = (
            axes.contour(region.re, region.im, level, levels=[0]).allsegs[0]
            if level.min() < 0 < level.max()
            else []
        )
    halves = [line * (1, sign) for line in lines for sign in (1, -1)]
    return "".join(
        "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in line) for line in halves if len(line) > 1
    )


def _lemniscate() -> str:
    """z = ±√(1 + e^{iθ})."""
    root = np.sqrt(1 + np.exp(1j * np.linspace(-np.pi, np.pi, 121)))
    return "".join(
        "M" + "L".join(f"{z.real:.3f} {z.imag:.3f}" for z in sign * root) for sign in (1, -1)
    )


def _caption(summary: Summary, one: LayerSpectrum, step: int) -> str:
    growth = {
        found.method: np.median(found.growth[list(found.layers).index(one.layer), step])
        for found in summary.maps
    }
    h = summary.maps[0].step_sizes[step]
    z = h * one.leading[np.isfinite(one.leading)]
    left, right, bottom, top = FRAME
    outside = int(((z.real < left) | (z.real > right) | (z.imag < bottom) | (z.imag > top)).sum())
    told = ", ".join(f"{method} {number(float(growth[method]))}" for method in METHODS)
    return f"Layer {one.layer}: spectral growth {told}" + (
        f"; {outside} of {z.size} leading eigenvalues beyond the frame" if outside else ""
    )


def _legend(summary: Summary) -> str:
    entries: list[tuple[Any, str]] = [
        (style.COLOURS["explicit"], "explicit Euler: stable inside its disc"),
        (style.COLOURS["implicit"], "implicit Euler: stable outside its disc"),
        (style.COLOURS["lemniscate"], "outside the lemniscate |z² − 1| = 1 implicit damps more"),
        *(
            (
                style.COLOURS["truncated"],
                f"|R| = 1 of {one.label}, {('dashed', 'dotted')[min(i, 1)]}",
            )
            for i, one in enumerate(summary.truncated)
        ),
        (style.INK, "leading eigenvalues z = hλ of all texts"),
        (style.FAINT, "all eigenvalues of one short text"),
    ]
    items = [
        f'<li><span style="color:{colour}">■</span> {page.escape(text)}</li>'
        for colour, text in entries
    ]
    return f"<ul>{''.join(items)}</ul>"
