import dataclasses
import math

import pytest
import torch
from problems import (
    DTYPE,
    MixingField,
    linear_operator,
    masked_state,
    normal_numbers,
    ragged_mask,
    random_matrix,
    slope,
)
from torch import Tensor

from odestab.fields.vector_field import LinearVectorField
from odestab.solver import Anderson, FixedPoint
from odestab.steps.refinement import Refinement, frozen_refinement, refinement_control

N, PARTS = 8, (1, 2, 4)
SOLVER = Anderson(rtol=1e-10, memory=8, max_iterations=300)


def matrices() -> Tensor:
    return torch.stack([random_matrix(N, "non-normal", seed) for seed in (0, 20)])


def exact(h: float, parts: tuple[int, ...], a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """‖(I + hA/m)^m‖ and ‖(I − hA/m)^{−m}‖, `(batch, parts)`, and ‖e^{hA}‖."""
    identity = torch.eye(a.shape[-1], dtype=DTYPE)

    def norms(base) -> Tensor:
        return torch.stack(
            [torch.linalg.matrix_norm(torch.linalg.matrix_power(base(h / m), m), 2) for m in parts],
            1,
        )

    explicit, implicit = (
        norms(lambda step: identity + step * a),
        norms(lambda step: torch.linalg.inv(identity - step * a)),
    )
    return explicit, implicit, torch.linalg.matrix_norm(torch.linalg.matrix_exp(h * a), 2)


def assert_values(found: Refinement, expected: tuple[Tensor, Tensor, Tensor], rtol: float) -> None:
    for value, truth in zip((found.explicit, found.implicit, found.flow), expected, strict=True):
        torch.testing.assert_close(value, truth, rtol=rtol, atol=0)
    for name, value in (
        ("explicit", found.explicit),
        ("implicit", found.implicit),
        ("flow", found.flow),
    ):
        assert getattr(found, f"{name}_converged").all()
        assert (getattr(found, f"{name}_residuals") <= 1e-2 * value).all()


def test_on_linear_fields_the_values_are_norms_of_powers() -> None:
    found = refinement_control(
        LinearVectorField(matrices()), normal_numbers(2, N), 0.6, (1, 2), 1e-4, solver=SOLVER
    )
    # of second order in rtol; the solves behind the implicit values are good to 3e-6
    assert_values(found, exact(0.6, (1, 2), matrices()), 1e-5)
    assert found.parts == (1, 2) and found.matvecs > 0 and found.kind == "estimate"
    frozen = frozen_refinement(linear_operator(*matrices()), 0.6, (1, 2), 1e-4)
    assert_values(frozen, exact(0.6, (1, 2), matrices()), 1e-5)


def test_a_loose_tolerance_costs_little_accuracy() -> None:
    assert_values(
        frozen_refinement(linear_operator(*matrices()), 1.0, PARTS, 1e-2),
        exact(1.0, PARTS, matrices()),
        1e-3,
    )


@pytest.mark.slow
def test_both_methods_converge_to_the_flow_with_order_one() -> None:
    parts = (4, 8, 16)
    found = frozen_refinement(linear_operator(*(0.3 * matrices())), 1.0, parts, 1e-3)
    for values in (found.explicit, found.implicit):
        errors = (values - found.flow[:, None]).abs()
        for example in range(2):
            assert slope([1 / m for m in parts], errors[example].tolist()) == pytest.approx(
                1, abs=0.1
            )


def implicit_step(field: MixingField, x: Tensor, h: float) -> Tensor:
    """The fixed point of y = x + hf(y), by as many iterations as a contraction by 0.8 needs."""
    y = x
    for _ in range(150):
        y = x + h * field(y)
    return y


def test_nonlinear_steps_are_linearised_where_they_are() -> None:
    mask = ragged_mask(3, 2)
    field, x, h = MixingField.random(mask, fast=True, size=0.6), masked_state(mask), 0.8
    found = refinement_control(field, x, h, (1, 3), 1e-4, solver=SOLVER)
    for example in range(2):
        identity = torch.eye(3 * int(mask[example].sum()), dtype=DTYPE)
        for i, m in enumerate((1, 3)):
            step, y, z, explicit, implicit = h / m, x, x, identity, identity
            for _ in range(m):
                explicit, y = (
                    (identity + step * field.matrix(y, example)) @ explicit,
                    y + step * field(y),
                )
                z = implicit_step(field, z, step)
                implicit = torch.linalg.solve(identity - step * field.matrix(z, example), implicit)
            assert found.explicit[example, i] == pytest.approx(
                float(torch.linalg.matrix_norm(explicit, 2)), rel=1e-5
            )
            assert found.implicit[example, i] == pytest.approx(
                float(torch.linalg.matrix_norm(implicit, 2)), rel=1e-5
            )
        flow = torch.linalg.matrix_exp(h * field.matrix(x, example))
        assert found.flow[example] == pytest.approx(
            float(torch.linalg.matrix_norm(flow, 2)), rel=1e-5
        )
    assert (
        found.explicit_converged.all()
        and found.implicit_converged.all()
        and found.flow_converged.all()
    )


@pytest.mark.slow
def test_padded_batch_equals_alone() -> None:
    mask = ragged_mask(4, 2)
    field, x = MixingField.random(mask, fast=True, size=0.8), masked_state(mask)
    together = refinement_control(field, x, 0.7, (1, 2))
    for example, length in enumerate((4, 2)):
        alone_field = dataclasses.replace(field, mask=torch.ones(1, length, dtype=torch.bool))
        alone = refinement_control(alone_field, x[example : example + 1, :length], 0.7, (1, 2))
        for name in ("explicit", "implicit", "flow"):
            torch.testing.assert_close(
                getattr(together, name)[example], getattr(alone, name)[0], rtol=0, atol=1e-10
            )


def test_a_step_that_cannot_be_solved_is_flagged() -> None:
    """y = x + hf(y) has no solution for f(y) = y at h = 1, has one at h = 1/2, and always for f(y)
    = y/10.
    """
    field = LinearVectorField(
        torch.stack([0.1 * torch.eye(3, dtype=DTYPE), torch.eye(3, dtype=DTYPE)])
    )
    found = refinement_control(field, normal_numbers(2, 3), 1.0, (1, 2), solver=FixedPoint())
    assert found.implicit_converged.tolist() == [[True, True], [False, True]]
    assert found.explicit_converged.all() and found.flow_converged.all()
    torch.testing.assert_close(
        found.implicit[1, 1], torch.tensor(4.0, dtype=DTYPE), rtol=1e-4, atol=0
    )
    assert found.implicit[1, 0].isnan() and found.implicit[0, 0] == pytest.approx(1 / 0.9, rel=1e-4)


def test_what_is_not_finite_stays_in_its_example() -> None:
    bad = torch.full((N, N), math.nan, dtype=DTYPE)
    good = matrices()[:1]
    found = frozen_refinement(linear_operator(good[0], bad), 1.0, PARTS)
    for value, truth in zip(
        (found.explicit, found.implicit, found.flow), exact(1.0, PARTS, good), strict=True
    ):
        torch.testing.assert_close(value[:1], truth, rtol=1e-3, atol=0)
        assert value[1].isnan().all()
    assert not (
        found.explicit_converged[1].any()
        or found.implicit_converged[1].any()
        or found.flow_converged[1]
    )


def test_a_lower_working_precision_keeps_the_values() -> None:
    found = frozen_refinement(
        linear_operator(*matrices()), 1.0, PARTS, 1e-2, work_dtype=torch.float32
    )
    assert found.explicit.dtype == DTYPE
    assert_values(found, exact(1.0, PARTS, matrices()), 1e-3)


def test_wrong_input() -> None:
    operator = linear_operator(*matrices())
    for parts in ((), (0, 1), (2, 1), (1, 1)):
        with pytest.raises(ValueError, match="parts must be ascending and >= 1, got"):
            frozen_refinement(operator, 1.0, parts)
    for h in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="step_size must be > 0 and finite, got"):
            refinement_control(LinearVectorField(matrices()), normal_numbers(2, N), h)
