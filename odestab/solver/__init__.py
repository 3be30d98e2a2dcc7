"""Solvers of the implicit equation y = b + h f(y)."""

from odestab.solver.auto import Auto
from odestab.solver.base import AbstractImplicitSolver
from odestab.solver.equation import ImplicitEquation
from odestab.solver.fixed_point import Anderson, FixedPoint
from odestab.solver.gradient_descent import GradientDescent
from odestab.solver.mixing import Mixing
from odestab.solver.newton_krylov import NewtonKrylov
from odestab.solver.solution import Solution, SolveError, Status
from odestab.solver.stopping import Stopping
from odestab.solver.truncated import truncated_stability_function

__all__ = [
    "AbstractImplicitSolver",
    "Anderson",
    "Auto",
    "FixedPoint",
    "GradientDescent",
    "ImplicitEquation",
    "Mixing",
    "NewtonKrylov",
    "Solution",
    "SolveError",
    "Status",
    "Stopping",
    "truncated_stability_function",
]
