"""Where in a text the worst perturbation of one step sits: its share on each token."""

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from analysis.quantities.labelled import METHODS, both, finite, joined, statistics, variable
from analysis.quantities.quantity import Quantity, Row, Shortfall, counted, of_methods
from analysis.record import Cell, Run

if TYPE_CHECKING:  # loads torch
    from torch import Tensor

    import odestab as od
    from analysis.quantities.growth import OneStep

SIDES = ("entering", "leaving")  # the input direction and the output direction


def of_step(step: "OneStep", jacobian: "od.Jacobian") -> dict[str, np.ndarray]:
    """Shares of the worst directions of one step on each token."""
    return {
        f"{method}_{side}": _shares(directions, jacobian.mask)
        for method, sigma in step.worst.items()
        for side, directions in zip(SIDES, (sigma.right, sigma.left), strict=True)
    }


def _shares(directions: "Tensor | None", mask: "Tensor | None") -> np.ndarray:
    """The share of a leading direction's squared norm on each token, `(batch, tokens)`; NaN on
    padding.
    """
    from analysis.study import to_numpy

    assert directions is not None and mask is not None
    squares = directions[:, 0].square().sum(-1)
    return to_numpy((squares / squares.sum(1, keepdim=True)).masked_fill(~mask, float("nan")))


def dataset(run: Run) -> xr.Dataset:
    """Shares of each layer, text and step size, NaN beyond a text's end; nothing where the layers'
    cells have none.
    """
    cells = [cell for cell in run.of_kind("layer") if "explicit_entering" in cell.arrays]
    return joined(cells, functools.partial(_of_cell, run), "layer")


def _of_cell(run: Run, cell: Cell) -> xr.Dataset:
    shares = np.stack([both(cell, f"{{}}_{side}") for side in SIDES], axis=-1)
    share = variable(
        "text step_size token scheme side",
        shares,
        "share of the worst direction's squared norm on a token",
    )
    return xr.Dataset(
        {"direction_share": share},
        coords={
            "text": cell.header["texts"],
            "step_size": run.config["step_sizes"],
            "token": np.arange(shares.shape[2]),
            "scheme": list(METHODS),
            "side": list(SIDES),
        },
    )


def shortfalls(dataset: xr.Dataset) -> Iterator[Shortfall]:
    """Texts whose direction is not known: NaN belongs beyond their ends alone."""
    share = dataset["direction_share"]
    known = finite(share)
    # A token that some direction of the text has belongs to the text.
    inside = known.any([name for name in share.dims if name not in ("text", "token")])
    lost = (inside & ~known).any("token") | ~known.any("token")
    yield from of_methods(counted, "worst direction", lost.any("side"), "not finite")


def rows(dataset: xr.Dataset) -> list[Row]:
    """What the first token of each text carries."""
    first = dataset["direction_share"].isel(token=0, drop=True)
    return [
        {"layer": layer, "step_size": h}
        | {
            f"first_token_{side}": {
                method: statistics(first.sel(layer=layer, step_size=h, side=side, scheme=method))
                for method in METHODS
            }
            for side in SIDES
        }
        for layer in dataset["layer"].values.tolist()
        for h in dataset["step_size"].values.tolist()
    ]


DIRECTIONS = Quantity(
    name="directions",
    cell="layer",
    depths=("full",),
    dataset=dataset,
    shortfalls=shortfalls,
    table=("directions", rows),
)
