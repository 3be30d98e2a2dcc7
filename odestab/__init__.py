"""Numerical stability of neural layers seen as steps of a differential equation."""

from odestab.adjoint import AbstractAdjoint, ImplicitAdjoint, OneStepAdjoint, PhantomAdjoint, UnrolledAdjoint
from odestab.encoder_layers import load_encoder, trace
from odestab.jacobian import Jacobian
from odestab.linear_operator import AbstractOperator, affine, check_adjoint, compose, inverse, solve, symmetric_part
from odestab.one_step import AbstractOneStepMethod, ExplicitEuler, ImplicitEuler, Step, ThetaMethod
from odestab.propagation import (
    AbstractPerturbation,
    EditPerturbation,
    GaussianPerturbation,
    Growth,
    Path,
    WorstPerturbation,
    follow,
    grow,
    propagate,
    worst_direction,
    worst_growth,
)
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
from odestab.stability import (
    ImplicitAdvantage,
    SpectralGrowth,
    StableStepSizes,
    complex_grid,
    damping_advantage,
    implicit_advantage,
    lemniscate,
    margin,
    share_outside_lemniscate,
    spectral_growth,
    stability_region,
    stable_step_sizes,
)
from odestab.trajectory import Trajectory
from odestab.vector_field import AbstractVectorField, LayerVectorField, LinearVectorField
