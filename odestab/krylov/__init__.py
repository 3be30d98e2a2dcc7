"""Krylov methods on callables, B independent spaces in lockstep."""

from odestab.krylov.arnoldi import ArnoldiFactorization, arnoldi
from odestab.krylov.davidson import SingularTriplets, smallest_singular_triplets
from odestab.krylov.gmres import LinearSolution, gmres
from odestab.krylov.golub_kahan import GolubKahanFactorization, golub_kahan
from odestab.krylov.krylov_schur import RitzPairs, Wanted, krylov_schur
from odestab.krylov.lanczos import LanczosFactorization, lanczos
from odestab.krylov.largest_singular import (
    LargestTriplets,
    SingularSearch,
    largest_singular_triplets,
)

__all__ = [
    "ArnoldiFactorization",
    "GolubKahanFactorization",
    "LanczosFactorization",
    "LargestTriplets",
    "LinearSolution",
    "RitzPairs",
    "SingularSearch",
    "SingularTriplets",
    "Wanted",
    "arnoldi",
    "gmres",
    "golub_kahan",
    "krylov_schur",
    "lanczos",
    "largest_singular_triplets",
    "smallest_singular_triplets",
]
