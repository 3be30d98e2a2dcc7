"""e^A of the dense matrices of an operator, as far as double precision can tell it."""

import numpy as np
import torch
from torch import Tensor

from odestab.operators.linear_operator import AbstractOperator


def dense_exponential(operator: AbstractOperator, rtol: float) -> Tensor:
    """e^A, `(batch, n, n)`, zero on padding.

    It is NaN where A is not finite or has no real entry, or e^A is too ill-conditioned.
    """
    batch, n = operator.like.flatten(1).shape
    matrices = operator.like.new_zeros(batch, n, n)
    for matrix, dense, real in zip(
        matrices, operator.dense(), operator.real_entries(), strict=True
    ):
        if not len(real):
            matrix.fill_(torch.nan)
        matrix[real[:, None], real] = torch.as_tensor(
            _exponential_of(dense.double().cpu().numpy(), rtol)
        ).to(dense)
    return matrices


def _exponential_of(a: np.ndarray, rtol: float) -> np.ndarray:
    """e^a by scaling and squaring, as far as two ways to compute it agree; NaN where none do.

    Padé approximants (Al-Mohy and Higham 2009) are wrong for triangular matrices with nearly equal
    diagonal entries, Taylor polynomials for entries of very different size, unless the matrix is
    balanced first. The balanced matrix differs in its last digits besides, so that an e^a which
    those decide is not agreed upon.
    """
    import scipy.linalg  # late: it takes as long as all of odestab

    if not a.size or not np.isfinite(a).all():
        return np.full_like(a, np.nan)
    eps = np.finfo(a.dtype).eps
    last_digit = 1 + eps * np.random.default_rng(0).choice([-1.0, 1.0], a.shape)
    balanced, (similarity, _) = scipy.linalg.matrix_balance(a, permute=False, separate=True)
    ratio = similarity[:, None] / similarity
    balanced = balanced * last_digit
    ways = (
        lambda: scipy.linalg.expm(a),
        lambda: torch.linalg.matrix_exp(torch.as_tensor(a)).numpy(),
        lambda: ratio * scipy.linalg.expm(balanced),
        lambda: ratio * torch.linalg.matrix_exp(torch.as_tensor(balanced)).numpy(),
    )
    tried: list[np.ndarray] = []
    best = a
    error = np.inf
    with np.errstate(all="ignore"):  # an overflow is data
        for way in ways:
            image = way()
            # Squares of a large e^a overflow.
            size = np.abs(image).max()
            for other in tried:
                off = float(np.linalg.norm((image - other) / size) / np.linalg.norm(image / size))
                best, error = (other, off) if off < error else (best, error)
            tried.append(image)
            # Two ways that agree so far are right: they fail on different matrices.
            if error <= min(rtol, eps**0.5):
                break
    return best if error <= max(rtol, eps**0.5) else np.full_like(a, np.nan)
