"""Fields of functions, modules and matrices: what each does, and in which words one is refused."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
import torch
from problems import DTYPE, EPS, normal_numbers
from torch import Tensor

import odestab as od
from odestab.fields.linear_map import LinearMapField, of_scipy

A = normal_numbers(3, 3)
X = normal_numbers(2, 3, seed=1)


def swing(y: Tensor) -> Tensor:
    """A pendulum, one state."""
    return torch.stack([y[1], -y[0].sin()])


def test_a_field_stays_itself() -> None:
    field = od.LinearVectorField(A)
    assert od.field(field) is field and od.Jacobian(field, X).field is field


def test_a_function_of_one_state_is_mapped_over_the_batch() -> None:
    field = od.field(swing, X[:, :2], batched=False)
    expected = torch.stack([X[:, 1], -X[:, 0].sin()], 1)
    torch.testing.assert_close(field(X[:, :2]), expected)
    first = od.Jacobian(field, X[:, :2]).dense()[0]
    slope = -math.cos(X[0, 0].item())
    torch.testing.assert_close(first, torch.tensor([[0.0, 1.0], [slope, 0.0]], dtype=DTYPE))


def test_a_state_gives_a_matrix_its_dtype() -> None:
    assert od.field([[1, 2], [3, 4]]).matrix.dtype == DTYPE
    assert od.field(np.eye(2, dtype=np.float32)).matrix.dtype == torch.float32
    assert od.field(torch.eye(2, dtype=torch.int64)).matrix.dtype == torch.get_default_dtype()
    assert od.field(np.eye(3), X.float()).matrix.dtype == torch.float32
    assert od.ExplicitEuler(1.0).step(np.eye(3), X.float()).state.dtype == torch.float32


def test_what_is_written_into_an_array_afterwards_is_no_change_of_the_field() -> None:
    array = np.eye(2)
    field = od.field(array)
    array[:] = 0
    assert field(torch.ones(1, 2, dtype=DTYPE)).tolist() == [[1.0, 1.0]]


def test_a_linear_operator_is_only_multiplied() -> None:
    calls: list[str] = []
    matrix = A.numpy()

    def times(name: str, factor: np.ndarray) -> Any:
        return lambda v: (calls.append(name), factor @ v)[1]

    operator = scipy.sparse.linalg.LinearOperator(
        (3, 3), matvec=times("mv", matrix), rmatvec=times("rmv", matrix.T), dtype=float
    )
    jacobian = od.Jacobian(operator, X)
    assert jacobian.path == "analytic" and {*calls} == {"mv", "rmv"}
    torch.testing.assert_close(jacobian.dense()[1], A)
    torch.testing.assert_close(jacobian.rmv(X), X @ A)
    tangents = normal_numbers(2, 2, 2, 3)
    torch.testing.assert_close(jacobian.mv(tangents), tangents @ A.T)


@pytest.mark.parametrize("made", [scipy.sparse.csc_matrix(A.numpy()), A.to_sparse()])
def test_torchs_own_transforms_pass_through_products(made: Any) -> None:
    field = od.field(made)
    assert isinstance(field, LinearMapField)
    v = normal_numbers(2, 3, seed=2)
    torch.testing.assert_close(torch.func.jvp(field, (X,), (v,))[1], v @ A.T)
    torch.testing.assert_close(torch.func.vjp(field, X)[1](v)[0], v @ A)
    per_example = torch.func.vmap(lambda x: field(x[None])[0])(X)
    torch.testing.assert_close(per_example, X @ A.T)
    mapped = torch.func.vmap(lambda v: torch.func.jvp(field, (X,), (v,))[1])(torch.stack([v, X]))
    torch.testing.assert_close(mapped[1], X @ A.T)
    x = X.clone().requires_grad_()
    torch.testing.assert_close(torch.autograd.grad(field(x).square().sum(), x)[0], 2 * X @ A.T @ A)
    half = od.Jacobian(field, X).cast(torch.float32).mv(v.float())
    torch.testing.assert_close(half, (v @ A.T).float())


def test_a_split_of_a_matrix_is_left_out_of_its_linearisation() -> None:
    field = od.LinearVectorField(A, split=-1.0)
    v = normal_numbers(4, 2, 3)
    torch.testing.assert_close(field.linearize(X).mv(v), v @ A.T + v, rtol=10 * EPS, atol=10 * EPS)
    torch.testing.assert_close(od.Jacobian(field, X).mv(v), v @ A.T)


NUMPY = r"field must be a function of torch's operations \(torch.sin, torch.stack\), got one that "
REFUSED: dict[str, tuple[Any, str]] = {
    "time": (lambda t, y: y, r"a function of the state alone, got one of \(t, y\): fix the others"),
    "module with a mask": (
        torch.nn.Bilinear(3, 3, 3),
        r"a function of the state alone, got one of \(input1, input2\)",
    ),
    "NumPy": (lambda y: np.sin(y), NUMPY + "asks for NumPy arrays"),
    "stacked by NumPy": (lambda y: np.zeros((2, 3)), NUMPY + "returns ndarray"),
    "shape": (lambda y: y[:, :2], r"field must keep shape \(2, 3\) and .*, got \(2, 2\)"),
    "dtype": (lambda y: y.float(), r"field must keep shape .* got \(2, 3\) and torch.float32"),
    "entries for examples": (
        lambda y: torch.stack([y[1], -y[0]]),
        "field must map each example of a batch by itself",
    ),
    "an entry beyond the batch": (
        lambda y: torch.stack([y[2], y[1], y[0]]),
        r"field must take states \(batch, ...\), got .*batched=False",
    ),
    "random": (torch.nn.Dropout(), "field must map each example of a batch by itself"),
    "wide": (np.ones((2, 3)), r"matrix must be \(n, n\) or \(batch, n, n\), got \(2, 3\)"),
    "wide and sparse": (scipy.sparse.eye_array(2, 3), r"matrix must be square, got \(2, 3\)"),
    "ragged": ([[1.0], [1.0, 2.0]], "matrix must be .*, got lists of unequal lengths"),
    "complex": (1j * np.eye(3), "matrix must be real, got complex128: write A"),
    "complex and sparse": (scipy.sparse.eye_array(3) * 1j, "matrix must be real, got complex128"),
    "complex tensor": (1j * torch.eye(3), "matrix must be real, got complex128"),
    "words": (np.array([["a"]]), "matrix must hold real numbers, got <U1"),
    "too small": (np.eye(2), r"state must be \(batch, ...\) with 2 numbers .*, got \(2, 3\)"),
    "too small and sparse": (
        scipy.sparse.eye_array(2),
        r"state must be \(batch, ...\) with 2 numbers for each example, got \(2, 3\)",
    ),
    "of another batch": (np.ones((4, 3, 3)), r"state must be \(4, ...\) with 3 numbers"),
    "a number": (3.0, "field must be an AbstractVectorField, a function of states .*, got float"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_field_is_refused_in_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    f, match = REFUSED[name]
    with pytest.raises(ValueError, match=match) as refused:
        od.field(f, X)(X)
    assert "\n" not in str(refused.value)
    with pytest.raises(ValueError, match=match):
        od.Jacobian(f, X)


def test_a_matrix_needs_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    for made in (np.eye(3), scipy.sparse.eye_array(3)):
        with pytest.raises(ValueError, match=r"state must be \(batch, ...\) .*, got \(3,\)"):
            od.ExplicitEuler(1.0).step(made, X[0])
    with pytest.raises(TypeError, match=r"state must be a tensor \(batch, ...\), got ndarray"):
        od.Jacobian(A, X.numpy())
    with pytest.raises(ValueError, match="batched must be True for what is no function"):
        od.field(A, batched=False)


def test_an_operator_without_its_transpose_says_so() -> None:
    for transpose in ({}, {"rmatvec": None}):
        operator = scipy.sparse.linalg.LinearOperator(
            (3, 3), matvec=lambda v: A.numpy() @ v, dtype=float, **transpose
        )
        torch.testing.assert_close(of_scipy(operator)(X), X @ A.T)
        with pytest.raises(ValueError, match="LinearOperator must define rmatvec"):
            od.singular_values(operator)


def test_other_errors_of_a_function_are_its_own() -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        od.field(lambda y: y @ torch.ones(2, 2, dtype=DTYPE))(X)


@pytest.mark.parametrize(
    "mixing",
    [
        lambda y: y.cumsum(0),
        lambda y: y - y[:1],
        lambda y: y - y[1:2],
        lambda y: y.roll(2, 0),
        lambda y: y.roll(1, 0),
        lambda y: y - y.mean(0),
    ],
)
def test_examples_that_are_mixed_are_refused_whichever_way(mixing: Any) -> None:
    with pytest.raises(ValueError, match="got one that mixes them"):
        od.field(mixing, normal_numbers(4, 3))


def test_a_state_that_is_no_batch_is_named_where_the_field_mixes_its_numbers() -> None:
    def pendulum(y: torch.Tensor) -> torch.Tensor:
        return torch.stack([y[..., 1], -y[..., 0].sin()], -1)

    one = torch.tensor([0.5, 1.0], dtype=DTYPE)
    with pytest.raises(ValueError, match=r"shape \(2,\) is a batch of 2 numbers: .* is x\[None\]"):
        od.worst_growth(od.ExplicitEuler(), pendulum, one)
    assert od.worst_growth(od.ExplicitEuler(), pendulum, one[None]).values.isfinite().all()


def test_complex_products_of_an_operator_that_says_real_are_refused() -> None:
    turn = scipy.sparse.linalg.LinearOperator(
        (2, 2), matvec=lambda v: 1j * v, rmatvec=lambda v: -1j * v, dtype=float
    )
    with pytest.raises(ValueError, match="matrix must be real, got complex128"):
        od.full_spectrum(turn)


def test_one_matrix_in_a_batch_of_one_stays_that_of_all_examples() -> None:
    field = od.field(A[None], X)
    cut = field.take(torch.tensor([1]))
    assert cut is not None
    torch.testing.assert_close(cut(X[1:]), X[1:] @ A.T, rtol=4 * EPS, atol=4 * EPS)
