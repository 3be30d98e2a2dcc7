"""A vector field from what people have: a function, a module, a matrix, a LinearOperator."""

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from odestab.fields.linear_map import ScipyMatrix, of_scipy, of_sparse, require_real
from odestab.fields.vector_field import AbstractVectorField, LinearVectorField

# What `field` makes a vector field of.
MatrixLike: TypeAlias = Tensor | np.ndarray | Sequence[Any] | ScipyMatrix
FieldLike: TypeAlias = AbstractVectorField | Callable[..., Any] | MatrixLike
MATRICES = "a real matrix (n, n) or (batch, n, n), or a SciPy LinearOperator"
FIELDS = f"an AbstractVectorField, a function of states (batch, ...), a module, {MATRICES}"


@dataclasses.dataclass(frozen=True, eq=False)
class FunctionVectorField(AbstractVectorField):
    """f(x) by a function or a module of torch's.

    Attributes:
        function: f.
        batched: it takes states `(batch, ...)`; else one state, and is mapped over the batch.
    """

    function: Callable[..., Any]
    batched: bool = True

    def __call__(self, x: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch *event"]:
        """f(x).

        Raises:
            ValueError: if the function does not keep the shape of the state, indexes it as if there
                was no batch, or computes in NumPy.
        """
        try:
            image = self._image(x)
        except IndexError as error:
            # y[0], y[1] are examples of a batch, not entries of a state.
            raise ValueError(
                f"field must take states (batch, ...), got a function that fails on "
                f"{tuple(x.shape)} ({error}): write y[..., i], or od.field(f, batched=False)"
            ) from error
        except RuntimeError as error:
            if "numpy" not in str(error).lower() and "data pointer" not in str(error):
                raise
            raise ValueError(f"{_IN_TORCH}, got one that asks for NumPy arrays") from error
        if not isinstance(image, Tensor):
            raise ValueError(f"{_IN_TORCH}, got one that returns {type(image).__name__}")
        if image.shape != x.shape or image.dtype != x.dtype:
            raise ValueError(
                f"field must keep shape {tuple(x.shape)} and "
                f"{x.dtype}, got {tuple(image.shape)} and {image.dtype}"
            )
        return image

    def _image(self, x: Tensor) -> Any:
        if self.batched:
            return self.function(x)
        return torch.func.vmap(self.function, randomness="same")(x)


_IN_TORCH = "field must be a function of torch's operations (torch.sin, torch.stack)"


def field(
    f: FieldLike, like: Float[Tensor, "batch *event"] | None = None, *, batched: bool = True
) -> AbstractVectorField:
    """The vector field f, from a function, a module, a matrix A with f(x) = A x, or a field.

    Every function of a field takes these by itself; this one says more (`like`, `batched`) and
    checks at once.

    Args:
        f: an `AbstractVectorField`, which stays itself; a function or module of torch's that maps
            states `(batch, ...)` to as many derivatives, each example by itself; a real matrix
            `(n, n)`, or `(batch, n, n)` with one for each example, as a tensor, NumPy array or
            nested lists; a SciPy LinearOperator, of which only products are taken; a sparse matrix
            of SciPy's or torch's.
        like: a state. It gives a matrix its dtype and device, and a function is tried on it.
            Without it a matrix that is no tensor is one of float64.
        batched: False for a function of one state, such as `y ↦ (y[1], −y[0])` on `(n,)`.

    Raises:
        ValueError: if f is none of these, or a function that changes the shape of the state, takes
            the time too, computes in NumPy or mixes examples; if a matrix is not real and square,
            or does not fit the state.

    >>> f = od.field(lambda y: torch.stack([y[1], -y[0].sin()]), batched=False)  # a pendulum
    >>> od.eigenvalues(od.Jacobian(f, torch.zeros(1, 2).double()), k=2).values.abs().tolist()
    [[1.0, 1.0]]
    >>> od.field([[0, 2], [0, 0]])(torch.ones(1, 2).double()).tolist()
    [[2.0, 0.0]]
    """
    if not batched and (isinstance(f, AbstractVectorField | Tensor) or not callable(f)):
        raise ValueError(f"batched must be True for what is no function, got {type(f).__name__}")
    made = as_field(f, like, batched=batched)
    if isinstance(made, FunctionVectorField) and like is not None:
        _try(made, like)
    return made


def as_field(
    f: FieldLike, like: Tensor | None = None, *, batched: bool = True
) -> AbstractVectorField:
    """The same without a trial of a function: the door of what takes a field and a state.

    >>> as_field(torch.tanh)(torch.zeros(1, 2)).tolist()
    [[0.0, 0.0]]
    """
    if isinstance(f, AbstractVectorField):
        return f
    if callable(f) and not isinstance(f, Tensor | np.ndarray) and not is_scipy(f):
        _require_function_of_the_state(f)
        return FunctionVectorField(f, batched)
    if not is_matrix(f):
        raise ValueError(f"field must be {FIELDS}, got {type(f).__name__}")
    return matrix_field(f, like)


def matrix_field(matrix: Any, like: Tensor | None = None) -> AbstractVectorField:
    """f(x) = A x from a matrix of any kind.

    Raises:
        ValueError: if it is not real and square, or does not fit the state.

    >>> matrix_field(np.eye(2)).matrix.dtype
    torch.float64
    """
    if is_scipy(matrix):
        return of_scipy(matrix)
    dense = matrix if isinstance(matrix, Tensor) else _from_numpy(matrix)
    if dense.is_complex():
        require_real(np.dtype(complex))
    if not dense.is_floating_point():
        dense = dense.to(torch.get_default_dtype())
    if like is not None:
        dense = dense.to(like)
    if dense.layout != torch.strided:
        return of_sparse(dense)
    made = LinearVectorField(dense)
    if like is not None:
        _require_fit(dense, like)
    return made


def _from_numpy(matrix: Any) -> Tensor:
    try:
        array = np.asarray(matrix)
    except ValueError as error:
        raise ValueError(f"matrix must be {MATRICES}, got lists of unequal lengths") from error
    require_real(array.dtype)
    # Its own memory: what a caller writes into the array afterwards is no change of the field.
    return torch.tensor(array if array.dtype == np.float32 else array.astype(np.float64))


def is_scipy(f: Any) -> bool:
    """A LinearOperator or a sparse matrix of SciPy's, which need not be imported to tell.

    >>> is_scipy(np.eye(2))
    False
    """
    return hasattr(f, "matvec") or hasattr(f, "tocsr")


def is_matrix(f: Any) -> bool:
    """A matrix of any kind, right or wrong.

    >>> is_matrix([[1.0]])
    True
    """
    return isinstance(f, Tensor | np.ndarray | list | tuple) or is_scipy(f)


def _require_fit(matrix: Tensor, like: Tensor) -> None:
    n = matrix.shape[-1]
    several = "batch" if matrix.ndim == 2 or len(matrix) == 1 else str(len(matrix))
    wrong_batch = several != "batch" and len(like) != len(matrix)
    if like.ndim < 2 or like[0].numel() != n or wrong_batch:
        raise ValueError(
            f"state must be ({several}, ...) with {n} numbers for each example, "
            f"got {tuple(like.shape)} for a matrix {tuple(matrix.shape)}"
        )


def _require_function_of_the_state(f: Callable[..., Any]) -> None:
    """Raise ValueError for SciPy's fun(t, y), or whatever else takes no single argument."""
    function = f.forward if isinstance(f, torch.nn.Module) else f
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # functions of C, as torch.tanh, do not say
        return
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [
        name
        for name, argument in signature.parameters.items()
        if argument.default is argument.empty
        and (argument.kind in positional or argument.kind is argument.KEYWORD_ONLY)
    ]
    try:
        signature.bind(None)
    except TypeError:
        raise ValueError(
            f"field must be a function of the state alone, got one of ({', '.join(required)}): "
            "fix the others, as in lambda y: f(0.0, y)"
        ) from None


def _try(f: FunctionVectorField, like: Tensor) -> None:
    """Raise ValueError unless a function keeps the state's shape and maps each example by itself.

    A change of the last example alone must not reach another one, nor one of every second example
    the others between them.
    """
    with torch.enable_grad():
        # NumPy refuses tensors that are differentiated: it would lose the derivative in silence.
        image = f(like.detach().clone().requires_grad_()).detach()
    if len(like) < 2:
        return
    place = torch.arange(len(like), device=like.device)
    tolerance = torch.finfo(like.dtype).eps ** 0.5
    for chosen in (place == place[-1], place % 2 == 0, place % 2 == 1):
        changed = like.detach().clone()
        changed[chosen] = 0.5 * changed[chosen] + 0.25
        with torch.no_grad():
            others = f(changed)[~chosen]
        if not torch.allclose(image[~chosen], others, tolerance, tolerance, equal_nan=True):
            hint = ""
            if like.ndim == 1:
                hint = (
                    f"; a state of shape {tuple(like.shape)} is a batch of {len(like)} numbers: "
                    "one state of so many is x[None]"
                )
            raise ValueError(
                "field must map each example of a batch by itself, got one that mixes them or is "
                "random: y[i] is example i; write y[..., i], or od.field(f, batched=False)"
                f"{hint}"
            )
