"""The cell that several quantities share: one layer on some texts, linearised once. It holds the
leading eigenvalues, and what follows from them and from single steps.
"""

from typing import TYPE_CHECKING

import numpy as np

from analysis.cells import CellPlan, Scope
from analysis.quantities import directions, growth, stability_map
from analysis.quantities.quantity import Measured

if TYPE_CHECKING:  # loads torch
    from analysis.study import Study

UNITS = {
    "advantage": "nats",
    "advantage_error": "nats",
    "solve_residual": "RMS of the state's entries",
    "logarithmic_norm": "1/h",
    "eigenvalues": "1/h, (real, imaginary)",
}


def plan(scope: Scope) -> list[CellPlan]:
    """All texts in every layer."""
    return scope.of_layers("layer", scope.texts)


def measure(study: "Study", plan: CellPlan) -> Measured:
    """Leading eigenvalues, logarithmic norm, the stability map, and for each step size worst and
    spectral growth, the solve and the advantage.
    """
    import odestab as od
    from analysis.study import to_numpy, to_pairs

    config, jacobian = study.config, study.jacobian(plan)
    generator = study.generator(plan.kind, plan.layer)
    center, work = jacobian.field.split, study.work_dtype
    leading = od.eigenvalues(
        jacobian,
        min(config.eigenvalues, min(jacobian.sizes)),
        rtol=config.rtol,
        generator=generator,
        center=center,
        work_dtype=work,
    )
    norm = od.logarithmic_norm(jacobian, config.growth_rtol, generator, work_dtype=work)
    noise = study.noise(plan, study.trace(study.texts(plan)), config.perturbations)
    steps = []
    for h in config.step_sizes:
        step = growth.one_step(study, jacobian, h)
        arrays = growth.of_step(study, jacobian, leading, step, noise)
        if config.depth == "full":
            arrays |= directions.of_step(step, jacobian)
        steps.append(arrays)
    return {}, {
        "eigenvalues": to_pairs(leading.values),
        "eigenvalue_residuals": to_numpy(leading.residuals),
        "eigenvalue_converged": to_numpy(leading.converged),
        "center": np.array([center]),
        "logarithmic_norm": to_numpy(norm.values[:, 0]),
        "logarithmic_norm_residual": to_numpy(norm.residuals[:, 0]),
        "logarithmic_norm_converged": to_numpy(norm.converged[:, 0]),
        **stability_map.of_spectrum(study, leading),
        **{name: np.stack([arrays[name] for arrays in steps], axis=1) for name in steps[0]},
    }
