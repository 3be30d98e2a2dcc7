"""Test problems in closed form, float64, seeded: matrices with known spectra and small vector
fields with known solutions or Jacobians.
"""

import dataclasses
import math

import torch
from torch import Tensor

from odestab.fields.trajectory import Trajectory
from odestab.fields.vector_field import AbstractVectorField, Linearization, LinearVectorField
from odestab.operators.linear_operator import ComposedOperator

DTYPE = torch.float64
EPS = torch.finfo(DTYPE).eps
MATRIX_KINDS = ("normal", "non-normal", "stiff", "near singular")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal_numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DTYPE)


def orthogonal(n: int, seed: int = 0) -> Tensor:
    return torch.linalg.qr(normal_numbers(n, n, seed=seed))[0]


def random_matrix(n: int, kind: str, seed: int = 0) -> Tensor:
    """A random matrix A; the implicit equation (I − A) y = x is solvable for every kind.

    * "normal": Q diag(rotation-scaling blocks) Qᵀ with |λ| ≤ 0.9.
    * "non-normal": as normal, plus an equally large strictly upper triangular part in the basis Q.
    * "stiff": symmetric and dissipative, eigenvalues −1 to −10⁴.
    * "near singular": I − A has singular values 1 … 1 and one 10⁻⁸.
    """
    q = orthogonal(n, seed)
    if kind in ("normal", "non-normal"):
        radius = 0.9 * torch.rand(n // 2, generator=seeded(seed + 1), dtype=DTYPE)
        angle = 2 * math.pi * torch.rand(n // 2, generator=seeded(seed + 2), dtype=DTYPE)
        middle = rotation_scaling(torch.polar(radius, angle))
        if kind == "non-normal":
            middle = middle + torch.triu(normal_numbers(n, n, seed=seed + 3), 2) * 0.5
        return q @ middle @ q.T
    if kind == "stiff":
        return -q @ torch.diag(torch.logspace(0, 4, n, dtype=DTYPE)) @ q.T
    singular = torch.ones(n, dtype=DTYPE)
    singular[-1] = 1e-8
    return torch.eye(n, dtype=DTYPE) - q @ torch.diag(singular) @ orthogonal(n, seed + 4)


def rotation_scaling(z: Tensor) -> Tensor:
    """The real normal matrix with a block [[Re z, −Im z], [Im z, Re z]] per z: it multiplies (u, v)
    read as u + iv by z.
    """
    return torch.block_diag(
        *[torch.tensor([[w.real, -w.imag], [w.imag, w.real]], dtype=DTYPE) for w in z.tolist()]
    )


def with_singular_values(values: Tensor, seed: int = 0) -> Tensor:
    """U diag(σ) Vᵀ with random orthogonal U and V."""
    n = len(values)
    return orthogonal(n, seed + 1) @ torch.diag(values) @ orthogonal(n, seed + 2).T


def repeated(n: int, copies: int, value: float = 3.0) -> Tensor:
    """Some copies of one value ahead of others, 2.5·0.8^j."""
    rest = 2.5 * 0.8 ** torch.arange(n - copies, dtype=DTYPE)
    return torch.cat([torch.full((copies,), value, dtype=DTYPE), rest])


def jordan_block(n: int, value: float) -> Tensor:
    return value * torch.eye(n, dtype=DTYPE) + torch.diag(torch.ones(n - 1, dtype=DTYPE), 1)


def grcar(n: int) -> Tensor:
    """Ones on the diagonal and three superdiagonals, −1 below (Trefethen and Embree 2005, section
    7).
    """
    return torch.triu(torch.tril(torch.ones(n, n, dtype=DTYPE), 3)) - torch.diag(
        torch.ones(n - 1, dtype=DTYPE), -1
    )


def toeplitz(n: int, below: float, diagonal: float, above: float) -> Tensor:
    ones = torch.ones(n - 1, dtype=DTYPE)
    return (
        below * torch.diag(ones, -1)
        + diagonal * torch.eye(n, dtype=DTYPE)
        + above * torch.diag(ones, 1)
    )


def toeplitz_eigenvalues(n: int, below: float, diagonal: float, above: float) -> Tensor:
    """d + 2 √(b a) cos(jπ/(n + 1)), descending; real for b a ≥ 0."""
    j = torch.arange(1, n + 1, dtype=DTYPE)
    return diagonal + 2 * math.sqrt(below * above) * torch.cos(j * math.pi / (n + 1))


def toeplitz_logarithmic_norm(n: int, below: float, diagonal: float, above: float) -> float:
    """λ_max of the symmetric part, itself tridiagonal Toeplitz: d + |b + a| cos(π/(n + 1))."""
    return diagonal + abs(below + above) * math.cos(math.pi / (n + 1))


def linear_operator(*matrices: Tensor) -> ComposedOperator:
    """Matrices of one size as an operator, one example each."""
    stacked = torch.stack(matrices)

    def product(matrix: Tensor):
        return lambda v: (matrix @ v[..., None])[..., 0]

    return ComposedOperator(
        product(stacked), product(stacked.mT), torch.zeros(stacked.shape[:2], dtype=DTYPE), None
    )


def ragged_operator(*matrices: Tensor) -> ComposedOperator:
    """Matrices of different sizes as one operator: an example has as many tokens as its matrix has
    rows, and hidden size 1.
    """
    n = max(len(m) for m in matrices)
    padded = torch.stack(
        [torch.nn.functional.pad(m, (0, n - len(m), 0, n - len(m))) for m in matrices]
    )
    mask = torch.arange(n) < torch.tensor([len(m) for m in matrices])[:, None]

    def product(matrix: Tensor):
        return lambda v: (matrix @ v).masked_fill(~mask[..., None], 0.0)

    return ComposedOperator(
        product(padded), product(padded.mT), torch.zeros(len(matrices), n, 1, dtype=DTYPE), mask
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Decay(AbstractVectorField):
    """f(y) = −y², with the solution y(t) = y₀/(1 + t y₀)."""

    def __call__(self, x: Tensor) -> Tensor:
        return -(x**2)

    @staticmethod
    def solution(x: Tensor, t: float) -> Tensor:
        return x / (1 + t * x)


@dataclasses.dataclass(frozen=True, eq=False)
class MixingField(AbstractVectorField):
    """f(x)_t = tanh(x_t W) V + (mean of x over real tokens) U + c x_t, zero on padding: a small
    layer with a Jacobian in closed form.

    With `fast` it linearises itself by that closed form: tracing it through torch.func takes a
    quarter of a second.
    """

    w: Tensor
    v: Tensor
    u: Tensor
    mask: Tensor
    split: float = 0.0
    fast: bool = False

    @classmethod
    def random(
        cls,
        mask: Tensor,
        hidden: int = 3,
        seed: int = 0,
        size: float = 0.5,
        split: float = 0.0,
        fast: bool = False,
    ) -> "MixingField":
        w, v, u = (
            size * m / math.sqrt(hidden) for m in normal_numbers(3, hidden, hidden, seed=seed)
        )
        return cls(w, v, u, mask, split, fast)

    def __call__(self, x: Tensor) -> Tensor:
        real = self.mask[..., None].to(x.dtype)
        mean = (real * x).sum(1, keepdim=True) / real.sum(1, keepdim=True)
        return self.project(torch.tanh(x @ self.w) @ self.v + mean @ self.u + self.split * x)

    def linearize(self, x: Tensor) -> Linearization:
        if not self.fast:
            return super().linearize(x)
        slopes, real = 1 - torch.tanh(x @ self.w) ** 2, self.mask[..., None].to(x.dtype)

        def mean(v: Tensor) -> Tensor:
            return (real * v).sum(-2, keepdim=True) / real.sum(-2, keepdim=True)

        return Linearization(
            lambda v: self.project((slopes * (v @ self.w)) @ self.v + mean(v) @ self.u),
            lambda u: self.project((slopes * (u @ self.v.T)) @ self.w.T + mean(u) @ self.u.T),
            "analytic",
        )

    def matrix(self, x: Tensor, example: int) -> Tensor:
        """∂f/∂x of one example on its real tokens: block (t, s) is δ_ts (Vᵀ diag(tanh′) Wᵀ + c I) +
        Uᵀ/n.
        """
        state = x[example, self.mask[example]]
        tokens, hidden = state.shape
        slopes = 1 - torch.tanh(state @ self.w) ** 2
        blocks = [
            self.v.T @ torch.diag(s) @ self.w.T + self.split * torch.eye(hidden, dtype=DTYPE)
            for s in slopes
        ]
        return (
            torch.block_diag(*blocks)
            + torch.kron(torch.ones(tokens, tokens, dtype=DTYPE), self.u.T.contiguous()) / tokens
        )


def ragged_mask(*lengths: int) -> Tensor:
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def masked_state(mask: Tensor, hidden: int = 3, seed: int = 0) -> Tensor:
    return normal_numbers(*mask.shape, hidden, seed=seed).masked_fill(~mask[..., None], 0.0)


def linear_trajectory(matrices: Tensor, tokens: int, seed: int = 0) -> Trajectory:
    """Linear fields, `(layers, batch, n, n)`, on states `(batch, tokens, n/tokens)`; the states of
    the encoder itself are not needed.
    """
    layers, batch, n, _ = matrices.shape
    x = normal_numbers(batch, tokens, n // tokens, seed=seed)
    return Trajectory(
        (x,) * (layers + 1),
        torch.ones(batch, tokens, dtype=torch.bool),
        tuple(map(LinearVectorField, matrices)),
    )


def mixing_trajectory(
    lengths: tuple[int, ...] = (4, 2),
    layers: int = 4,
    hidden: int = 3,
    split: float = 0.0,
    size: float = 1.5,
) -> Trajectory:
    """A stack of mixing fields on a padded batch."""
    mask = ragged_mask(*lengths)
    fields = tuple(
        MixingField.random(mask, hidden, seed=10 + l, size=size, split=split, fast=True)
        for l in range(layers)
    )
    return Trajectory((masked_state(mask, hidden, seed=1),) * (layers + 1), mask, fields)


def central_difference(function, x: Tensor, direction: Tensor) -> Tensor:
    """(g(x + εv) − g(x − εv))/2ε with ε = eps^⅓, so that truncation and rounding are both of size
    eps^⅔ ≈ 4e-11.
    """
    step = EPS ** (1 / 3)
    return (function(x + step * direction) - function(x - step * direction)) / (2 * step)


def slope(sizes: list[float], errors: list[float]) -> float:
    """The least-squares slope of log error against log size."""
    a = torch.tensor(sizes, dtype=DTYPE).log()
    b = torch.tensor(errors, dtype=DTYPE).log()
    return float(((a - a.mean()) * (b - b.mean())).sum() / ((a - a.mean()) ** 2).sum())


def rotated_ones(*zs: complex) -> tuple[Tensor, Tensor]:
    """(λ, x): points as a complex tensor, and the state that reads 1 in every rotation-scaling
    block.
    """
    return torch.tensor(zs, dtype=torch.complex128), torch.tensor(
        [1.0, 0.0] * len(zs), dtype=DTYPE
    )[None]


def as_complex(state: Tensor) -> Tensor:
    """Read (u, v) pairs of a state `(1, 2m)` as m numbers u + iv."""
    return torch.view_as_complex(state.reshape(-1, 2).contiguous())
