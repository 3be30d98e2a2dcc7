import math

import pytest
import torch
from problems import (
    DTYPE,
    EPS,
    grcar,
    jordan_block,
    linear_operator,
    orthogonal,
    ragged_operator,
    random_matrix,
)
from torch import Tensor

from odestab.nonnormality.henrici import henrici_departure


def dense(matrix: Tensor) -> float:
    return float(henrici_departure(linear_operator(matrix)).value[0])


def test_known_departures() -> None:
    assert dense(torch.tensor([[0.0, 5.0], [0.0, 0.0]], dtype=DTYPE)) == pytest.approx(
        5.0, rel=1e-12
    )
    assert dense(jordan_block(9, 2.0)) == pytest.approx(
        math.sqrt(8), rel=1e-3
    )  # its eigenvalues are known to eps^(1/9)
    upper = torch.triu(torch.ones(6, 6, dtype=DTYPE), 1)
    values = torch.arange(1.0, 7.0, dtype=DTYPE)
    assert dense(upper + torch.diag(values)) == pytest.approx(math.sqrt(15), rel=1e-9)


def test_normal_matrices_have_none_and_similarity_changes_nothing() -> None:
    normal, grown, q = (
        random_matrix(20, "normal"),
        random_matrix(20, "non-normal"),
        orthogonal(20, 3),
    )
    assert dense(normal) < math.sqrt(1e3 * EPS) * float(
        torch.linalg.matrix_norm(normal)
    )  # a difference of equal numbers
    assert dense(q @ grown @ q.T) == pytest.approx(dense(grown), rel=1e-9)


def test_the_estimate_is_a_lower_bound_and_has_a_true_error() -> None:
    matrices = [random_matrix(40, "non-normal", seed) for seed in range(4)] + [grcar(40)]
    operator = linear_operator(*matrices)
    exact, bound = henrici_departure(operator), henrici_departure(operator, limit=0, probes=200)
    assert (exact.kind, bound.kind) == ("exact", "bound") and (exact.error == 0).all()
    assert (bound.value <= exact.value + 4 * bound.error).all() and (
        bound.value > 0.01 * exact.value
    ).all()
    for matrix, value, error, size in zip(
        matrices, bound.value, bound.error, bound.frobenius, strict=True
    ):
        norm = torch.linalg.matrix_norm(matrix) ** 2
        half = torch.linalg.matrix_norm(matrix @ matrix.T - matrix.T @ matrix) ** 2 / 2
        assert abs(float(value - (norm - (norm**2 - half).sqrt()).sqrt())) < 4 * float(error)
        assert abs(float(size - norm.sqrt())) < 0.1 * float(norm.sqrt())


def test_a_normal_matrix_has_bound_zero() -> None:
    found = henrici_departure(linear_operator(random_matrix(30, "normal")), limit=0)
    assert float(found.value[0]) < math.sqrt(1e3 * EPS) * float(found.frobenius[0])


@pytest.mark.parametrize("limit", [0, 1600])
def test_a_batch_gives_each_example_what_it_gets_alone(limit: int) -> None:
    matrices = (random_matrix(20, "non-normal"), random_matrix(6, "non-normal", 1))
    together = henrici_departure(ragged_operator(*matrices), limit=limit)
    for example, matrix in enumerate(matrices):
        alone = henrici_departure(ragged_operator(matrix), limit=limit)
        torch.testing.assert_close(together.value[example], alone.value[0], rtol=1e-10, atol=0)


def test_not_finite_is_data_and_wrong_input_is_named() -> None:
    bad = torch.full((6, 6), torch.nan, dtype=DTYPE)
    operator = linear_operator(bad, random_matrix(6, "non-normal"))
    for limit in (0, 1600):
        found = henrici_departure(operator, limit=limit)
        assert found.value[0].isnan() and found.value[1].isfinite()
    with pytest.raises(ValueError, match="probes must be at least 2, got 1"):
        henrici_departure(operator, probes=1)
