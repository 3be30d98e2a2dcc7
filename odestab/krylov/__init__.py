"""Krylov methods on callables, B independent spaces in lockstep."""

from odestab.krylov.arnoldi import ArnoldiFactorization, arnoldi
from odestab.krylov.davidson import SingularTriplet, smallest_singular_triplet
from odestab.krylov.gmres import LinearSolution, gmres
from odestab.krylov.golub_kahan import GolubKahanFactorization, golub_kahan
from odestab.krylov.lanczos import LanczosFactorization, lanczos

__all__ = [
    "ArnoldiFactorization",
    "GolubKahanFactorization",
    "LanczosFactorization",
    "LinearSolution",
    "SingularTriplet",
    "arnoldi",
    "gmres",
    "golub_kahan",
    "lanczos",
    "smallest_singular_triplet",
]
