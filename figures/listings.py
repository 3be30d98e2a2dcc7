"""The texts and the edits of a run as tables to search, to order and to pick from."""

import numpy as np
import xarray as xr

from analysis.quantities import METHODS
from analysis.run import Measurements
from figures import propagation, selection
from figures.findings import number
from figures.records import RunConfig
from figures.template import Cell, Listed, Listing


def listings(run: Measurements, config: RunConfig, h: float) -> list[Listing]:
    """The tables of what there is of the two."""
    return [listing for listing in (_texts(run, config, h), _edits(run, config, h)) if listing.rows]


def _texts(run: Measurements, config: RunConfig, h: float) -> Listing:
    _, growth = selection.at(run, "growth", h)
    texts = list(enumerate(config.texts or ()))
    tokens = dict(enumerate(config.tokens or ()))
    measured = {name: _by_text(values) for name, values in _columns_of_texts(growth).items()}
    head = ["number", "text", "tokens", *measured]
    return Listing(
        name="texts-table",
        noun="texts",
        caption=f"Texts at h = {number(h)}. Worst growth: the largest over the layers; implicit "
        "advantage: the mean over the layers, positive where an implicit step damps random "
        "perturbations more.",
        head=[(name, name == "text") for name in head],
        rows=[
            Listed(
                [
                    Cell(str(place), place),
                    Cell(text, text, words=True, long=True),
                    _cell(tokens.get(place)),
                    *(_cell(of_text.get(place)) for of_text in measured.values()),
                ],
                f"t{place}",
            )
            for place, text in texts
        ],
    )


def _columns_of_texts(growth: xr.Dataset) -> dict[str, xr.DataArray]:
    if not growth:
        return {}
    worst = growth["worst_growth"].max("layer", skipna=False)
    columns = {
        f"worst growth,\n{method}": worst.sel(scheme=method, drop=True) for method in METHODS
    }
    return columns | {"implicit\nadvantage": growth["advantage"].mean("layer", skipna=False)}


def _by_text(values: xr.DataArray) -> dict[int, float]:
    return dict(zip(values["text"].values.tolist(), values.values.tolist(), strict=True))


def _edits(run: Measurements, config: RunConfig, h: float) -> Listing:
    pairs = list(enumerate(config.pairs or ()))
    ends = _ends(run, selection.measured_step(run, "propagation", h))
    head = ["number", "kind", "original → edited", *(f"growth,\n{method}" for method in METHODS)]
    return Listing(
        name="edits-table",
        noun="edits",
        caption="Edits. Growth: how much larger the difference is after the last layer than before "
        "the first, with steps of either method.",
        head=[(name, name in ("kind", "original → edited")) for name in head],
        rows=[
            Listed(
                [
                    Cell(str(place), place),
                    Cell(kind, kind, words=True),
                    Cell(f"{original} → {edited}", original, words=True, long=True),
                    *(_cell(ends[method].get(place)) for method in METHODS),
                ],
                f"p{place}",
            )
            for place, (kind, original, edited) in pairs
        ],
    )


def _ends(run: Measurements, h: float | None) -> dict[str, dict[int, float]]:
    """By method the growth of each edited pair at the last layer."""
    ends: dict[str, dict[int, float]] = {method: {} for method in METHODS}
    for last in propagation.ends_of_edits(run, h):
        for method in METHODS:
            of_method = last.sel(scheme=method).values.tolist()
            ends[method].update(zip(last["example"].values.tolist(), of_method, strict=True))
    return ends


def _cell(value: float | None) -> Cell:
    known = value is not None and np.isfinite(value)
    return Cell(number(value), value if known else None)
