"""The scaled relative graph of every layer's Jacobian: where the secants of small perturbations
lie, and on its boundary worst growth at every step size.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from analysis.cells import CellPlan, Scope
from analysis.quantities.labelled import as_complex, flag, joined, statistics, variable
from analysis.quantities.quantity import (
    Measured,
    Quantity,
    Row,
    Shortfall,
    not_converged,
    not_finite,
)
from analysis.record import Cell, Run

if TYPE_CHECKING:  # loads torch
    from analysis.study import Study

CIRCLES = ("outer", "inner")
NAME = "scaled relative graph"
GRID = 31  # centres beside those of the discs
SCALE = 2.0  # half of the grid's centres lie within it


def plan(scope: Scope) -> list[CellPlan]:
    """In every layer one text of median length, in full depth all followed texts.

    Of one text it costs about a seventh of the layer's cell of eight texts, of these eight up to
    3.5 of it.
    """
    if scope.config.depth == "full":
        return scope.of_layers("relative_graph", scope.followed)
    followed = range(len(scope.tokens))[: scope.config.propagated]
    return scope.of_layers("relative_graph", [(of_median_length(followed, scope.tokens),)])


def of_median_length(texts: Sequence[int], tokens: Sequence[int]) -> int:
    """Which of the texts stands in the middle by its number of tokens."""
    ordered = sorted(texts, key=lambda i: (tokens[i], i))
    return ordered[len(ordered) // 2]


def centres(step_sizes: Sequence[float]) -> np.ndarray:
    """Real centres of circles, ascending: of the discs of both methods, −1/h and 1/h, whose circles
    are worst growth, and a grid that is dense where these are at h = 1.
    """
    grid = SCALE * np.tan(np.linspace(-np.pi / 2, np.pi / 2, GRID + 2)[1:-1])
    discs = 1 / np.array(step_sizes)
    return np.unique(np.concatenate([grid, -discs, discs]))


def measure(study: "Study", plan: CellPlan) -> Measured:
    """Outer and inner circles about real centres, the boundary, and the explicit step's worst
    growth.
    """
    import torch

    import odestab as od
    from analysis.study import to_numpy, to_pairs

    graph = od.scaled_relative_graph(
        study.jacobian(plan),
        torch.from_numpy(centres(study.config.step_sizes)),
        rtol=study.config.growth_rtol,
        generator=study.generator(plan.kind, plan.layer),
    )
    products = graph.products  # without those of the growth that follows
    methods = [od.ExplicitEuler(h) for h in study.config.step_sizes]
    growth = [to_numpy(graph.worst_growth(method)) for method in methods]
    return {}, {
        "centres": to_numpy(graph.centres[0]),
        "boundary": to_pairs(graph.boundary()),
        "growth": np.stack(growth, axis=1),
        "products": np.array([products]),
        **{
            f"{circle}{part}": to_numpy(getattr(graph, f"{circle}{part}"))
            for circle in CIRCLES
            for part in ("", "_residuals", "_converged")
        },
    }


def dataset(run: Run) -> xr.Dataset:
    """The graph of each layer and text."""
    return joined(run.of_kind("relative_graph"), functools.partial(_of_cell, run), "layer")


def _of_cell(run: Run, cell: Cell) -> xr.Dataset:
    arrays, texts = cell.arrays, cell.header["texts"]
    variables = {
        "relative_graph_products": variable(
            "text",
            np.repeat(arrays["products"], len(texts)),
            "products with J or its transpose that the graphs of a batch took",
        ),
        "relative_graph_boundary": variable(
            "text boundary_point",
            as_complex(arrays["boundary"]),
            "upper boundary of the scaled relative graph of J, once around",
            "1/h",
        ),
        "relative_graph_growth": variable(
            "text step_size", arrays["growth"], "max |1 + hz| over the graph: ‖I + hJ‖₂"
        ),
    }
    for circle, words in (("outer", "max |z − c|, σ_max"), ("inner", "min |z − c|, σ_min")):
        name = f"relative_graph_{circle}"
        variables |= {
            name: variable("text centre", arrays[circle], f"{words}(J − cI)", "1/h"),
            f"{name}_residual": variable(
                "text centre",
                arrays[f"{circle}_residuals"],
                f"residual of the {circle} circle's singular value",
                "1/h",
            ),
            f"{name}_converged": flag(
                "text centre",
                arrays[f"{circle}_converged"],
                "its residual is within tolerance, or too small to be seen",
            ),
        }
    coords = {
        "text": texts,
        "step_size": run.config["step_sizes"],
        "centre": variable("centre", arrays["centres"], "centre c of the circles", "1/h"),
    }
    return xr.Dataset(variables, coords=coords)


def shortfalls(dataset: xr.Dataset) -> Iterator[Shortfall]:
    """Circles that did not converge, and what is not finite."""
    for circle in CIRCLES:
        name, words = f"relative_graph_{circle}", f"{NAME}, {circle} circles"
        yield from not_converged(words, dataset[f"{name}_converged"])
        yield from not_finite(words, dataset[name])
        yield from not_finite(f"residuals of the {words}", dataset[f"{name}_residual"])
    boundary = dataset["relative_graph_boundary"].sum("boundary_point", skipna=False)
    yield from not_finite(f"{NAME}, boundary", boundary)
    yield from not_finite(f"{NAME}, worst growth", dataset["relative_graph_growth"])


def rows(dataset: xr.Dataset) -> list[Row]:
    """How far the graph of each layer reaches, and the growth that is read off it."""
    boundary = dataset["relative_graph_boundary"]
    reach = {
        "left": boundary.real.min("boundary_point", skipna=False),
        "right": boundary.real.max("boundary_point", skipna=False),
        "height": boundary.imag.max("boundary_point", skipna=False),
    }
    growth = dataset["relative_graph_growth"].transpose("layer", "text", "step_size")
    return [
        {
            "layer": layer,
            **{name: statistics(values.sel(layer=layer)) for name, values in reach.items()},
            "step_sizes": dataset["step_size"].values,
            "explicit_worst_growth": statistics(growth.sel(layer=layer)),
            "texts": dataset["text"].values.tolist(),
            "products": int(dataset["relative_graph_products"].sel(layer=layer).max()),
        }
        for layer in dataset["layer"].values.tolist()
    ]


def settled(dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    """The circles of either kind."""
    return {
        f"{circle} circles of relative graphs": dataset[f"relative_graph_{circle}_converged"]
        for circle in CIRCLES
    }


RELATIVE_GRAPH = Quantity(
    name="relative_graph",
    cell="relative_graph",
    depths=("quick", "full"),
    dataset=dataset,
    shortfalls=shortfalls,
    plan=plan,
    measure=measure,
    units={
        "boundary": "1/h, (real, imaginary)",
        "centres": "1/h",
        **dict.fromkeys(CIRCLES, "1/h"),
        **{f"{circle}_residuals": "1/h" for circle in CIRCLES},
    },
    table=("relative_graphs", rows),
    settled=settled,
    terms=(
        (
            "Scaled relative graph",
            "all a ± i(L² − a²)^½ with a = ⟨Jδ, δ⟩ and L = ‖Jδ‖ over unit perturbations δ: where "
            "the secant of a small perturbation may lie. It holds every eigenvalue, and on its "
            "boundary worst growth: the explicit step's is max |1 + hz| over it, the implicit "
            "one's 1/min |1 − hz|, at every h.",
        ),
    ),
)
