"""Eigenvalues, singular values and logarithmic norms of an operator, each with its residual."""

from odestab.spectrum.eigen import eigenvalues, full_spectrum
from odestab.spectrum.record import Spectrum
from odestab.spectrum.singular import logarithmic_norm, singular_values

__all__ = ["Spectrum", "eigenvalues", "full_spectrum", "logarithmic_norm", "singular_values"]
