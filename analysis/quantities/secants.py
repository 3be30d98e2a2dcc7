"""Secants of real edits: the exact growth of a finite difference over each step, for pairs of equal
and of unequal token counts.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from analysis.cells import CellPlan, Scope
from analysis.ground.resampling import (
    Interval,
    cluster_weights,
    percentile_interval,
    proportion_interval,
    widened,
)
from analysis.quantities.labelled import (
    METHODS,
    as_complex,
    both,
    flag,
    joined,
    statistics,
    variable,
)
from analysis.quantities.quantity import (
    Measured,
    Quantity,
    Row,
    Shortfall,
    not_converged,
    not_finite,
    of_methods,
)
from analysis.record import Cell, Run

if TYPE_CHECKING:  # loads torch
    import odestab as od
    from analysis.study import Study

ALL_KINDS = "all"  # stands for every kind in the table
RESAMPLES = 2000
OF_EDITS = ("secant_edit_size", "secant_overlap")  # variables without step size and method
CONVENTION = (
    "Token sequences of unequal length are laid side by side by the matching blocks of their ids; "
    "between two blocks tokens are paired in order. A token of one text only stands opposite "
    "nothing, whose state counts as 0."
)


def plan(scope: Scope) -> list[CellPlan]:
    """At each step size the edits by kind, also those that change the number of tokens."""
    return [
        cell
        for h in scope.config.step_sizes
        for cell in scope.of_edits("secants", h, scope.aligned_tokens)
    ]


def measure(study: "Study", plan: CellPlan) -> Measured:
    """Secants and growth of the chosen layers, along the path of either method through all of
    them.
    """
    import odestab as od
    from analysis.study import to_numpy
    from analysis.walks import EDIT_RTOL, walk_through

    assert plan.step_size is not None
    pairs = [study.config.pairs[i] for i in plan.texts]
    originals = tuple(pair.original for pair in pairs)
    edits = tuple(pair.edited for pair in pairs)
    batches = [study.tokenize(list(texts)) for texts in (originals, edits)]
    alignment = od.align(
        *(batch["input_ids"] for batch in batches), *(batch["attention_mask"] for batch in batches)
    )
    original = study.trace(originals)
    layers = study.config.chosen_layers(original.depth)
    arrays: dict[str, np.ndarray] = {}
    for name in METHODS:
        # Those that the growth of the same edits has followed.
        first, second = (
            walk_through(study, texts, name, plan.step_size, EDIT_RTOL).path
            for texts in (originals, edits)
        )
        path = od.secants(first, second, alignment=alignment)
        arrays |= {f"{name}_{of}": values for of, values in _of_path(path, layers).items()}
    # The first state, and so the edit's size, is the same under either method.
    state = original.fields[0].project(original.states[0]).flatten(1).norm(dim=1)
    return {}, {
        **arrays,
        "size": to_numpy(path.sizes[:, 0] / state),
        "overlap": to_numpy(alignment.overlap),
        "cluster": np.array([study.config.first_pair(text) for text in originals]),
        "layers": np.array(layers),
    }


def _of_path(path: "od.SecantPath", layers: tuple[int, ...]) -> dict[str, np.ndarray]:
    """What a cell holds of one method."""
    from analysis.study import to_numpy, to_pairs

    chosen = list(layers)
    # Beyond a step that was not solved the states are another path's, also under layers that were
    # not chosen.
    solved = path.converged.cumprod(dim=1).bool()
    return {
        "secant": to_pairs(path.points[:, chosen]),
        "start": to_pairs(path.start[:, chosen]),
        "growth": to_numpy(path.growth[:, chosen]),
        "predicted": to_numpy(path.predicted[:, chosen]),
        "converged": to_numpy(solved[:, chosen]),
        "cumulative": to_numpy(path.cumulative),
    }


def dataset(run: Run) -> xr.Dataset:
    """The secants of each pair in each layer, under either method at each step size."""
    secants = joined(run.of_kind("secants"), _of_cell, "step_size", over="pair")
    if not secants:
        return secants
    # What an edit is does not depend on the step that is taken.
    edits = {name: secants[name].isel(step_size=0, drop=True) for name in OF_EDITS}
    return secants.assign(edits)


def _of_cell(cell: Cell) -> xr.Dataset:
    arrays, pairs = cell.arrays, cell.header["texts"]
    return xr.Dataset(
        {**_of_methods(cell), **_of_edits(cell)},
        coords={
            "pair": pairs,
            "kind": ("pair", [cell.header["perturbation"]] * len(pairs)),
            "cluster": variable("pair", arrays["cluster"], "pairs of one original have one number"),
            "layer": arrays["layers"],
            "scheme": list(METHODS),
        },
    )


def _of_methods(cell: Cell) -> dict[str, xr.Variable]:
    dims = "pair layer scheme"
    return {
        "secant": variable(
            dims,
            _points(cell, "secant"),
            "secant ζ of the edit where it decides: at the start of an explicit step, at the end "
            "of an implicit one",
            "1/h",
        ),
        "secant_start": variable(
            dims, _points(cell, "start"), "secant ζ between the states that enter the step", "1/h"
        ),
        "secant_growth": variable(
            dims, both(cell, "{}_growth"), "growth |R(hζ)| of the edit over the step, exact"
        ),
        "secant_growth_predicted": variable(
            dims, both(cell, "{}_predicted"), "|R(hζ)| with ζ where the step starts"
        ),
        "secant_converged": flag(
            dims,
            both(cell, "{}_converged"),
            "the solves of both texts converged, in this layer and all before it",
        ),
        "secant_cumulative": variable(
            "pair passed scheme",
            both(cell, "{}_cumulative"),
            "growth ‖δ_l‖/‖δ_0‖ of the edit through l layers, tokens aligned",
        ),
    }


def _of_edits(cell: Cell) -> dict[str, xr.Variable]:
    return {
        "secant_edit_size": variable(
            "pair", cell.arrays["size"], "relative size of the edit, ‖δ_0‖/‖x_0‖, tokens aligned"
        ),
        "secant_overlap": variable(
            "pair", cell.arrays["overlap"], "share of aligned tokens that stand in both texts"
        ),
    }


def _points(cell: Cell, name: str) -> np.ndarray:
    return np.stack([as_complex(cell.arrays[f"{method}_{name}"]) for method in METHODS], axis=-1)


def settled_only(dataset: xr.Dataset) -> xr.Dataset:
    """Secants and growth of the solves that converged alone, NaN elsewhere: what was computed there
    is not the method's.
    """
    names = ("secant", "secant_start", "secant_growth", "secant_growth_predicted")
    known = dataset["secant_converged"]
    return dataset.assign({name: dataset[name].where(known) for name in names})


def share_damped(growth: xr.DataArray) -> Interval:
    """The share of pairs whose difference shrinks, with its 95 % interval.

    Whole clusters of pairs that were made from one original are drawn with replacement; the ends
    are Wilson's where these lie farther out. Pairs whose growth is not known are left out.

    Args:
        growth: over the dim "pair", with its coordinate "cluster".
    """
    known = np.isfinite(growth.values)
    damped, clusters = growth.values[known] < 1, growth["cluster"].values[known]
    wilson = proportion_interval(int(damped.sum()), len(damped))
    if not len(damped):
        return wilson
    weights = cluster_weights(clusters, RESAMPLES, seed=0)
    low, high = percentile_interval((weights @ damped / weights.sum(1))[1:])
    return widened(Interval(wilson.mean, low, high, wilson.n), wilson)


def shortfalls(dataset: xr.Dataset) -> Iterator[Shortfall]:
    """Pairs whose solves did not converge, and what is not finite."""
    name = "secant of an edit"
    yield from of_methods(not_converged, name, dataset["secant_converged"])
    for each, words in (
        ("secant", name),
        ("secant_start", "secant of an edit at the start"),
        ("secant_growth", "growth of an edit"),
        ("secant_growth_predicted", "predicted growth of an edit"),
    ):
        yield from of_methods(not_finite, words, dataset[each])
    through = dataset["secant_cumulative"]
    yield from of_methods(not_finite, "growth of an edit through depth", through, where="all pairs")
    yield from not_finite("size of an edit", dataset["secant_edit_size"], "all pairs")
    yield from not_finite("overlap of an edit", dataset["secant_overlap"], "all pairs")


def rows(dataset: xr.Dataset) -> list[Row]:
    """Medians of each layer, step size, method and kind of edit, and of all kinds together."""
    known = settled_only(dataset)
    kinds = known["kind"].values
    groups = {ALL_KINDS: known} | {
        kind: known.isel(pair=np.flatnonzero(kinds == kind))
        for kind in dict.fromkeys(kinds.tolist())
    }
    return [
        _row(of_kind.sel(layer=layer, step_size=h, scheme=method), kind)
        for layer in known["layer"].values.tolist()
        for h in known["step_size"].values.tolist()
        for method in METHODS
        for kind, of_kind in groups.items()
    ]


def _row(one: xr.Dataset, kind: str) -> Row:
    damped = share_damped(one["secant_growth"])
    return {
        "layer": int(one["layer"]),
        "step_size": float(one["step_size"]),
        "method": one["scheme"].item(),
        "kind": kind,
        "re": statistics(one["secant"].real, "pair"),
        "im": statistics(one["secant"].imag, "pair"),
        "growth": statistics(one["secant_growth"], "pair"),
        "growth_predicted": statistics(one["secant_growth_predicted"], "pair"),
        "damped": {"share": damped.mean, "low": damped.low, "high": damped.high, "of": damped.n},
        "originals": len(np.unique(one["cluster"].values)),
    }


def settled(dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    """The implicit solves of both texts of a pair."""
    return {"implicit solves of an edit": dataset["secant_converged"].sel(scheme="implicit")}


TERMS: tuple[tuple[str, Any], ...] = (
    (
        "Secant ζ of an edit",
        "for the states x and x̃ of a text and its edit, δ = x̃ − x and the difference Δf of the "
        "field: ζ = a + i(L² − a²)^½ with a = ⟨Δf, δ⟩/‖δ‖² and L = ‖Δf‖/‖δ‖. Nothing is "
        "linearised: an explicit Euler step multiplies ‖δ‖ by |1 + hζ| exactly, with ζ where it "
        "starts, an implicit one by 1/|1 − hζ|, with ζ where it ends. An eigenvalue tells of an "
        "infinitesimal perturbation in one direction, an edit is an average of directions: where "
        "every token keeps its place, its secant lies in the hull of the relative graphs at the "
        "states between the two texts. " + CONVENTION,
    ),
)

SECANTS = Quantity(
    name="secants",
    cell="secants",
    depths=("quick", "full"),
    dataset=dataset,
    shortfalls=shortfalls,
    plan=plan,
    measure=measure,
    stage=0,
    units={
        f"{method}_{name}": "1/h, (real, imaginary)"
        for method in METHODS
        for name in ("secant", "start")
    },
    table=("secants", rows),
    settled=settled,
    terms=TERMS,
)
