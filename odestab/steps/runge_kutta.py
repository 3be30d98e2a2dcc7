"""Runge–Kutta methods by their tableaux: stability functions for regions."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Complex
from torch import Tensor

Row: TypeAlias = Sequence[float | int]
ROUNDED = 1e-6  # by how much the sum of weights may miss 1, as decimals are written down


@dataclasses.dataclass(frozen=True, init=False)
class RungeKutta:
    """y1 = y0 + h Σ b_i k_i, k_i = f(y0 + h Σ a_ij k_j), with R(z) = 1 + z bᵀ(I − zA)⁻¹𝟙 (Hairer
    and Wanner, section IV.3; Mathematics, section 3).

    It says where a method is stable and takes no steps.

    Attributes:
        a: A, s rows of s numbers.
        b: the weights.
        name: how a picture calls it.

    Raises:
        ValueError: if A is not (s, s) and b not (s,), a number is not finite, or the weights do not
            sum to 1.

    >>> heun = od.RungeKutta([[0, 0], [1, 0]], [0.5, 0.5])
    >>> heun.stability_function(torch.tensor([-2.0, 1j])).tolist()  # 1 + z + z²/2
    [(1+0j), (0.5+1j)]
    """

    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    name: str = "Runge–Kutta"

    def __init__(self, a: Any, b: Any, name: str = "Runge–Kutta") -> None:
        weights = np.asarray(b, dtype=float)
        matrix = np.asarray(a, dtype=float)
        if weights.ndim != 1 or matrix.shape != (len(weights),) * 2 or not len(weights):
            raise ValueError(
                f"tableau must be A (s, s) and b (s,), got {matrix.shape} and {weights.shape}"
            )
        if not (np.isfinite(matrix).all() and np.isfinite(weights).all()):
            raise ValueError("tableau must be finite, got NaN or infinity")
        total = math.fsum(weights.tolist())
        if abs(total - 1) > ROUNDED:
            raise ValueError(
                f"weights b must sum to 1, got {total:.6g}: no such method is consistent"
            )
        object.__setattr__(self, "a", tuple(map(tuple, matrix.tolist())))
        object.__setattr__(self, "b", tuple(weights.tolist()))
        object.__setattr__(self, "name", name)

    @property
    def explicit(self) -> bool:
        """A is strictly lower triangular: R is a polynomial."""
        return bool((np.triu(np.asarray(self.a)) == 0).all())

    def stability_function(self, z: Complex[Tensor, "*points"]) -> Complex[Tensor, "*points"]:
        """R(z); infinite or NaN at a pole.

        For an explicit method it is the polynomial Σ z^k bᵀA^{k−1}𝟙, else one solve of (I − zA) at
        each point.
        """
        a = torch.tensor(self.a, dtype=torch.float64).to(z)
        b = torch.tensor(self.b, dtype=torch.float64).to(z)
        if self.explicit:
            value = torch.zeros_like(z)
            for coefficient in reversed(self._taylor()):  # Horner
                value = value * z + coefficient
            return value
        ones = torch.ones_like(b)
        matrices = torch.eye(len(b), dtype=z.dtype, device=z.device) - z[..., None, None] * a
        # solve_ex does not raise where a matrix is singular: a pole is data.
        stages, _ = torch.linalg.solve_ex(matrices, ones.expand(*z.shape, -1)[..., None])
        return 1 + z * (stages[..., 0] @ b)

    def _taylor(self) -> list[float]:
        """1, bᵀ𝟙, bᵀA𝟙, …, of s stages as many."""
        coefficients = [1.0]
        stages = [1.0] * len(self.b)
        for _ in self.b:
            # fsum: weights such as 1/6 + 4/6 + 1/6 sum to 1 exactly
            coefficients.append(math.fsum(w * k for w, k in zip(self.b, stages, strict=True)))
            stages = [math.fsum(w * k for w, k in zip(row, stages, strict=True)) for row in self.a]
        return coefficients


def runge_kutta(name: str) -> RungeKutta:
    """A classical method by its name (Hairer, Nørsett and Wanner, II; Hairer and Wanner, IV.5).

    Explicit: explicit_euler, heun2, midpoint, ralston2, kutta3, heun3, bogacki_shampine3, rk4,
    three_eighths, fehlberg5, dormand_prince5. Implicit: implicit_euler, implicit_midpoint,
    trapezoidal, gauss2, gauss3, radau_ia2, radau_iia2, radau_iia3, lobatto_iiia3, lobatto_iiic2,
    lobatto_iiic3, sdirk2.

    Raises:
        ValueError: if there is no method of that name.

    >>> od.runge_kutta("rk4").stability_function(torch.tensor([-1.0 + 0j])).tolist()  # 9/24
    [(0.375+0j)]
    """
    if name not in TABLEAUX:
        raise ValueError(f"method must be one of {', '.join(TABLEAUX)}, got {name!r}")
    return TABLEAUX[name]


def _explicit(
    name: str, rows: Sequence[Sequence[float | int]], b: Sequence[float | int]
) -> RungeKutta:
    """Rows below the diagonal alone, the first row of zeros left out."""
    s = len(b)
    return RungeKutta([[0.0] * s, *([*row, *[0.0] * (s - len(row))] for row in rows)], b, name)


_ROOT2 = math.sqrt(2.0)
_ROOT3 = math.sqrt(3.0)
_ROOT6 = math.sqrt(6.0)
_ROOT15 = math.sqrt(15.0)
_SDIRK = 1 - _ROOT2 / 2  # γ of the L-stable method (Alexander 1977)

_EXPLICIT = {
    "explicit_euler": _explicit("explicit Euler", [], [1]),
    "heun2": _explicit("Heun 2", [[1]], [1 / 2, 1 / 2]),
    "midpoint": _explicit("midpoint", [[1 / 2]], [0, 1]),
    "ralston2": _explicit("Ralston 2", [[2 / 3]], [1 / 4, 3 / 4]),
    "kutta3": _explicit("Kutta 3", [[1 / 2], [-1, 2]], [1 / 6, 2 / 3, 1 / 6]),
    "heun3": _explicit("Heun 3", [[1 / 3], [0, 2 / 3]], [1 / 4, 0, 3 / 4]),
    "bogacki_shampine3": _explicit(
        "Bogacki–Shampine 3", [[1 / 2], [0, 3 / 4]], [2 / 9, 1 / 3, 4 / 9]
    ),
    "rk4": _explicit("RK4", [[1 / 2], [0, 1 / 2], [0, 0, 1]], [1 / 6, 1 / 3, 1 / 3, 1 / 6]),
    "three_eighths": _explicit(
        "3/8 rule", [[1 / 3], [-1 / 3, 1], [1, -1, 1]], [1 / 8, 3 / 8, 3 / 8, 1 / 8]
    ),
    "fehlberg5": _explicit(
        "Fehlberg 5",
        [
            [1 / 4],
            [3 / 32, 9 / 32],
            [1932 / 2197, -7200 / 2197, 7296 / 2197],
            [439 / 216, -8, 3680 / 513, -845 / 4104],
            [-8 / 27, 2, -3544 / 2565, 1859 / 4104, -11 / 40],
        ],
        [16 / 135, 0, 6656 / 12825, 28561 / 56430, -9 / 50, 2 / 55],
    ),
    "dormand_prince5": _explicit(
        "Dormand–Prince 5",
        [
            [1 / 5],
            [3 / 40, 9 / 40],
            [44 / 45, -56 / 15, 32 / 9],
            [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
            [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
        ],
        [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
    ),
}
_IMPLICIT = {
    "implicit_euler": RungeKutta([[1]], [1], "implicit Euler"),
    "implicit_midpoint": RungeKutta([[1 / 2]], [1], "implicit midpoint"),
    "trapezoidal": RungeKutta([[0, 0], [1 / 2, 1 / 2]], [1 / 2, 1 / 2], "trapezoidal rule"),
    "gauss2": RungeKutta(
        [[1 / 4, 1 / 4 - _ROOT3 / 6], [1 / 4 + _ROOT3 / 6, 1 / 4]], [1 / 2, 1 / 2], "Gauss 2"
    ),
    "gauss3": RungeKutta(
        [
            [5 / 36, 2 / 9 - _ROOT15 / 15, 5 / 36 - _ROOT15 / 30],
            [5 / 36 + _ROOT15 / 24, 2 / 9, 5 / 36 - _ROOT15 / 24],
            [5 / 36 + _ROOT15 / 30, 2 / 9 + _ROOT15 / 15, 5 / 36],
        ],
        [5 / 18, 4 / 9, 5 / 18],
        "Gauss 3",
    ),
    "radau_ia2": RungeKutta([[1 / 4, -1 / 4], [1 / 4, 5 / 12]], [1 / 4, 3 / 4], "Radau IA 2"),
    "radau_iia2": RungeKutta([[5 / 12, -1 / 12], [3 / 4, 1 / 4]], [3 / 4, 1 / 4], "Radau IIA 2"),
    "radau_iia3": RungeKutta(
        [
            [(88 - 7 * _ROOT6) / 360, (296 - 169 * _ROOT6) / 1800, (-2 + 3 * _ROOT6) / 225],
            [(296 + 169 * _ROOT6) / 1800, (88 + 7 * _ROOT6) / 360, (-2 - 3 * _ROOT6) / 225],
            [(16 - _ROOT6) / 36, (16 + _ROOT6) / 36, 1 / 9],
        ],
        [(16 - _ROOT6) / 36, (16 + _ROOT6) / 36, 1 / 9],
        "Radau IIA 3",
    ),
    "lobatto_iiia3": RungeKutta(
        [[0, 0, 0], [5 / 24, 1 / 3, -1 / 24], [1 / 6, 2 / 3, 1 / 6]],
        [1 / 6, 2 / 3, 1 / 6],
        "Lobatto IIIA 3",
    ),
    "lobatto_iiic2": RungeKutta(
        [[1 / 2, -1 / 2], [1 / 2, 1 / 2]], [1 / 2, 1 / 2], "Lobatto IIIC 2"
    ),
    "lobatto_iiic3": RungeKutta(
        [[1 / 6, -1 / 3, 1 / 6], [1 / 6, 5 / 12, -1 / 12], [1 / 6, 2 / 3, 1 / 6]],
        [1 / 6, 2 / 3, 1 / 6],
        "Lobatto IIIC 3",
    ),
    "sdirk2": RungeKutta([[_SDIRK, 0], [1 - _SDIRK, _SDIRK]], [1 - _SDIRK, _SDIRK], "SDIRK 2"),
}
TABLEAUX: Mapping[str, RungeKutta] = MappingProxyType({**_EXPLICIT, **_IMPLICIT})
