"""Measure one cell: odestab over a model and some texts, numbers out."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

import odestab as od
from analysis.cells import CellPlan
from analysis.config import StudyConfig
from analysis.measure_declared import declared_cell
from analysis.measure_full import FULL, token_shares
from analysis.measure_solves import solves_cell
from analysis.record import Cell
from analysis.study import (
    Study,
    Walk,
    perturbed_rtol,
    to_numpy,
    to_pairs,
    walk_through,
    worst_direction,
)

UNITS = {
    "advantage": "nats",
    "advantage_error": "nats",
    "solve_residual": "RMS of the state's entries",
    "logarithmic_norm": "1/h",
    "eigenvalues": "1/h, (real, imaginary)",
    "spectrum": "1/h, (real, imaginary)",
}


def measure(study: Study, plan: CellPlan) -> Cell:
    """Measure one cell."""
    kinds = {
        "layer": layer_cell,
        "dense": dense_cell,
        "propagation": propagation_cell,
        "regions": regions_cell,
        "truncated": truncated_cell,
        "solves": solves_cell,
        "declared": declared_cell,
        **FULL,
    }
    extra, arrays = kinds[plan.kind](study, plan)
    units = {name: UNITS.get(name, "1") for name in arrays}
    header = {**plan.header(), **extra, "units": units, "seed": study.config.seed, **study.known_by}
    return Cell(plan.name, header, arrays)


def layer_cell(study: Study, plan: CellPlan) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Leading eigenvalues, logarithmic norm, and for each step size worst and spectral growth, the
    solve and the advantage.
    """
    config, layer = study.config, plan.layer
    assert layer is not None
    trajectory = study.trace(tuple(config.texts[i] for i in plan.texts))
    field, x = trajectory.fields[layer], trajectory.states[layer]
    jacobian, generator = od.Jacobian(field, x), study.generator(plan.kind, layer)
    center = field.split
    k, work = min(config.eigenvalues, min(jacobian.sizes)), study.work_dtype
    leading = od.eigenvalues(
        jacobian, k, rtol=config.rtol, generator=generator, center=center, work_dtype=work
    )
    norm = od.logarithmic_norm(jacobian, config.growth_rtol, generator, work_dtype=work)
    arrays = {
        "eigenvalues": to_pairs(leading.values),
        "eigenvalue_residuals": to_numpy(leading.residuals),
        "eigenvalue_converged": to_numpy(leading.converged),
        "center": np.array([center]),
        "logarithmic_norm": to_numpy(norm.values[:, 0]),
        "logarithmic_norm_residual": to_numpy(norm.residuals[:, 0]),
        "logarithmic_norm_converged": to_numpy(norm.converged[:, 0]),
        **_stability_map(study, leading),
    }
    noise = study.noise(plan, trajectory, config.perturbations)
    steps = [_one_step_size(study, jacobian, leading, h, noise) for h in config.step_sizes]
    return {}, arrays | {
        name: np.stack([step[name] for step in steps], axis=1) for name in steps[0]
    }


def _one_step_size(
    study: Study, jacobian: od.Jacobian, leading: od.Spectrum, h: float, noise: Tensor
) -> dict[str, np.ndarray]:
    """Everything about one step of size h."""
    config, field, x = study.config, jacobian.field, jacobian.x
    method = study.implicit(h)
    with torch.no_grad():
        step = method.step(field, x)
    solution = step.solution
    assert solution is not None
    explicit, implicit = (
        od.affine(jacobian, 1.0, h),
        od.affine(od.Jacobian(field, step.state), 1.0, -h),
    )
    worst = {
        "explicit": od.singular_values(
            explicit, 1, "LM", config.growth_rtol, work_dtype=study.work_dtype
        ),
        "implicit": od.singular_values(
            od.inverse(implicit), 1, "LM", config.growth_rtol, work_dtype=study.work_dtype
        ),
    }
    work = study.work_dtype
    advantage = od.damping_advantage(
        explicit.cast(work), implicit.cast(work), noise.to(work), solution.converged, 1e-4
    )
    found = {
        "solve_status": to_numpy(solution.status),
        "solve_residual": to_numpy(solution.residual),
        "solve_evaluations": to_numpy(solution.evaluations),
        "advantage": to_numpy(advantage.mean),
        "advantage_error": to_numpy(advantage.standard_error),
    }
    for name, one_step in (("explicit", od.ExplicitEuler(h)), ("implicit", method)):
        growth = od.spectral_growth(one_step, leading)
        found |= {
            f"{name}_spectral": to_numpy(growth.value),
            f"{name}_certain": to_numpy(growth.certain),
        }
        sigma = worst[name]
        solved = sigma.converged[:, 0] & (solution.converged if name == "implicit" else True)
        found |= {
            f"{name}_worst": to_numpy(sigma.values[:, 0]),
            f"{name}_worst_residual": to_numpy(sigma.residuals[:, 0]),
        }
        found |= {f"{name}_worst_converged": to_numpy(solved)}
        if config.depth == "full":
            sides = (("entering", sigma.right), ("leaving", sigma.left))
            found |= {
                f"{name}_{side}": token_shares(directions, jacobian.mask)
                for side, directions in sides
            }
    return found


def _stability_map(study: Study, leading: od.Spectrum) -> dict[str, np.ndarray]:
    """max |R(hλ)| over the map's step sizes from the leading eigenvalues."""
    steps = torch.tensor(study.config.map_step_sizes, dtype=torch.float64)
    found: dict[str, np.ndarray] = {}
    for name, method in (("explicit", od.ExplicitEuler()), ("implicit", od.ImplicitEuler())):
        stable = od.stable_step_sizes(method, leading, steps)
        found |= {
            f"{name}_map": to_numpy(stable.growth),
            f"{name}_map_certain": to_numpy(stable.certain),
        }
    return found


def dense_cell(study: Study, plan: CellPlan) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The full spectrum of one layer on one short text, and its share outside the lemniscate at
    each step size.
    """
    config, layer = study.config, plan.layer
    assert layer is not None
    trajectory = study.trace(tuple(config.texts[i] for i in plan.texts))
    spectrum = od.full_spectrum(
        od.Jacobian(trajectory.fields[layer], trajectory.states[layer]), config.dense_limit
    )
    shares = [
        od.share_outside_lemniscate(spectrum, h, bulk=trajectory.fields[layer].split)
        for h in config.step_sizes
    ]
    return {}, {
        "spectrum": to_pairs(spectrum.values[0]),
        "spectrum_residuals": to_numpy(spectrum.residuals[0]),
        "outside": np.array([float(share[0]) for share, _ in shares]),
        "bulk": to_numpy(shares[0][1]),
    }


def propagation_cell(study: Study, plan: CellPlan) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Growth of one direction of perturbation at each size through all layers, explicit and
    implicit, measured and predicted.
    """
    assert plan.step_size is not None
    if plan.perturbation in ("gaussian", "worst"):
        texts = tuple(study.config.texts[i] for i in plan.texts)
    else:
        texts = tuple(study.config.pairs[i].original for i in plan.texts)
    growths = []
    for method in ("explicit", "implicit"):
        walk = walk_through(study, texts, method, plan.step_size)
        deltas = _deltas(study, plan, walk)
        predicted = od.predict(
            deltas[0], walk.derivatives
        )  # of one direction: its size does not matter
        growths.append(
            [
                od.grow(walk.path, delta, predicted, _loosened(study, walk.path, delta))
                for delta in deltas
            ]
        )
    names = ("measured", "predicted", "relative", "converged", "size")
    arrays = {
        name: np.stack(
            [np.stack([to_numpy(getattr(growth, name)) for growth in row]) for row in growths]
        )
        for name in names
    }
    return {}, arrays | {"sizes": np.array(_sizes(study.config, plan.perturbation))}


def _loosened(study: Study, path: od.Path, delta: Tensor) -> od.ImplicitEuler | None:
    """Implicit Euler solved as a perturbation asks for; None for explicit steps."""
    method = path.methods[0]
    if not isinstance(method, od.ImplicitEuler):
        return None
    return study.implicit(float(method.step_size), perturbed_rtol(path, delta))


def _sizes(config: StudyConfig, perturbation: str | None) -> tuple[float, ...]:
    """The relative sizes at which a kind of perturbation is applied; NaN where the edit decides."""
    return {"gaussian": config.sizes, "worst": config.sizes[:1]}.get(
        perturbation or "", (float("nan"),)
    )


def _deltas(study: Study, plan: CellPlan, walk: Walk) -> list[Tensor]:
    """The perturbations of a cell: one per size."""
    config, x = study.config, walk.path.states[0]
    if plan.perturbation == "gaussian":
        (noise,) = study.noise(plan, walk.path.trajectory, 1)
        return [od.scaled(noise, x, size) for size in config.sizes]
    if plan.perturbation == "worst":
        return [od.scaled(worst_direction(study, plan.kind, walk), x, config.sizes[0])]
    edited = study.trace(tuple(config.pairs[i].edited for i in plan.texts))
    return [od.EditPerturbation(edited.states[0]).delta(walk.path)]


def regions_cell(study: Study, plan: CellPlan) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """|R(z)| of both methods, of solvers stopped after k iterations, and |1 − z²|, on one grid of z
    = hλ.
    """
    h, k = plan.step_size, study.config.truncated_steps
    assert h is not None
    reach = max(1.0, h)
    re = torch.linspace(-4 * reach, 4 * reach, 321, dtype=torch.float64)
    im = torch.linspace(-3 * reach, 3 * reach, 241, dtype=torch.float64)
    z = od.complex_grid(re, im)
    split = -1.0 if study.config.field == "increment" else 0.0
    descent = od.GradientDescent(steps=k)
    regions = {
        ("explicit", "explicit Euler"): od.stability_region(od.ExplicitEuler(h), re, im),
        ("implicit", "implicit Euler"): od.stability_region(od.ImplicitEuler(h), re, im),
        ("truncated", f"fixed point, k = {k}"): od.truncated_stability_function(
            od.FixedPoint(), z, h, k, split=split
        ).abs(),
        (
            "truncated",
            f"gradient descent, k = {k}, η = {descent.step_size:g}",
        ): od.truncated_stability_function(descent, z, h, k).abs(),
        ("lemniscate", "|1 − z²| = 1"): od.lemniscate(z),
    }
    header = {"regions": [[name, label, h] for name, label in regions]}
    return header, {
        "re": to_numpy(re),
        "im": to_numpy(im),
        "amplification": np.stack([to_numpy(a) for a in regions.values()]),
    }


def truncated_cell(study: Study, plan: CellPlan) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """|R_k(z)| of solvers stopped after k iterations at every step size of the map, for Im z ≥ 0:
    it is symmetric.
    """
    k, steps = study.config.truncated_steps, study.config.map_step_sizes
    re, im = (
        torch.linspace(-4, 4, 121, dtype=torch.float64),
        torch.linspace(0, 3, 46, dtype=torch.float64),
    )
    z, split = od.complex_grid(re, im), -1.0 if study.config.field == "increment" else 0.0
    descent = od.GradientDescent(steps=k)
    fixed_point = torch.stack(
        [
            od.truncated_stability_function(od.FixedPoint(), z, h, k, split=split).abs()
            for h in steps
        ]
    )
    labels = [f"fixed point, k = {k}", f"gradient descent, k = {k}, η = {descent.step_size:g}"]
    both = torch.stack(
        [
            fixed_point,
            od.truncated_stability_function(descent, z, 1.0, k).abs().expand_as(fixed_point),
        ]
    )
    return {"labels": labels}, {
        "re": to_numpy(re),
        "im": to_numpy(im),
        "amplification": to_numpy(both.float()),
    }
