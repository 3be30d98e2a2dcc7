import math

import numpy as np
import pytest
import torch
from problems import (
    DTYPE,
    MixingField,
    jordan_block,
    linear_operator,
    masked_state,
    normal_numbers,
    orthogonal,
    ragged_mask,
    ragged_operator,
    random_matrix,
    rotation_scaling,
)
from torch import Tensor

from odestab.fields.vector_field import LinearVectorField
from odestab.operators.algebra import affine
from odestab.spectrum import Spectrum, eigenvalues, full_spectrum
from odestab.steps.advantage import damping_advantage, implicit_advantage
from odestab.steps.one_step import ExplicitEuler, ImplicitEuler, ThetaMethod
from odestab.steps.stability import (
    complex_grid,
    lemniscate,
    margin,
    share_outside_lemniscate,
    spectral_growth,
    stability_region,
    stable_step_sizes,
)

METHODS = {
    "explicit": ExplicitEuler,
    "implicit": ImplicitEuler,
    "theta": lambda h: ThetaMethod(h, theta=0.6),
}


def diagonal(*values: complex) -> Tensor:
    """A real matrix with these eigenvalues: a 2×2 block each (the conjugate comes with it)."""
    return rotation_scaling(torch.tensor(values, dtype=torch.complex128))


def test_region_is_the_stability_function_on_the_grid() -> None:
    re, im = torch.linspace(-3, 0.5, 8, dtype=DTYPE), torch.linspace(-2, 2, 5, dtype=DTYPE)
    grid = complex_grid(re, im)
    assert grid.shape == (5, 8) and grid[1, 3] == complex(re[3], im[1])
    torch.testing.assert_close(stability_region(ExplicitEuler(1.0), re, im), (1 + grid).abs())
    torch.testing.assert_close(
        stability_region(ThetaMethod(1.0, theta=0.5), re, im), ((2 + grid) / (2 - grid)).abs()
    )


def test_region_is_infinite_at_the_pole() -> None:
    zero = torch.zeros(1, dtype=DTYPE)
    for method in (ImplicitEuler(1.0), ThetaMethod(1.0, theta=0.5)):
        assert (
            stability_region(method, torch.tensor([method.pole], dtype=DTYPE), zero).item()
            == math.inf
        )


def test_lemniscate_decides_which_step_damps_more() -> None:
    z = torch.complex(normal_numbers(500), normal_numbers(500, seed=1))
    explicit, implicit = (
        ExplicitEuler(1.0).stability_function(z).abs(),
        ImplicitEuler(1.0).stability_function(z).abs(),
    )
    assert torch.equal(lemniscate(z) > 1, implicit < explicit)
    torch.testing.assert_close(lemniscate(z), explicit / implicit, rtol=1e-12, atol=0)


@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS.keys())
@pytest.mark.parametrize("h", [0.2, 0.7, 1.5])
def test_certificate_bounds_the_whole_spectrum_and_certain_is_never_wrong(make, h: float) -> None:
    method = make(h)
    certain = 0
    for kind in ("normal", "non-normal", "stiff"):
        operator = linear_operator(*(random_matrix(12, kind, 10 * i) for i in range(8)))
        exact = method.stability_function(h * full_spectrum(operator).values).abs().amax(1)
        complete = spectral_growth(method, full_spectrum(operator))
        torch.testing.assert_close(complete.value, exact, rtol=1e-12, atol=0)
        assert complete.certain.all() and torch.equal(complete.bound, complete.value)
        for k in (1, 3, 6):
            for center in (0.0, -1.0 / h, 0.4):
                found = spectral_growth(method, eigenvalues(operator, k, center=center))
                assert (found.bound >= exact * (1 - 1e-9)).all() and (
                    found.value <= exact * (1 + 1e-9)
                ).all()
                assert (found.value[found.certain] >= exact[found.certain] * (1 - 1e-8)).all()
                certain += int(found.certain.sum())
    if make is ExplicitEuler:
        assert (
            certain > 0
        )  # ranked around −1/h the first eigenvalue settles the maximum of |1 + hλ|


def test_explicit_growth_is_settled_by_one_eigenvalue_ranked_around_its_zero() -> None:
    operator = linear_operator(random_matrix(12, "non-normal"))
    found = spectral_growth(ExplicitEuler(0.5), eigenvalues(operator, 1, center=-2.0))
    assert found.certain.all()
    torch.testing.assert_close(found.bound, found.value, rtol=1e-9, atol=0)


def test_a_pole_among_what_is_not_listed_leaves_the_growth_open() -> None:
    operator = linear_operator(diagonal(-3 + 0j, -2 + 0j, 0.5 + 0j))
    listed = eigenvalues(operator, 2)  # the disc |λ| ≤ 3 holds the pole 1
    found = spectral_growth(ImplicitEuler(1.0), listed)
    assert found.bound.item() == math.inf and not found.certain.any()
    outside = spectral_growth(ImplicitEuler(0.3), listed)  # now it sits at 1/0.3 > 3
    assert outside.bound.isfinite().all() and outside.bound.item() == pytest.approx(
        1 / (1 - 0.9), rel=1e-9
    )


def test_without_a_disc_nothing_is_certain() -> None:
    operator = linear_operator(random_matrix(12, "normal"))
    for listed in (eigenvalues(operator, 3, "LR"), eigenvalues(operator, 3, "SM")):
        found = spectral_growth(ExplicitEuler(1.0), listed)
        assert found.bound.item() == math.inf and not found.certain.any()


def test_an_eigenvalue_on_the_pole_is_infinite_growth() -> None:
    # Fails if 1/(1 − z) = 1/0 is taken as a complex NaN.
    spectrum = full_spectrum(linear_operator(torch.eye(2, dtype=DTYPE)))
    assert margin(ImplicitEuler(1.0), spectrum).item() == -math.inf
    assert spectral_growth(ImplicitEuler(1.0), spectrum).value.item() == math.inf


def test_margin_of_a_known_spectrum() -> None:
    spectrum = full_spectrum(linear_operator(diagonal(-1 + 0.5j, -1.8 + 0j)))
    assert margin(ExplicitEuler(1.0), spectrum).item() == pytest.approx(0.2, abs=1e-12)
    assert margin(ExplicitEuler(2.0), spectrum).item() == pytest.approx(
        1 - 2.6, abs=1e-12
    )  # |1 − 3.6|
    assert margin(ImplicitEuler(1.0), spectrum).item() == pytest.approx(
        1 - 1 / abs(2 - 0.5j), abs=1e-12
    )


def test_margin_of_a_ragged_batch_ignores_what_is_not_there() -> None:
    small, large = random_matrix(4, "normal"), random_matrix(10, "stiff")
    together = margin(ImplicitEuler(0.5), full_spectrum(ragged_operator(small, large)))
    alone = [
        margin(ImplicitEuler(0.5), full_spectrum(linear_operator(m))).item() for m in (small, large)
    ]
    assert together.tolist() == pytest.approx(alone, rel=1e-12)


def test_candidates_may_be_a_list_or_an_array() -> None:
    damped = [[-1.0, 0.0], [0.0, -4.0]]  # explicit steps are stable for h ≤ 1/2
    for candidates in ([0.1, 1.0], np.array([0.1, 1.0])):
        sizes = stable_step_sizes(ExplicitEuler(1.0), damped, candidates)
        assert sizes.stable.tolist() == [[True, False]]
        assert sizes.describe(0) == "0.1"


def test_stable_step_sizes_in_words() -> None:
    steps = torch.tensor([0.25, 0.5, 1.0, 2.0, 4.0], dtype=DTYPE)
    spectrum = full_spectrum(ragged_operator(diagonal(-1.9 + 0j), diagonal(0.3 + 1j, -1 + 0j)))
    explicit = stable_step_sizes(ExplicitEuler(1.0), spectrum, steps)
    assert explicit.describe(0) == "0.25 to 1" and explicit.describe(1) == "none"
    assert explicit.certain.all() and torch.equal(explicit.stable, explicit.growth <= 1)
    torch.testing.assert_close(explicit.growth[0], (1 - 1.9 * steps).abs(), rtol=1e-12, atol=1e-12)
    # |1 − h(0.3 + i)| ≥ 1 from h = 0.6/1.09 on
    assert stable_step_sizes(ImplicitEuler(1.0), spectrum, steps).describe(1) == "1 to 4"


def test_stable_step_sizes_with_a_gap() -> None:
    steps = torch.tensor([0.1, 0.5, 1.0, 3.0, 5.0], dtype=DTYPE)
    spectrum = full_spectrum(linear_operator(diagonal(1 + 0j)))  # |1 − h| ≥ 1 from h = 2 on
    assert stable_step_sizes(ImplicitEuler(1.0), spectrum, steps).describe(0) == "3 to 5"
    assert stable_step_sizes(ImplicitEuler(1.0), spectrum, steps[[0, 3]]).describe(0) == "3"


def test_certain_step_sizes_are_never_wrong() -> None:
    steps = torch.tensor([0.1, 0.5, 1.0, 2.0], dtype=DTYPE)
    for kind in ("normal", "non-normal", "stiff"):
        operator = linear_operator(*(random_matrix(12, kind, 10 * i) for i in range(6)))
        for method in (ExplicitEuler(1.0), ImplicitEuler(1.0)):
            exact = stable_step_sizes(method, full_spectrum(operator), steps)
            found = stable_step_sizes(method, eigenvalues(operator, 2, center=-1.0), steps)
            assert torch.equal(found.stable[found.certain], exact.stable[found.certain])
            if isinstance(method, ExplicitEuler):
                assert found.certain.any()


def test_ritz_values_that_have_not_converged_settle_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A Jordan-like matrix: λ = −1 only, so explicit Euler with h = 1 is stable, but Ritz values
    fill a disc of radius 1.5.
    """
    # Fails if growth > 1 counts as settled whether or not the Ritz values have converged.
    monkeypatch.setattr("odestab.spectrum.record.DENSE_LIMIT", 32)
    n = 60
    matrix = 1.5 * jordan_block(n, 0.0) - torch.eye(n, dtype=DTYPE)
    leading = eigenvalues(linear_operator(matrix), 2, dimension=16, max_matvecs=16)
    assert not leading.converged.any()
    found = stable_step_sizes(ExplicitEuler(1.0), leading, torch.ones(1, dtype=DTYPE))
    assert not found.certain.any()


def test_wrong_step_sizes() -> None:
    spectrum = full_spectrum(linear_operator(torch.eye(2, dtype=DTYPE)))
    with pytest.raises(ValueError, match="step_size must be > 0 and finite, got 0"):
        stable_step_sizes(ExplicitEuler(1.0), spectrum, torch.tensor([1.0, 0.0], dtype=DTYPE))


def test_share_outside_the_lemniscate_against_a_count() -> None:
    small, large = (
        normal_numbers(5, 5),
        random_matrix(16, "non-normal") - 0.5 * torch.eye(16, dtype=DTYPE),
    )
    large[:3] = 0
    large[:3, :3] = -torch.eye(3, dtype=DTYPE)  # a bulk of three at −1
    h = 0.8
    share, bulk = share_outside_lemniscate(full_spectrum(ragged_operator(small, large)), h)
    for example, matrix in enumerate((small, large)):
        values = torch.linalg.eigvals(matrix).tolist()
        rest = [v for v in values if abs(v + 1) > 1e-3]
        assert int(bulk[example]) == len(values) - len(rest)
        assert share[example].item() == pytest.approx(
            sum(abs(1 - (h * v) ** 2) > 1 for v in rest) / len(rest)
        )
    assert bulk.tolist() == [0, 3]


def test_share_needs_the_whole_spectrum_and_may_be_empty() -> None:
    operator = linear_operator(-torch.eye(4, dtype=DTYPE))
    share, bulk = share_outside_lemniscate(full_spectrum(operator), 1.0)
    assert share.isnan().all() and bulk.item() == 4
    with pytest.raises(
        ValueError, match=r"spectrum must be complete \(full_spectrum\), got leading values only"
    ):
        share_outside_lemniscate(eigenvalues(operator, 2), 1.0)


@pytest.mark.parametrize("h", [0.3, 1.0])
def test_implicit_advantage_against_dense_matrices(h: float) -> None:
    mask = ragged_mask(4, 2)
    field, x, deltas = (
        MixingField.random(mask, size=1.0, split=-0.5, fast=True),
        masked_state(mask),
        normal_numbers(5, 2, 4, 3, seed=8),
    )
    found = implicit_advantage(field, x, deltas, h, implicit=ImplicitEuler(1.0), rtol=1e-10)
    with torch.no_grad():
        y = ImplicitEuler(h).step(field, x).state
    for example in range(2):
        real = mask[example]
        explicit = torch.eye(3 * int(real.sum()), dtype=DTYPE) + h * field.matrix(x, example)
        implicit = torch.eye(3 * int(real.sum()), dtype=DTYPE) - h * field.matrix(y, example)
        delta = deltas[:, example, real].flatten(1).T
        expected = (
            (explicit @ delta).norm(dim=0) / torch.linalg.solve(implicit, delta).norm(dim=0)
        ).log()
        torch.testing.assert_close(found.values[:, example], expected, rtol=0, atol=1e-8)
    assert found.solved.all() and (found.residual <= 1e-10).all() and found.values.shape == (5, 2)
    torch.testing.assert_close(found.mean, found.values.mean(0))
    torch.testing.assert_close(found.standard_error, found.values.std(0) / math.sqrt(5))


def test_advantage_of_an_eigenvector_is_the_logarithm_of_the_lemniscate() -> None:
    values = torch.tensor([-3.0, -1.5, -0.5, 0.5], dtype=DTYPE)
    found = implicit_advantage(
        LinearVectorField(torch.diag(values)),
        normal_numbers(1, 4),
        torch.eye(4, dtype=DTYPE)[:, None],
        1.0,
        rtol=1e-12,
    )
    torch.testing.assert_close(
        found.values[:, 0], lemniscate(values.to(torch.complex128)).log(), rtol=0, atol=1e-10
    )
    assert (found.values[:2] > 0).all() and (found.values[2:] < 0).all()


def test_advantage_of_one_perturbation_has_no_standard_error_and_says_what_was_not_solved() -> None:
    operator = linear_operator(0.5 * torch.eye(3, dtype=DTYPE))
    found = damping_advantage(
        affine(operator, 1.0, 1.0),
        affine(operator, 1.0, -1.0),
        normal_numbers(1, 1, 3),
        torch.tensor([False]),
    )
    assert found.standard_error.isnan().all() and not found.solved.any()
    assert found.mean.item() == pytest.approx(math.log(1.5 * 0.5), rel=1e-10)


def orthogonal_layer(seed: int) -> Spectrum:
    """The explicit step with h = 1 is an orthogonal map: |R| = 1 for every eigenvalue."""
    return full_spectrum(linear_operator(orthogonal(8, seed) - torch.eye(8, dtype=DTYPE)))


def test_rounding_does_not_decide_on_the_boundary() -> None:
    # Fails if growth is compared with 1 as it was rounded.
    one = torch.tensor([1.0], dtype=DTYPE)
    for seed in range(10):
        found = stable_step_sizes(ExplicitEuler(1.0), orthogonal_layer(seed), one)
        assert found.stable.all() and found.boundary.all() and not found.certain.any()
        assert found.describe(0) == "1 (on the boundary: 1)"
        assert margin(ExplicitEuler(1.0), orthogonal_layer(seed)) == 0
        skew = normal_numbers(6, 6, seed=seed)
        steps = torch.tensor([0.3, 1.0, 7.0], dtype=DTYPE)
        found = stable_step_sizes(
            ThetaMethod(1.0, 0.5), full_spectrum(linear_operator(skew - skew.T)), steps
        )
        assert found.stable.all() and found.boundary.all()


def test_off_the_boundary_a_verdict_is_certain() -> None:
    for radius, stable in ((1 - 1e-10, True), (1 + 1e-10, False)):
        spectrum = full_spectrum(
            linear_operator(radius * orthogonal(8, 3) - torch.eye(8, dtype=DTYPE))
        )
        found = stable_step_sizes(ExplicitEuler(1.0), spectrum, torch.tensor([1.0], dtype=DTYPE))
        assert (
            bool(found.stable.all()) == stable and found.certain.all() and not found.boundary.any()
        )
        assert (margin(ExplicitEuler(1.0), spectrum) > 0) == stable


def test_a_defective_eigenvalue_near_the_boundary_leaves_the_verdict_open() -> None:
    # κ is infinite: an eigenvalue of a Jordan block moves by eps^{1/n}, which is 0.03 here.
    matrix = jordan_block(10, -0.001)
    q = orthogonal(10, 1)
    found = stable_step_sizes(
        ExplicitEuler(1.0),
        full_spectrum(linear_operator(q @ matrix @ q.T)),
        torch.tensor([1.0], dtype=DTYPE),
    )
    assert not found.certain.any() and found.boundary.all()


def test_an_eigenvalue_that_is_known_by_its_residual_alone() -> None:
    values = torch.tensor([[-2.0 + 1e-7 + 0j]], dtype=torch.complex128)
    for residual, certain in ((1e-6, False), (1e-9, True)):
        residuals, yes = torch.tensor([[residual]], dtype=DTYPE), torch.tensor([[True]])
        spectrum = Spectrum(values, residuals, yes, 1, "estimate", center=0.0)
        assert bool(spectral_growth(ExplicitEuler(1.0), spectrum).uncertainty > 1e-7) != certain
        found = stable_step_sizes(ExplicitEuler(1.0), spectrum, torch.tensor([1.0], dtype=DTYPE))
        assert bool(found.boundary) != certain


def test_nothing_is_known_of_an_example_that_is_not_finite() -> None:
    spectrum = full_spectrum(
        linear_operator(torch.full((3, 3), torch.nan, dtype=DTYPE), -torch.eye(3, dtype=DTYPE))
    )
    for method in (ExplicitEuler(1.0), ImplicitEuler(1.0), ThetaMethod(1.0)):
        growth = spectral_growth(method, spectrum)
        assert (
            growth.value[0].isnan()
            and growth.bound[0] == torch.inf
            and growth.certain.tolist() == [False, True]
        )
        found = stable_step_sizes(method, spectrum, torch.tensor([0.5, 1.0], dtype=DTYPE))
        assert (
            not found.stable[0].any()
            and not found.certain[0].any()
            and found.describe(0) == "unknown"
        )
        assert found.stable[1].all() and margin(method, spectrum)[0].isnan()
    assert share_outside_lemniscate(spectrum, 1.0)[0][0].isnan()
    assert (
        stability_region(ImplicitEuler(1.0), torch.tensor([torch.nan]), torch.zeros(1))
        .isnan()
        .all()
    )


def test_eigenvalues_on_the_lemniscate_are_not_outside() -> None:
    # z = √2 lies on |z² − 1| = 1: rounding puts a similar matrix's eigenvalue to either side.
    q = orthogonal(4, 2)
    matrix = q @ (math.sqrt(2) * torch.eye(4, dtype=DTYPE)) @ q.T
    assert share_outside_lemniscate(full_spectrum(linear_operator(matrix)), 1.0)[0] == 0


@pytest.mark.parametrize("coupling, boundary", [(0.0, False), (1e3, True)])
def test_the_condition_of_a_ritz_value_decides_what_is_on_the_boundary(
    coupling: float, boundary: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Fails if a factor of 10 stands for the condition number, which is 1e4 here: an eigenvalue that
    # may lie on either side of |R| = 1 is called certain. Without the coupling it is.
    monkeypatch.setattr("odestab.spectrum.record.DENSE_LIMIT", 0)
    values = torch.linspace(-1.0, -0.1, 40, dtype=DTYPE)
    values[:2] = torch.tensor([-2.0 + 1e-11, -1.9], dtype=DTYPE)
    matrix = torch.diag(values)
    matrix[0, 1] = coupling
    q = orthogonal(40, 1)
    spectrum = eigenvalues(linear_operator(q @ matrix @ q.T), 4, center=-1.0)
    assert spectrum.converged.all() and (10 * spectrum.residuals < 1e-11).all()
    one = torch.tensor([1.0], dtype=DTYPE)
    assert bool(stable_step_sizes(ExplicitEuler(1.0), spectrum, one).boundary) == boundary
