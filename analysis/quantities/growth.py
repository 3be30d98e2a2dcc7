"""One step of every layer at every step size: worst and spectral growth, the logarithmic norm, the
implicit solve, and which step damps random perturbations more.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from analysis.quantities.labelled import METHODS, both, finite, flag, joined, statistics, variable
from analysis.quantities.quantity import (
    Quantity,
    Row,
    Shortfall,
    counted,
    not_converged,
    not_finite,
    of_methods,
)
from analysis.record import Cell, Run

if TYPE_CHECKING:  # loads torch
    from torch import Tensor

    import odestab as od
    from analysis.study import Study

WORST, SPECTRAL, NORM = "worst growth", "spectral growth", "logarithmic norm μ₂"


@dataclasses.dataclass(frozen=True, eq=False)
class OneStep:
    """One step of size h by either method, with the singular values of its derivative.

    Attributes:
        step_size: h.
        implicit: the method.
        solution: of the implicit equation.
        resolved: I − hJ(y), whose inverse is the implicit step's derivative.
        explicit: I + hJ(x).
        worst: by method.
    """

    step_size: float
    implicit: "od.ImplicitEuler"
    solution: "od.Solution"
    resolved: "od.AbstractOperator"
    explicit: "od.AbstractOperator"
    worst: "dict[str, od.Spectrum]"


def one_step(study: "Study", jacobian: "od.Jacobian", h: float) -> OneStep:
    """Take both steps, and find the singular value that each stretches most."""
    import torch

    import odestab as od

    method = study.implicit(h)
    with torch.no_grad():
        step = method.step(jacobian.field, jacobian.x)
    assert step.solution is not None
    explicit = od.affine(jacobian, 1.0, h)
    resolved = od.affine(od.Jacobian(jacobian.field, step.state), 1.0, -h)
    rtol, work = study.config.growth_rtol, study.work_dtype
    worst = {
        "explicit": od.singular_values(explicit, 1, "LM", rtol, work_dtype=work),
        "implicit": od.singular_values(od.inverse(resolved), 1, "LM", rtol, work_dtype=work),
    }
    return OneStep(h, method, step.solution, resolved, explicit, worst)


def of_step(
    study: "Study",
    jacobian: "od.Jacobian",
    leading: "od.Spectrum",
    step: OneStep,
    noise: "Tensor",
) -> dict[str, np.ndarray]:
    """The arrays of one step size in a layer's cell."""
    import odestab as od
    from analysis.study import to_numpy

    work, solution = study.work_dtype, step.solution
    advantage = od.damping_advantage(
        step.explicit.cast(work),
        step.resolved.cast(work),
        noise.to(work),
        solution.converged,
        1e-4,
    )
    found = {
        "solve_status": to_numpy(solution.status),
        "solve_residual": to_numpy(solution.residual),
        "solve_evaluations": to_numpy(solution.evaluations),
        "advantage": to_numpy(advantage.mean),
        "advantage_error": to_numpy(advantage.standard_error),
    }
    methods = {"explicit": od.ExplicitEuler(step.step_size), "implicit": step.implicit}
    for name, method in methods.items():
        growth, sigma = od.spectral_growth(method, leading), step.worst[name]
        solved = sigma.converged[:, 0]
        if name == "implicit":  # a derivative at a point that is no solution is not the step's
            solved = solved & solution.converged
        found |= {
            f"{name}_spectral": to_numpy(growth.value),
            f"{name}_certain": to_numpy(growth.certain),
            f"{name}_worst": to_numpy(sigma.values[:, 0]),
            f"{name}_worst_residual": to_numpy(sigma.residuals[:, 0]),
            f"{name}_worst_converged": to_numpy(solved),
        }
    return found


def dataset(run: Run) -> xr.Dataset:
    """Growth of each layer and text over one step of each size by each method."""
    return joined(run.of_kind("layer"), functools.partial(_of_cell, run), "layer")


def _of_cell(run: Run, cell: Cell) -> xr.Dataset:
    arrays, steps = cell.arrays, "text step_size"
    names = run.config.get("status_names") or ["CONVERGED"]
    return xr.Dataset(
        {
            "logarithmic_norm": variable(
                "text", arrays["logarithmic_norm"], "logarithmic norm μ₂(J)", "1/h"
            ),
            "logarithmic_norm_converged": flag(
                "text", arrays["logarithmic_norm_converged"], "its residual is within tolerance"
            ),
            "worst_growth": variable(
                f"{steps} scheme", both(cell, "{}_worst"), "‖derivative of the step‖₂"
            ),
            "worst_growth_converged": flag(
                f"{steps} scheme",
                both(cell, "{}_worst_converged"),
                "the singular value and the step's solve converged",
            ),
            "spectral_growth": variable(
                f"{steps} scheme", both(cell, "{}_spectral"), "max |R(hλ)| over the eigenvalues λ"
            ),
            "spectral_growth_certain": flag(
                f"{steps} scheme",
                both(cell, "{}_certain"),
                "the leading eigenvalues settle the maximum, else it is a lower bound",
            ),
            "solve_status": variable(
                steps,
                arrays["solve_status"],
                "how the implicit solve ended",
                flag_values=list(range(len(names))),
                flag_meanings=" ".join(names),
            ),
            "solve_residual": variable(
                steps,
                arrays["solve_residual"],
                "RMS(y − x − hf(y)) where the solve stopped",
                "RMS of the state's entries",
            ),
            "solve_evaluations": variable(
                steps, arrays["solve_evaluations"], "evaluations of f by the implicit solve"
            ),
            "advantage": variable(
                steps, arrays["advantage"], "mean of log(‖Eδ‖/‖M⁻¹δ‖) over random δ", "nats"
            ),
            "advantage_error": variable(
                steps, arrays["advantage_error"], "standard error of the advantage", "nats"
            ),
        },
        coords={
            "text": cell.header["texts"],
            "step_size": run.config["step_sizes"],
            "scheme": list(METHODS),
        },
    )


def shortfalls(dataset: xr.Dataset) -> Iterator[Shortfall]:
    """What did not converge, is a lower bound or is not finite in some text."""
    yield from not_converged(NORM, dataset["logarithmic_norm_converged"])
    yield from not_finite(NORM, dataset["logarithmic_norm"])
    yield from of_methods(not_converged, WORST, dataset["worst_growth_converged"])
    yield from of_methods(not_finite, WORST, dataset["worst_growth"])
    uncertain = ~dataset["spectral_growth_certain"]
    yield from of_methods(counted, SPECTRAL, uncertain, "only a lower bound")
    yield from of_methods(not_finite, SPECTRAL, dataset["spectral_growth"])
    status = dataset["solve_status"]
    for code in np.unique(status.values[status.values != 0]).tolist():
        yield from counted("implicit solve", status == code, status_name(status, code))
    yield from not_finite("implicit solve", status.astype(float))
    yield from not_finite("residual of the implicit solve", dataset["solve_residual"])
    yield from not_finite("evaluations of the implicit solve", dataset["solve_evaluations"])
    yield from not_finite("implicit advantage", dataset["advantage"])
    # Of a single perturbation there is no standard error, and the advantage decides nothing.
    yield from not_finite("standard error of the implicit advantage", dataset["advantage_error"])


def status_name(status: xr.DataArray, code: float) -> str:
    """The name of a solver's status; 0 is always convergence."""
    names = str(status.attrs["flag_meanings"]).split(" ")
    return names[int(code)] if 0 <= code < len(names) else f"status {code:g}"


def rows(dataset: xr.Dataset) -> list[Row]:
    """Statistics over texts of each layer and step size."""
    return [
        _row(dataset.sel(layer=layer, step_size=h), layer, h)
        for layer in dataset["layer"].values.tolist()
        for h in dataset["step_size"].values.tolist()
    ]


def _row(one: xr.Dataset, layer: int, step_size: float) -> Row:
    row: Row = {
        "layer": layer,
        "step_size": step_size,
        "logarithmic_norm": statistics(one["logarithmic_norm"]),
        "implicit_advantage": statistics(one["advantage"]),
        "solve_evaluations": statistics(one["solve_evaluations"]),
    }
    for method in METHODS:
        of_method = one.sel(scheme=method)
        certain = of_method["spectral_growth_certain"] & finite(of_method["spectral_growth"])
        row[f"{method}_worst_growth"] = statistics(of_method["worst_growth"])
        row[f"{method}_spectral_growth"] = statistics(of_method["spectral_growth"])
        row[f"{method}_spectral_growth_settled"] = int(certain.sum())
    return row


def settled(dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    """Solves, singular values, and the logarithmic norm, which no step size changes."""
    worst = dataset["worst_growth_converged"]
    return {
        "implicit solve of a step": dataset["solve_status"] == 0,
        "logarithmic norm": dataset["logarithmic_norm_converged"],
        **{f"{method} worst growth": worst.sel(scheme=method) for method in METHODS},
    }


GROWTH = Quantity(
    name="growth",
    cell="layer",
    depths=("quick", "full", "prediction"),
    dataset=dataset,
    shortfalls=shortfalls,
    table=("layers", rows),
    settled=settled,
    terms=(
        (
            "Worst growth",
            "the largest factor by which one step can stretch a small "
            "perturbation: the largest singular value of its derivative.",
        ),
        (
            "Spectral growth",
            "max |R(hλ)| over the eigenvalues λ of the Jacobian J = ∂f/∂x. "
            "The margin is 1 minus it; negative means unstable.",
        ),
        (
            "Logarithmic norm μ₂(J)",
            "the largest eigenvalue of (J + Jᵀ)/2. Where hμ₂ < 1 holds on all "
            "of the space, or on a large enough ball about x, "
            "the implicit step exists, is unique and is Lipschitz with constant "
            "1/(1 − hμ₂). Here it is measured at the states of the texts.",
        ),
        (
            "Implicit advantage",
            "the mean of log(‖Eδ‖/‖M⁻¹δ‖) over random perturbations "
            "δ. Positive: the implicit step damps more. "
            "An eigenvalue is damped more by the implicit step "
            "exactly outside the lemniscate |z² − 1| = 1.",
        ),
    ),
)
