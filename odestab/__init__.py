"""Numerical stability of neural layers seen as steps of a differential equation.

The examples of all docstrings take `import torch` and `import odestab as od` for granted.
"""

from odestab.adjoint import (
    AbstractAdjoint,
    AdjointRecord,
    ImplicitAdjoint,
    OneStepAdjoint,
    PhantomAdjoint,
    UnrolledAdjoint,
)
from odestab.encoder_layers import (
    embedded_model_folder,
    load_classifier,
    load_encoder,
    position_limit,
    readout,
    stored_types,
    takes_padding,
    trace,
    weight_files,
)
from odestab.fields.from_anything import field
from odestab.fields.frozen_randomness import FrozenRandomness
from odestab.fields.trajectory import Trajectory
from odestab.fields.vector_field import (
    AbstractVectorField,
    LayerVectorField,
    Linearization,
    LinearVectorField,
)
from odestab.nonnormality.henrici import HenriciDeparture, henrici_departure
from odestab.nonnormality.kreiss import KreissConstant, kreiss_constant
from odestab.nonnormality.matrix_exponential import TransientGrowth, exponential, transient_growth
from odestab.nonnormality.numerical_range import NumericalRange, numerical_range
from odestab.nonnormality.pseudospectral_extrema import (
    Extremum,
    pseudospectral_abscissa,
    pseudospectral_radius,
)
from odestab.nonnormality.pseudospectrum import Pseudospectrum, pseudospectrum
from odestab.nonnormality.relative_graph import RelativeGraph, scaled_relative_graph
from odestab.nonnormality.resolvent import Resolvent, resolvent
from odestab.operators.algebra import affine, check_adjoint, compose, inverse, solve, symmetric_part
from odestab.operators.factorized_inverse import factorized_inverse
from odestab.operators.jacobian import Jacobian
from odestab.operators.linear_operator import AbstractOperator
from odestab.propagation.alignment import Alignment, align
from odestab.propagation.conditioning import Conditioning, conditioning, logit_margin
from odestab.propagation.growth import (
    AbstractPerturbation,
    EditPerturbation,
    GaussianPerturbation,
    Growth,
    WorstPerturbation,
    grow,
    grow_each,
    growth_between,
    propagate,
    scaled,
)
from odestab.propagation.lyapunov import (
    AlignmentLoss,
    LyapunovExponents,
    alignment_loss,
    lyapunov_exponents,
)
from odestab.propagation.path import Neighbour, Path, follow
from odestab.propagation.prediction import predict, worst_direction
from odestab.propagation.secants import Secant, SecantPath, secant, secants
from odestab.propagation.worst_growth import worst_growth
from odestab.solver import (
    AbstractImplicitSolver,
    Anderson,
    Auto,
    FixedPoint,
    GradientDescent,
    ImplicitEquation,
    NewtonKrylov,
    Solution,
    SolveError,
    Status,
    truncated_stability_function,
)
from odestab.spectrum import Spectrum, eigenvalues, full_spectrum, logarithmic_norm, singular_values
from odestab.spectrum.density import SpectralDensity, spectral_density
from odestab.steps.advantage import ImplicitAdvantage, damping_advantage, implicit_advantage
from odestab.steps.march import march
from odestab.steps.one_step import (
    AbstractOneStepMethod,
    ExplicitEuler,
    ImplicitEuler,
    Step,
    ThetaMethod,
)
from odestab.steps.portrait import SpectralPortrait, spectral_portrait
from odestab.steps.refinement import Refinement, frozen_refinement, refinement_control
from odestab.steps.runge_kutta import RungeKutta, runge_kutta
from odestab.steps.stability import (
    SpectralGrowth,
    StableStepSizes,
    complex_grid,
    lemniscate,
    margin,
    share_outside_lemniscate,
    spectral_growth,
    stability_region,
    stable_step_sizes,
)
from odestab.steps.step_growth import StepGrowth, step_growth

__all__ = [
    "AbstractAdjoint",
    "AbstractImplicitSolver",
    "AbstractOneStepMethod",
    "AbstractOperator",
    "AbstractPerturbation",
    "AbstractVectorField",
    "AdjointRecord",
    "Alignment",
    "AlignmentLoss",
    "Anderson",
    "Auto",
    "Conditioning",
    "EditPerturbation",
    "ExplicitEuler",
    "Extremum",
    "FixedPoint",
    "FrozenRandomness",
    "GaussianPerturbation",
    "GradientDescent",
    "Growth",
    "HenriciDeparture",
    "ImplicitAdjoint",
    "ImplicitAdvantage",
    "ImplicitEquation",
    "ImplicitEuler",
    "Jacobian",
    "KreissConstant",
    "LayerVectorField",
    "LinearVectorField",
    "Linearization",
    "LyapunovExponents",
    "Neighbour",
    "NewtonKrylov",
    "NumericalRange",
    "OneStepAdjoint",
    "Path",
    "PhantomAdjoint",
    "Pseudospectrum",
    "Refinement",
    "RelativeGraph",
    "Resolvent",
    "RungeKutta",
    "Secant",
    "SecantPath",
    "Solution",
    "SolveError",
    "SpectralDensity",
    "SpectralGrowth",
    "SpectralPortrait",
    "Spectrum",
    "StableStepSizes",
    "Status",
    "Step",
    "StepGrowth",
    "ThetaMethod",
    "Trajectory",
    "TransientGrowth",
    "UnrolledAdjoint",
    "WorstPerturbation",
    "affine",
    "align",
    "alignment_loss",
    "check_adjoint",
    "complex_grid",
    "compose",
    "conditioning",
    "damping_advantage",
    "eigenvalues",
    "embedded_model_folder",
    "exponential",
    "factorized_inverse",
    "field",
    "follow",
    "frozen_refinement",
    "full_spectrum",
    "grow",
    "grow_each",
    "growth_between",
    "henrici_departure",
    "implicit_advantage",
    "inverse",
    "kreiss_constant",
    "lemniscate",
    "load_classifier",
    "load_encoder",
    "logarithmic_norm",
    "logit_margin",
    "lyapunov_exponents",
    "march",
    "margin",
    "numerical_range",
    "position_limit",
    "predict",
    "propagate",
    "pseudospectral_abscissa",
    "pseudospectral_radius",
    "pseudospectrum",
    "readout",
    "refinement_control",
    "resolvent",
    "runge_kutta",
    "scaled",
    "scaled_relative_graph",
    "secant",
    "secants",
    "share_outside_lemniscate",
    "singular_values",
    "solve",
    "spectral_density",
    "spectral_growth",
    "spectral_portrait",
    "stability_region",
    "stable_step_sizes",
    "step_growth",
    "stored_types",
    "symmetric_part",
    "takes_padding",
    "trace",
    "transient_growth",
    "truncated_stability_function",
    "weight_files",
    "worst_direction",
    "worst_growth",
]
