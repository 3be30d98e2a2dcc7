"""f(x) = A x for a matrix that is known by its products alone: SciPy's, or a sparse one."""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from odestab.fields.vector_field import AbstractVectorField, Linearization

Rows = Callable[[Float[Tensor, "rows n"]], Float[Tensor, "rows n"]]


@runtime_checkable
class ScipyMatrix(Protocol):
    """What SciPy's LinearOperator and its sparse matrices and arrays have in common."""

    shape: Any
    dtype: Any

    def __matmul__(self, other: Any) -> Any: ...


@dataclasses.dataclass(frozen=True, eq=False)
class LinearMapField(AbstractVectorField):
    """f(x) = A x on the flattened state, A the same for all examples; no derivative of torch's is
    asked for.

    Gradients and torch.func's transforms pass through A by its own products.

    Attributes:
        product: rows v ↦ rows A v, `(rows, n)`.
        adjoint_product: rows u ↦ rows Aᵀ u.
        n: the dimension.
        like: one number of the dtype and on the device that the products have by themselves.
    """

    product: Rows
    adjoint_product: Rows
    n: int
    like: Tensor

    def __call__(self, x: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch *event"]:
        """A x.

        Raises:
            ValueError: if the state is not of n numbers for each example.
        """
        if x.ndim < 2 or x[0].numel() != self.n:
            expected = f"(batch, ...) with {self.n} numbers for each example"
            raise ValueError(f"state must be {expected}, got {tuple(x.shape)}")
        return self._rows(x.flatten(1), False).view_as(x)

    def linearize(self, x: Float[Tensor, "batch *event"]) -> Linearization:
        """A itself, wherever the state is."""
        event = x.shape[1:]

        def over_rows(transposed: bool) -> Callable[[Tensor], Tensor]:
            return lambda v: self._rows(v.reshape(-1, event.numel()), transposed).reshape(v.shape)

        def same(_: Any) -> Linearization:
            return linearization

        linearization = Linearization(
            over_rows(False), over_rows(True), "analytic", cast=same, take=same
        )
        return linearization

    def take(self, examples: Int[Tensor, " chosen"]) -> "LinearMapField":
        """Itself: all examples have the same matrix."""
        return self

    def _rows(self, rows: Tensor, transposed: bool) -> Tensor:
        image: Tensor = _Product.apply(rows, self, transposed)
        return image


class _Product(torch.autograd.Function):
    """v ↦ A v or Aᵀ v for autograd and torch.func, which cannot look into SciPy."""

    @staticmethod
    def forward(v: Tensor, field: LinearMapField, transposed: bool) -> Tensor:
        product = field.adjoint_product if transposed else field.product
        return product(v.detach().reshape(-1, field.n)).reshape(v.shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ctx.field, ctx.transposed = inputs

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None, None]:
        return _Product.apply(cotangent, ctx.field, not ctx.transposed), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> Tensor:
        product: Tensor = _Product.apply(tangent, ctx.field, ctx.transposed)
        return product

    @staticmethod
    def vmap(
        info: Any, axes: tuple[int | None, ...], v: Tensor, field: LinearMapField, transposed: bool
    ) -> tuple[Tensor, int | None]:
        # Products take any number of rows: the mapped axis joins them.
        axis = axes[0]
        moved = v if axis is None else v.movedim(axis, 0)
        return _Product.apply(moved, field, transposed), None if axis is None else 0


def of_scipy(matrix: ScipyMatrix) -> LinearMapField:
    """The field of a SciPy LinearOperator, or of a sparse matrix or array of SciPy's.

    Raises:
        ValueError: if it is no real square matrix; at first use, if it has no `rmatvec` and Aᵀ is
            asked for.
    """
    import scipy.sparse.linalg  # late: it takes as long as all of odestab

    operator = scipy.sparse.linalg.aslinearoperator(matrix)
    rows, columns = operator.shape
    if rows != columns:
        raise ValueError(f"matrix must be square, got {operator.shape}")
    dtype = np.dtype(operator.dtype or np.float64)
    require_real(dtype)
    if dtype not in (np.float32, np.float64):
        dtype = np.dtype(np.float64)

    def over_rows(product: Callable[[np.ndarray], np.ndarray]) -> Rows:
        def apply(v: Tensor) -> Tensor:
            columns = v.cpu().numpy().astype(dtype, copy=False).T
            image = np.asarray(product(columns))
            require_real(image.dtype)  # products may be complex where the operator says real
            return torch.as_tensor(np.ascontiguousarray(image.T)).to(v)

        return apply

    def adjoint(columns: np.ndarray) -> np.ndarray:
        try:
            return np.asarray(operator.rmatmat(columns))
        except (NotImplementedError, TypeError) as error:  # which one hangs on the operator
            raise ValueError(
                "LinearOperator must define rmatvec, the product with its transpose, got none"
            ) from error

    like = torch.zeros((), dtype=torch.float32 if dtype == np.float32 else torch.float64)
    return LinearMapField(over_rows(operator.matmat), over_rows(adjoint), rows, like)


def of_sparse(matrix: Tensor) -> LinearMapField:
    """The field of a sparse torch matrix `(n, n)`."""
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"sparse matrix must be (n, n), got {tuple(matrix.shape)}")
    own = matrix.detach()
    transposed = own.t()
    like = torch.zeros((), dtype=own.dtype, device=own.device)

    def over_rows(factor: Tensor) -> Rows:
        return lambda v: (factor @ v.to(like).T).T.to(v)

    return LinearMapField(over_rows(own), over_rows(transposed), len(own), like)


def require_real(dtype: np.dtype) -> None:
    """Raise ValueError if a matrix is complex, or holds no numbers.

    >>> require_real(np.dtype(int))
    """
    if dtype.kind == "c":
        raise ValueError(
            f"matrix must be real, got {dtype}: write A + iB as the real [[A, −B], [B, A]]"
        )
    if dtype.kind not in "fiub":
        raise ValueError(f"matrix must hold real numbers, got {dtype}")
