"""Measure the cells of a run of full depth: non-normality, spectral densities, halves of layers,
step-size refinement, exponents.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

import odestab as od
from analysis.cells import CellPlan
from analysis.study import Study, to_numpy, to_pairs, walk_through

EPSILONS = (1e-1,)
RANGE_ANGLES = {"exact": 64, "bounds": 16}
HALVES = ("attention", "feed_forward")
PARTS = (1, 2, 4)
SINGULAR_VALUES, SYMMETRIC = (
    torch.linspace(0.02, 20, 400),
    torch.linspace(-12, 10, 441),
)  # what lies beyond the grids is not drawn
EXPONENTS = 4

Measured = tuple[dict[str, Any], dict[str, np.ndarray]]


def token_shares(directions: Tensor | None, mask: Tensor | None) -> np.ndarray:
    """The share of a leading direction's squared norm on each token, `(batch, tokens)`; NaN on
    padding.
    """
    assert directions is not None and mask is not None
    shares = directions[:, 0].square().sum(-1)
    return to_numpy((shares / shares.sum(1, keepdim=True)).masked_fill(~mask, torch.nan))


def nonnormality_cell(study: Study, plan: CellPlan) -> Measured:
    """From one short text's dense matrix: pseudospectra, numerical range, departure from normality,
    Kreiss constant.
    """
    jacobian = _jacobian(study, plan)
    boundary = od.numerical_range(jacobian, RANGE_ANGLES["exact"], study.config.rtol).boundary
    re, im = _frame(boundary[0])
    own, stepped = (
        od.resolvent(jacobian, "dense"),
        od.resolvent(od.affine(jacobian, 1.0, 1.0), "dense"),
    )
    pseudospectrum = od.pseudospectrum(
        jacobian, od.complex_grid(re, im), "dense", rtol=study.config.rtol, prepared=own
    )
    departure = od.henrici_departure(jacobian)
    abscissae = [
        od.pseudospectral_abscissa(jacobian, epsilon, prepared=own) for epsilon in EPSILONS
    ]
    radii = [
        od.pseudospectral_radius(stepped.operator, epsilon, prepared=stepped)
        for epsilon in EPSILONS
    ]
    kreiss = od.kreiss_constant(stepped.operator, prepared=stepped)
    header = {
        "extremum_kind": abscissae[0].kind,
        "kreiss_kind": kreiss.kind,
        "pseudospectrum_kind": pseudospectrum.kind,
    }
    return header, {
        "re": to_numpy(re),
        "im": to_numpy(im),
        "sigma_min": to_numpy(pseudospectrum.sigma_min[0]),
        "boundary": to_pairs(boundary[0]),
        "frobenius": to_numpy(departure.frobenius),
        "henrici": to_numpy(departure.value),
        "epsilons": np.array(EPSILONS),
        "pseudospectral_abscissa": np.array([float(one.value[0]) for one in abscissae]),
        "pseudospectral_radius": np.array([float(one.value[0]) for one in radii]),
        "kreiss": to_numpy(kreiss.value),
        "kreiss_scale": to_numpy(kreiss.scale),
    }


def bounds_cell(study: Study, plan: CellPlan) -> Measured:
    """Inner bounds of the pseudospectra of longer texts from a Krylov space, points of their
    numerical range, a bound of the departure.
    """
    jacobian = _jacobian(study, plan)
    generator = study.generator(plan.kind, plan.layer)
    found = od.numerical_range(
        jacobian, RANGE_ANGLES["bounds"], study.config.growth_rtol, generator
    )
    re = torch.linspace(-6, 5, 45, dtype=torch.float64)
    im = torch.linspace(0, 5, 21, dtype=torch.float64)
    projected = od.pseudospectrum(
        jacobian, od.complex_grid(re, im), "projected", steps=40, generator=generator
    )
    departure = od.henrici_departure(jacobian, limit=0, generator=generator)
    return {}, {
        "re": to_numpy(re),
        "im": to_numpy(im),
        "sigma_min": to_numpy(projected.sigma_min),
        "boundary": to_pairs(found.boundary),
        "converged": to_numpy(found.converged),
        "henrici_bound": to_numpy(departure.value / departure.frobenius),
    }


def density_cell(study: Study, plan: CellPlan) -> Measured:
    """Spectral densities of ∂Fᵀ∂F and of the symmetric part of J, with their standard errors over
    probes.
    """
    jacobian = _jacobian(study, plan)
    arrays: dict[str, np.ndarray] = {}
    for of, operator, grid in (
        ("singular", od.affine(jacobian, 1.0, 1.0), SINGULAR_VALUES),
        ("symmetric", jacobian, SYMMETRIC),
    ):
        points, generator = grid.to(study.work_dtype), study.generator(plan.kind, plan.layer, of)
        options: dict[str, Any] = {
            "probes": 6,
            "steps": 60,
            "points": points,
            "width": 0.12,
            "generator": generator,
        }
        found = od.spectral_density(operator.cast(study.work_dtype), of, **options)
        name, slope = (
            ("gram", 2 * points) if of == "singular" else (of, torch.ones_like(points))
        )  # per unit of σ²: p(σ)/2σ
        arrays |= {f"{name}_points": to_numpy(points**2 if of == "singular" else points)}
        arrays |= {
            f"{name}_density": to_numpy(found.density / slope),
            f"{name}_error": to_numpy(found.error / slope),
        }
    return {}, arrays


def sublayers_cell(study: Study, plan: CellPlan) -> Measured:
    """Logarithmic norm and worst growth of the attention half and of the feed-forward half, each
    taken as a layer.
    """
    config, layer = study.config, plan.layer
    assert layer is not None
    trajectory = study.trace_halves(tuple(config.texts[i] for i in plan.texts))
    arrays: dict[str, np.ndarray] = {}
    for half, l in zip(HALVES, (2 * layer, 2 * layer + 1), strict=True):
        field, x = trajectory.fields[l], trajectory.states[l]
        norm = od.logarithmic_norm(
            od.Jacobian(field, x), config.growth_rtol, work_dtype=study.work_dtype
        )
        arrays |= {f"{half}_logarithmic_norm": to_numpy(norm.values[:, 0])}
        arrays |= {f"{half}_logarithmic_norm_converged": to_numpy(norm.converged[:, 0])}
        for name in ("explicit", "implicit"):
            methods = [
                study.implicit(h) if name == "implicit" else od.ExplicitEuler(h)
                for h in config.step_sizes
            ]
            worst = [
                od.worst_growth(method, field, x, config.growth_rtol, work_dtype=study.work_dtype)
                for method in methods
            ]
            arrays |= {
                f"{half}_{name}_worst": np.stack(
                    [to_numpy(one.values[:, 0]) for one in worst], axis=1
                )
            }
            arrays |= {
                f"{half}_{name}_converged": np.stack(
                    [to_numpy(one.converged[:, 0]) for one in worst], axis=1
                )
            }
    return {}, arrays


def refinement_cell(study: Study, plan: CellPlan) -> Measured:
    """Worst growth of one step of h, two of h/2, four of h/4 by either method, beside the flow of
    the linearised field.
    """
    jacobian, rtol, work = _jacobian(study, plan), study.config.growth_rtol, study.work_dtype
    found = [
        od.refinement_control(jacobian.field, jacobian.x, h, PARTS, rtol, work_dtype=work)
        for h in study.config.step_sizes
    ]
    names = ("explicit", "implicit", "flow", "explicit_converged", "implicit_converged")
    arrays = {
        name: np.stack([to_numpy(getattr(one, name)) for one in found], axis=1) for name in names
    }
    return {}, arrays | {"parts": np.array(PARTS)}


def exponents_cell(study: Study, plan: CellPlan) -> Measured:
    """The largest finite-time Lyapunov exponents of the stack under either method."""
    assert plan.step_size is not None
    texts = tuple(study.config.texts[i] for i in plan.texts)
    arrays: dict[str, np.ndarray] = {}
    for name in ("explicit", "implicit"):
        path = walk_through(study, texts, name, plan.step_size).path
        found = od.lyapunov_exponents(
            path, EXPONENTS, rtol=study.config.growth_rtol, work_dtype=study.work_dtype
        )
        arrays |= {
            f"{name}_exponents": to_numpy(found.values),
            f"{name}_converged": to_numpy(found.converged),
        }
    return {}, arrays


def _jacobian(study: Study, plan: CellPlan) -> od.Jacobian:
    assert plan.layer is not None
    trajectory = study.trace(tuple(study.config.texts[i] for i in plan.texts))
    return od.Jacobian(trajectory.fields[plan.layer], trajectory.states[plan.layer])


def _frame(boundary: Tensor) -> tuple[Tensor, Tensor]:
    """A grid of the upper half plane around a numerical range, finer about the discs of
    stability.
    """
    margin = 0.3
    low, high, top = (
        float(edge)
        for edge in (
            boundary.real.min() - margin,
            boundary.real.max() + margin,
            boundary.imag.max() + margin,
        )
    )
    top = max(top, 2.6)
    re = torch.cat([torch.linspace(low, high, 25), torch.linspace(-2.6, 2.6, 41)])
    im = torch.cat([torch.linspace(0, top, 13), torch.linspace(0, 1.6, 17)])
    return re.double().unique(), im.double().unique()


FULL: dict[str, Any] = {
    "nonnormality": nonnormality_cell,
    "bounds": bounds_cell,
    "density": density_cell,
    "sublayers": sublayers_cell,
    "refinement": refinement_cell,
    "exponents": exponents_cell,
}
