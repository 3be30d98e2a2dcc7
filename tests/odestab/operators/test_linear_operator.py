import numpy as np
import pytest
import torch
from problems import (
    EPS,
    MixingField,
    linear_operator,
    masked_state,
    normal_numbers,
    ragged_mask,
    ragged_operator,
    seeded,
)

from odestab.operators.algebra import affine, check_adjoint, compose, inverse, solve, symmetric_part
from odestab.operators.factorized_inverse import factorized_inverse
from odestab.operators.jacobian import Jacobian
from odestab.operators.linear_operator import ComposedOperator

N = 7


def two_matrices() -> tuple[torch.Tensor, torch.Tensor]:
    return normal_numbers(N, N, seed=1), normal_numbers(N, N, seed=2)


def assert_dense(
    operator: ComposedOperator, expected: list[torch.Tensor], atol: float = 1e3 * EPS
) -> None:
    for got, want in zip(operator.dense(), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=atol)
    adjoint = ComposedOperator(operator.rmv, operator.mv, operator.like, operator.mask)
    for got, want in zip(adjoint.dense(), expected, strict=True):
        torch.testing.assert_close(got, want.T, rtol=0, atol=atol)


def test_dense_is_the_matrix_whatever_the_chunk() -> None:
    a, b = two_matrices()
    operator = linear_operator(a, b)
    for chunk in (1, 3, N, 64):
        for got, want in zip(operator.dense(chunk), (a, b), strict=True):
            assert torch.equal(got, want)


def test_dense_of_a_ragged_batch_is_each_examples_own_matrix() -> None:
    small, large = normal_numbers(3, 3, seed=1), normal_numbers(8, 8, seed=2)
    for chunk in (2, 32):
        for got, want in zip(
            ragged_operator(small, large).dense(chunk), (small, large), strict=True
        ):
            assert torch.equal(got, want)


def test_affine_symmetric_part_and_composition_against_dense() -> None:
    a, b = two_matrices()
    identity = torch.eye(N, dtype=a.dtype)
    assert_dense(
        affine(linear_operator(a, b), 2.0, -0.5), [2 * identity - 0.5 * a, 2 * identity - 0.5 * b]
    )
    assert_dense(symmetric_part(linear_operator(a, b)), [(a + a.T) / 2, (b + b.T) / 2])
    assert_dense(
        compose([linear_operator(a), linear_operator(b), linear_operator(a)]), [a @ b @ a]
    )  # A acts first
    assert_dense(compose([linear_operator(a), linear_operator(b)]), [b @ a])


def test_affine_acts_as_the_projector_on_padding() -> None:
    operator = affine(ragged_operator(normal_numbers(2, 2), normal_numbers(5, 5)), 1.0, 0.3)
    image = operator.mv(torch.ones(2, 5, 1, dtype=torch.float64))
    assert (image[0, 2:] == 0).all() and (image[0, :2] != 0).all()


def test_inverse_and_solve_against_dense() -> None:
    a, b = (m + 4 * torch.eye(N, dtype=m.dtype) for m in two_matrices())
    operator = linear_operator(a, b)
    # ‖x − A⁻¹b‖ ≤ ‖A⁻¹‖ rtol ‖b‖ with unit columns for right-hand sides
    atol = 1e-12 * max(float(torch.linalg.matrix_norm(m.inverse(), 2)) for m in (a, b))
    assert_dense(inverse(operator, 1e-12), [a.inverse(), b.inverse()], atol)
    rhs = normal_numbers(3, 2, N)  # three tangents of two examples
    for transposed in (False, True):
        record = solve(operator, rhs, 1e-12, transposed=transposed)
        assert record.converged.all() and record.residual.shape == (6,)
        matrices = torch.stack([a.T, b.T] if transposed else [a, b])
        back = (matrices @ record.solution.view(3, 2, N, 1))[..., 0]
        assert ((back - rhs).norm(dim=2) <= 2e-12 * rhs.norm(dim=2)).all()


def test_inverse_on_a_ragged_batch_ignores_padding() -> None:
    small, large = (
        normal_numbers(n, n, seed=n) + 4 * torch.eye(n, dtype=torch.float64) for n in (3, 6)
    )
    rhs = normal_numbers(2, 6, 1)
    solution = inverse(ragged_operator(small, large), 1e-13).mv(rhs)
    torch.testing.assert_close(
        solution[0, :3, 0], torch.linalg.solve(small, rhs[0, :3, 0]), rtol=0, atol=1e-12
    )
    assert (solution[0, 3:] == 0).all()


def test_check_adjoint_is_rounding_for_an_adjoint_and_large_for_none() -> None:
    a, b = two_matrices()
    right, wrong = (
        linear_operator(a, b),
        ComposedOperator(linear_operator(a).mv, linear_operator(a).mv, normal_numbers(1, N), None),
    )
    assert (check_adjoint(right) < 10 * N * EPS).all()
    assert (check_adjoint(wrong) > 1e-2).all()


def test_to_scipy_gives_each_example_on_its_real_tokens() -> None:
    small, large = normal_numbers(3, 3, seed=1), normal_numbers(8, 8, seed=2)
    operator = ragged_operator(small, large)
    for example, matrix in enumerate((small, large)):
        linear = operator.to_scipy(example)
        assert linear.shape == tuple(matrix.shape) and linear.dtype == np.float64
        identity = np.eye(len(matrix))
        np.testing.assert_array_equal(linear @ identity, matrix.numpy())
        np.testing.assert_array_equal(linear.rmatmat(identity), matrix.T.numpy())
    with pytest.raises(ValueError, match=r"example must be in 0\.\.1, got 2"):
        operator.to_scipy(2)


def test_start_vectors_do_not_depend_on_batch_mates() -> None:
    matrices = [normal_numbers(n, n) for n in (3, 8, 5)]
    together = ragged_operator(*matrices).random(torch.Generator().manual_seed(4))
    for example, matrix in enumerate(matrices):
        alone = ragged_operator(matrix).random(torch.Generator().manual_seed(4))
        assert torch.equal(together[example, : len(matrix)], alone[0])
    assert (together[0, 3:] == 0).all()
    assert not torch.equal(
        together[0], ragged_operator(*matrices).random(torch.Generator().manual_seed(5))[0]
    )


def layer_jacobian() -> Jacobian:
    """A field of which only torch.func knows the derivative: neither cast nor cut is cheap there,
    both must be right.
    """
    mask = ragged_mask(5, 3, 4)
    return Jacobian(MixingField.random(mask, split=-1.0), masked_state(mask))


@pytest.mark.parametrize(
    "make",
    [
        lambda o: o,
        lambda o: affine(o, 2.0, -0.3),
        symmetric_part,
        lambda o: compose([o, o]),
        inverse,
    ],
)
def test_a_choice_of_examples_and_another_precision(make) -> None:
    operator = make(layer_jacobian())
    v = operator.random(seeded(3))
    chosen = torch.tensor([2, 0])
    some, single = operator.take(chosen), operator.cast(torch.float32)
    for name in ("mv", "rmv"):
        whole = getattr(operator, name)(v)
        torch.testing.assert_close(
            getattr(some, name)(v[chosen]), whole[chosen], rtol=1e-7, atol=1e-7
        )  # inverse: solved to 1e-8
        two = torch.stack([v, 2 * v])
        torch.testing.assert_close(
            getattr(some, name)(two[:, chosen]),
            getattr(operator, name)(two)[:, chosen],
            rtol=1e-7,
            atol=1e-7,
        )
        rounded = getattr(single, name)(v.float())
        assert rounded.dtype == torch.float32
        torch.testing.assert_close(rounded.double(), whole, rtol=1e-3, atol=1e-4)
    assert (
        some.sizes == [operator.sizes[2], operator.sizes[0]]
        and operator.cast(torch.float64) is operator
    )


def test_factorized_inverse_of_a_ragged_batch() -> None:
    a, b = normal_numbers(7, 7, seed=1), normal_numbers(4, 4, seed=2)
    assert_dense(
        factorized_inverse(ragged_operator(a, b)), [a.inverse(), b.inverse()], atol=1e4 * EPS
    )
    v = torch.stack([factorized_inverse(ragged_operator(a, b)).random(seeded(s)) for s in range(3)])
    together = factorized_inverse(ragged_operator(a, b)).mv(v)
    torch.testing.assert_close(together[1], factorized_inverse(ragged_operator(a, b)).mv(v[1]))
    bad = factorized_inverse(linear_operator(torch.full((7, 7), torch.nan, dtype=a.dtype), a)).mv(
        torch.ones(2, 7, dtype=a.dtype)
    )
    assert bad[0].isnan().all() and bad[1].isfinite().all()


def test_scipy_products_with_complex_vectors() -> None:
    # Fails if only the real part reaches the operator.
    matrix = normal_numbers(9, 9)
    operator = linear_operator(matrix, 2 * matrix).to_scipy(1)
    z = (normal_numbers(9, seed=1) + 1j * normal_numbers(9, seed=2)).numpy()
    np.testing.assert_allclose(operator @ z, 2 * matrix.numpy() @ z, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(operator.H @ z, 2 * matrix.numpy().T @ z, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(
        operator @ np.stack([z, 1j * z], 1),
        2 * matrix.numpy() @ np.stack([z, 1j * z], 1),
        atol=1e-13,
    )
