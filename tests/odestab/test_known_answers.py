"""Operators of the literature, discretised by Chebyshev collocation, with values known to many
digits.
"""

import math

import pytest
import torch
from problems import DTYPE, linear_operator
from torch import Tensor

from odestab.nonnormality.numerical_range import numerical_range
from odestab.spectrum import eigenvalues, logarithmic_norm


def chebyshev(n: int) -> tuple[Tensor, Tensor]:
    """Differentiation matrix and points on [−1, 1] (Trefethen 2000, program cheb)."""
    x = torch.cos(math.pi * torch.arange(n + 1, dtype=DTYPE) / n)
    c = torch.ones(n + 1, dtype=DTYPE)
    c[0] = c[n] = 2
    c = c * (-1.0) ** torch.arange(n + 1, dtype=DTYPE)
    d = torch.outer(c, 1 / c) / (x[:, None] - x[None, :] + torch.eye(n + 1, dtype=DTYPE))
    return d - torch.diag(d.sum(1)), x


def clenshaw_curtis(n: int) -> Tensor:
    """Quadrature weights on the same points (even n)."""
    theta = math.pi * torch.arange(1, n, dtype=DTYPE) / n
    v = torch.ones(n - 1, dtype=DTYPE)
    for k in range(1, n // 2):
        v = v - 2 * torch.cos(2 * k * theta) / (4 * k**2 - 1)
    v = v - torch.cos(n * theta) / (n**2 - 1)
    end = torch.full((1,), 1 / (n**2 - 1), dtype=DTYPE)
    return torch.cat([end, 2 * v / n, end])


def test_advection_diffusion_in_the_norm_of_functions() -> None:
    """η u″ + u′ on [0, 1], η = 0.015: ω = −ηπ² in L² (Trefethen and Embree 2005, chapter 12); the
    plain 2-norm would give +0.876.
    """
    n, eta = 100, 0.015
    d, _ = chebyshev(n)
    d = 2 * d  # from [−1, 1] to [0, 1]
    matrix = (eta * d @ d + d)[1:n, 1:n]
    weight = clenshaw_curtis(n)[1:n].sqrt()
    weighted = linear_operator(weight[:, None] * matrix / weight[None, :])
    found = logarithmic_norm(weighted, 1e-10)
    assert found.converged.all()
    assert float(found.values[0, 0]) == pytest.approx(-0.148044, abs=5e-7)
    assert float(found.values[0, 0]) == pytest.approx(-eta * math.pi**2, abs=1e-6)
    assert float(numerical_range(weighted, 4).support[0, 0]) == pytest.approx(-0.148044, abs=5e-7)


def test_orr_sommerfeld() -> None:
    """Plane Poiseuille flow at R = 10⁴, wave number 1: c = 0.23752649 + 0.00373967i (Orszag 1971),
    λ = −ic.
    """
    n, reynolds = 100, 1e4
    d, x = chebyshev(n)
    d2 = d @ d
    inner = slice(1, n)
    s = torch.zeros(n + 1, dtype=DTYPE)
    s[inner] = 1 / (1 - x[inner] ** 2)
    d4 = ((torch.diag(1 - x**2) @ d2 @ d2 - 8 * torch.diag(x) @ d @ d2 - 12 * d2) @ torch.diag(s))[
        inner, inner
    ]
    d2, eye = d2[inner, inner], torch.eye(n - 1, dtype=DTYPE)
    real = (d4 - 2 * d2 + eye) / reynolds
    imaginary = -2 * eye - torch.diag(1 - x[inner] ** 2) @ (d2 - eye)
    real, imaginary = torch.linalg.solve(d2 - eye, real), torch.linalg.solve(d2 - eye, imaginary)
    embedded = torch.cat(
        [torch.cat([real, -imaginary], 1), torch.cat([imaginary, real], 1)]
    )  # spectrum: λ and its conjugate
    found = eigenvalues(linear_operator(embedded), 2, "LR")
    assert float(found.values[0, 0].real) == pytest.approx(0.00373967, abs=1e-8)
    assert float(found.values[0].imag.abs()[0]) == pytest.approx(0.23752649, abs=1e-8)
