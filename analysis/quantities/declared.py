"""Growth through the steps that a checkpoint declares for its layers: what its model does to a
perturbation, and what is predicted.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from analysis.cells import CellPlan, Scope, chunks
from analysis.quantities.propagation import (
    FAMILIES,
    growth_dataset,
    growths,
    solved,
    spoilt,
    where,
)
from analysis.quantities.quantity import Measured, Quantity, Shortfall, counted
from analysis.record import Run

if TYPE_CHECKING:  # loads torch
    from analysis.study import Study

PREFIX = "declared_"


def plan(scope: Scope) -> list[CellPlan]:
    """The followed texts under noise and worst directions, the attacked texts, and edits by
    kind.
    """
    attacked = chunks(list(scope.directed), scope.tokens, scope.config.chunk)
    return [
        *scope.of_texts("declared"),
        *(CellPlan("declared", chunk, perturbation="attack") for chunk in attacked),
        *scope.of_edits("declared"),
    ]


def measure(study: "Study", plan: CellPlan) -> Measured:
    """Growth of one kind of perturbation at each size through all declared steps.

    Solvers that converge are solved far below the perturbation's size, whatever tolerance they
    declare; one that stops after k iterations by design runs as declared, and its derivative is
    that of these iterations.
    """
    from analysis.walks import converges, grown, perturbations, walk_as_declared

    config = study.config
    synthetic = plan.perturbation in FAMILIES
    texts = study.texts(plan) if synthetic else tuple(config.pairs[i].original for i in plan.texts)
    sizes = config.sizes if plan.perturbation in ("gaussian", "worst") else (float("nan"),)
    walk = walk_as_declared(study, texts)
    deltas = perturbations(study, plan, walk, sizes, study.trace_declared)
    found = grown(study, walk, deltas)
    arrays = {name: found[name] for name in ("measured", "predicted", "converged", "size")}
    # What stops by design is not unsolved.
    by_design = np.array([not converges(method) for method in walk.path.methods])
    arrays["converged"] |= by_design & np.isfinite(arrays["measured"][..., 1:])
    return {}, arrays | {"sizes": np.array(sizes)}


def dataset(run: Run) -> xr.Dataset:
    """Growth of texts under synthetic perturbations and attacks, and of pairs."""
    return growth_dataset(run.of_kind("declared"), PREFIX, "")


def shortfalls(dataset: xr.Dataset) -> Iterator[Shortfall]:
    """Examples of which some solve did not converge, or whose growth is not finite though all
    did.
    """
    for growth in growths(dataset, PREFIX):
        words, at = "growth through declared steps", where(growth)
        yield from counted(words, ~solved(growth), "not converged", at)
        yield from counted(words, spoilt(growth), "not finite", at)


DECLARED = Quantity(
    name="declared",
    cell="declared",
    depths=("calibration",),
    dataset=dataset,
    shortfalls=shortfalls,
    plan=plan,
    measure=measure,
    stage=0,
)
