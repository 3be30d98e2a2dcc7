"""Gradients across an implicit step: by the implicit function theorem, through the iteration that
ran, or cheaper and biased.
"""

from odestab.adjoint.base import AbstractAdjoint
from odestab.adjoint.implicit import ImplicitAdjoint
from odestab.adjoint.linear_solve import AdjointRecord
from odestab.adjoint.phantom import OneStepAdjoint, PhantomAdjoint
from odestab.adjoint.unrolled import UnrolledAdjoint

__all__ = [
    "AbstractAdjoint",
    "AdjointRecord",
    "ImplicitAdjoint",
    "OneStepAdjoint",
    "PhantomAdjoint",
    "UnrolledAdjoint",
]
