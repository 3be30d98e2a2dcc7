import math

import pytest
import torch
from problems import (
    DTYPE,
    EPS,
    MixingField,
    grcar,
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

from odestab.nonnormality.matrix_exponential import (
    counted,
    exponential,
    exponential_action,
    transient_growth,
)
from odestab.operators.algebra import affine, check_adjoint, compose
from odestab.operators.jacobian import Jacobian
from odestab.spectrum import logarithmic_norm

BIG = 60


@pytest.fixture
def krylov(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small matrices take the dense path; without it quick tests reach the Krylov path."""
    monkeypatch.setattr("odestab.spectrum.record.DENSE_LIMIT", 0)


def whidborne_amar() -> Tensor:
    """Plischke and Wirth's matrix; max ‖e^{tA}‖² = 358147.98785179 (Whidborne and Amar 2011;
    Chebfun example TransientGrowth).
    """
    rows = [
        [-1, 0, 0, 0, 0, 0, -625],
        [0, -1, -30, 400, 0, 0, 250],
        [-2, 0, -1, 0, 0, 0, 30],
        [5, -1, 5, -1, 0, 0, 200],
        [11, 1, 25, -10, -1, 1, -200],
        [200, 0, 0, -150, -100, -1, -1000],
        [1, 0, 0, 0, 0, 0, -1],
    ]
    return torch.tensor(rows, dtype=DTYPE)


def skew(n: int, seed: int = 0) -> Tensor:
    a = normal_numbers(n, n, seed=seed)
    return (a - a.T) / 2


def varied() -> list[Tensor]:
    """Non-normal, oscillating, decaying, growing, nilpotent but for a shift: ‖A‖ from 3 to 100."""
    return [
        random_matrix(BIG, "non-normal"),
        skew(BIG),
        -100 * torch.diag(torch.linspace(0, 1, BIG, dtype=DTYPE)),
        4 * grcar(BIG),
        5 * jordan_block(BIG, -1.0),
    ]


def images(matrices: list[Tensor], v: Tensor, t: float = 1.0) -> Tensor:
    return (torch.linalg.matrix_exp(t * torch.stack(matrices)) @ v[..., None])[..., 0]


def relative(found: Tensor, exact: Tensor) -> Tensor:
    return (found - exact).norm(dim=-1) / exact.norm(dim=-1)


@pytest.mark.parametrize("limit", [0, 256])
def test_jordan_block_in_closed_form(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """e^{t(λI + N)} = e^{λt} Σ (tN)^k/k!"""
    monkeypatch.setattr("odestab.spectrum.record.DENSE_LIMIT", limit)
    n, t, value = 6, 1.3, -0.4
    exact = math.exp(value * t) * sum(
        torch.diag(torch.full((n - k,), t**k / math.factorial(k), dtype=DTYPE), k) for k in range(n)
    )
    (found,) = exponential(linear_operator(jordan_block(n, value)), t).dense()
    torch.testing.assert_close(found, exact, rtol=0, atol=100 * EPS)


@pytest.mark.parametrize("rtol", [1e-3, 1e-6, 1e-10])
@pytest.mark.parametrize("dimension", [60, 16])
def test_the_error_is_within_the_estimate_and_the_estimate_within_tolerance(
    rtol: float, dimension: int
) -> None:
    operator, v = linear_operator(*varied()), normal_numbers(5, BIG)
    found = exponential_action(operator.flat(operator.mv), v, rtol, dimension)
    error = relative(found.state, images(varied(), v))
    rounding = 1e-12  # of the reference as well
    assert (error <= found.error + rounding).all() and (error <= rtol).all()
    assert (found.products > 0).all()


def test_a_small_space_takes_sub_steps() -> None:
    operator, v = linear_operator(*varied()), normal_numbers(5, BIG)
    products = [
        exponential_action(operator.flat(operator.mv), v, 1e-8, dimension).products
        for dimension in (60, 16)
    ]
    assert (products[1] > 60).any() and (products[1] >= products[0]).all()


def test_what_decays_far_below_rounding_is_accurate_relative_to_the_result(krylov: None) -> None:
    """‖e^A v‖ = 1e-42 ‖v‖: rounding relative to v itself would leave no digit of it."""
    values = torch.linspace(-300, -97, BIG, dtype=DTYPE)
    turned = orthogonal(BIG, 3)
    operator = linear_operator(turned * values @ turned.T)
    v = normal_numbers(1, BIG)
    exact = turned @ (values.exp() * (turned.T @ v[0]))
    assert relative(exponential(operator).mv(v)[0], exact) < 1e-7
    assert relative(exponential(operator).rmv(v)[0], exact) < 1e-7


def test_stiff_decay_is_accurate_relative_to_the_result(krylov: None) -> None:
    """‖A‖ = 10⁴: a Taylor polynomial would need as many products; e^A v is what the slow modes
    leave of v.
    """
    matrix = random_matrix(BIG, "stiff")
    v = normal_numbers(1, BIG)
    found = exponential(linear_operator(matrix), 1.0, 1e-8).mv(v)
    values, vectors = torch.linalg.eigh(matrix)
    exact = (vectors * values.exp()) @ (vectors.T @ v[0])
    assert relative(found[0], exact) < 1e-8


@pytest.mark.parametrize("limit", [0, 256])
def test_group_property_and_inverse(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr("odestab.spectrum.record.DENSE_LIMIT", limit)
    operator, v = (
        linear_operator(random_matrix(BIG, "non-normal"), 0.1 * skew(BIG)),
        normal_numbers(2, BIG),
    )
    whole = exponential(operator, 1.5, 1e-12).mv(v)
    parts = compose([exponential(operator, t, 1e-12) for t in (0.4, 1.1)]).mv(v)
    assert relative(parts, whole).max() < 1e-10
    assert (
        relative(exponential(operator, -1.5, 1e-12).mv(whole), v).max() < 1e-9
    )  # times ‖e^{−A}‖‖e^A‖
    at_once = exponential(operator, torch.tensor([1.5, -0.3], dtype=DTYPE), 1e-12).mv(v)
    assert (
        relative(at_once[0], whole[0]) < 1e-10
        and relative(at_once[1], exponential(operator, -0.3, 1e-12).mv(v)[1]) < 1e-10
    )


def test_adjoint_tangents_and_padding(krylov: None) -> None:
    mask = ragged_mask(4, 2)
    field, x = MixingField.random(mask, fast=True, size=2.0), masked_state(mask)
    flow = exponential(Jacobian(field, x), 0.8, 1e-12)
    assert check_adjoint(flow).max() < 1e-11
    v = normal_numbers(3, 2, *x.shape, seed=5)
    found = flow.mv(v)
    assert found.shape == v.shape and (found[..., ~mask, :] == 0).all()
    for i in range(3):
        torch.testing.assert_close(found[i, 1], flow.mv(v[i, 1]), rtol=0, atol=1e-10)
    for example in range(2):
        exact = torch.linalg.matrix_exp(0.8 * field.matrix(x, example))
        torch.testing.assert_close(flow.dense()[example], exact, rtol=0, atol=1e-10)
        torch.testing.assert_close(
            exponential(Jacobian(field, x), 0.8).dense()[example], exact, rtol=0, atol=1e-7
        )


def test_dense_respects_padding() -> None:
    matrices = [normal_numbers(3, 3), normal_numbers(5, 5)]
    flow = exponential(ragged_operator(*matrices), 0.7)
    v = normal_numbers(4, 2, 5, 1)
    assert (flow.mv(v)[:, 0, 3:] == 0).all()
    for found, matrix in zip(flow.dense(), matrices, strict=True):
        torch.testing.assert_close(
            found, torch.linalg.matrix_exp(0.7 * matrix), rtol=1e-12, atol=1e-12
        )
    assert check_adjoint(flow).max() < 1e-13


def test_batch_equals_alone(krylov: None) -> None:
    v = normal_numbers(5, BIG)
    together = exponential(linear_operator(*varied()), 1.0, 1e-6).mv(v)
    for example, matrix in enumerate(varied()):
        alone = exponential(linear_operator(matrix), 1.0, 1e-6).mv(v[example : example + 1])
        assert relative(together[example], alone[0]) < 1e-10


def test_changed_precision_and_choice_of_examples(krylov: None) -> None:
    operator, v = linear_operator(*varied()[:3]), normal_numbers(3, BIG)
    flow, chosen = exponential(operator, 0.9, 1e-10), torch.tensor([2, 0])
    torch.testing.assert_close(
        flow.take(chosen).mv(v[chosen]), flow.mv(v)[chosen], rtol=0, atol=1e-9
    )
    single = flow.cast(torch.float32).mv(v.float())
    assert (
        single.dtype == torch.float32 and relative(single.double(), flow.mv(v)).max() < 1e-4
    )  # 20 eps of float32, times ‖A‖ ≈ 100


@pytest.mark.parametrize("limit", [0, 256])
def test_what_is_not_finite_stays_in_its_example(
    monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr("odestab.spectrum.record.DENSE_LIMIT", limit)
    bad = torch.eye(8, dtype=DTYPE)
    bad[2, 3] = math.nan
    good, v = random_matrix(8, "normal"), normal_numbers(2, 8)
    found = exponential(linear_operator(good, bad), 1.0).mv(v)
    assert found[1].isnan().any() and relative(found[0], images([good], v[:1])[0]) < 1e-8
    growth = transient_growth(linear_operator(good, bad), torch.linspace(0, 1, 3))
    assert growth.converged.tolist() == [True, False] and growth.peak[1].isnan()


def test_a_spent_budget_is_nan_not_a_guess() -> None:
    operator, v = linear_operator(1e3 * skew(BIG), skew(BIG)), normal_numbers(2, BIG)
    found = exponential_action(operator.flat(operator.mv), v, 1e-8, 20, max_products=200)
    assert (
        found.state[0].isnan().all()
        and relative(found.state[1], images([skew(BIG)], v[1:])[0]) < 1e-8
    )


def test_products_are_counted_with_their_tangents() -> None:
    tally: list[int] = []
    operator = affine(counted(linear_operator(grcar(6)), tally), 1.0, 2.0)
    (
        operator.mv(normal_numbers(4, 1, 6)),
        operator.rmv(normal_numbers(1, 6)),
        operator.cast(torch.float32).mv(normal_numbers(1, 6).float()),
    )
    assert tally == [4, 1, 1]


def test_transient_growth_of_a_known_matrix() -> None:
    matrix = whidborne_amar()
    found = transient_growth(
        linear_operator(matrix, matrix.T), torch.linspace(0, 1.5, 61), rtol=1e-8
    )
    # what is left is rounding: eps times the condition of e^{tA}, about 4e5
    torch.testing.assert_close(
        found.peak**2, torch.full((2,), 358147.98785179, dtype=DTYPE), rtol=3e-12, atol=0
    )
    torch.testing.assert_close(
        found.peak_time, torch.full((2,), 0.59345, dtype=DTYPE), rtol=0, atol=1e-5
    )
    assert (
        found.converged.all()
        and (found.growth <= found.peak[:, None]).all()
        and found.kind == "estimate"
    )
    assert found.slope.abs().max() < 1e-5
    image = torch.linalg.matrix_exp(found.peak_time[0] * matrix) @ found.right[0]
    torch.testing.assert_close(
        image, found.peak[0] * found.left[0], rtol=0, atol=1e-8 * float(found.peak[0])
    )
    dense = torch.linalg.matrix_norm(
        torch.linalg.matrix_exp(found.times[:, None, None] * matrix), 2
    )
    torch.testing.assert_close(found.growth[0], dense, rtol=1e-10, atol=0)


def test_growth_is_below_the_exponential_of_the_logarithmic_norm_and_begins_with_it() -> None:
    """‖e^{tA}‖ ≤ e^{tμ₂}, and log ‖e^{tA}‖/t → μ₂ with an error of order t."""
    matrices = [random_matrix(20, "non-normal"), grcar(20), jordan_block(20, -1.5)]
    operator = linear_operator(*matrices)
    mu = logarithmic_norm(operator, 1e-10).values
    times = torch.tensor([1e-4, 1e-3, 1e-2, 0.1, 1.0, 4.0], dtype=DTYPE)
    rate = transient_growth(operator, times, 1e-9).growth.log() / times
    assert (rate <= mu + 1e-9).all()
    assert (mu - rate[:, :1]).abs().max() < 1e-2 and (mu - rate)[:, 1].max() > 5 * (mu - rate)[
        :, 0
    ].max()


def test_skew_symmetric_and_normal_matrices_do_not_grow() -> None:
    decay = rotation_scaling(torch.tensor([-0.1 + 2j, -0.5 + 1j, -1 - 3j], dtype=torch.complex128))
    found = transient_growth(linear_operator(skew(6), decay), torch.linspace(0, 2, 5))
    torch.testing.assert_close(found.growth[0], torch.ones(5, dtype=DTYPE), rtol=1e-12, atol=0)
    torch.testing.assert_close(found.growth[1], torch.exp(-0.1 * found.times), rtol=1e-12, atol=0)
    assert found.converged.all() and found.peak_time[1] == 0
    torch.testing.assert_close(found.peak, torch.ones(2, dtype=DTYPE), rtol=1e-12, atol=0)


def test_growth_that_goes_on_is_seen_in_the_slope() -> None:
    q = orthogonal(5)
    found = transient_growth(
        linear_operator(q @ torch.diag(torch.tensor([0.5, 0, -1, -2, -3], dtype=DTYPE)) @ q.T),
        torch.tensor([0.0, 1.0, 2.0]),
    )
    assert found.peak_time[0] == 2 and found.converged[0]
    torch.testing.assert_close(found.peak[0], torch.tensor(math.e, dtype=DTYPE), rtol=1e-10, atol=0)
    torch.testing.assert_close(found.slope[0], torch.tensor(0.5, dtype=DTYPE), rtol=1e-5, atol=0)


def test_the_peak_of_a_two_by_two_matrix_and_batch_equals_alone(krylov: None) -> None:
    """A = [[−1, c], [0, −1]]: e^{tA} = e^{−t}[[1, ct], [0, 1]], σ = e^{−t}(ct/2 + √(1 + c²t²/4)),
    largest where c²/4 = 1 + c²t²/4.
    """
    strengths = [3.0, 10.0, 100.0]
    matrices = [torch.tensor([[-1.0, c], [0.0, -1.0]], dtype=DTYPE) for c in strengths]
    times = torch.tensor([0.0, 0.3, 1.4, 3.0])
    found = transient_growth(linear_operator(*matrices), times, 1e-8)
    for i, c in enumerate(strengths):
        t = math.sqrt(1 - 4 / c**2)
        peak = math.exp(-t) * (c * t / 2 + c / 2)
        assert found.peak[i] == pytest.approx(peak, rel=1e-8) and found.peak_time[
            i
        ] == pytest.approx(t, abs=1e-4)
        alone = transient_growth(linear_operator(matrices[i]), times, 1e-8)
        for name in ("growth", "peak", "peak_time", "slope"):
            torch.testing.assert_close(
                getattr(found, name)[i], getattr(alone, name)[0], rtol=1e-10, atol=1e-10
            )
    assert found.converged.all()


def test_wrong_input() -> None:
    operator = linear_operator(grcar(4))
    for time in (math.inf, math.nan):
        with pytest.raises(ValueError, match="time must be finite, got"):
            exponential(operator, time)
    for times in ([], [0.0, math.nan], [1.0, 0.5], [-1.0, 0.0]):
        with pytest.raises(ValueError, match=r"times must be ascending, finite and >= 0, got \["):
            transient_growth(operator, torch.tensor(times))


@pytest.mark.parametrize("coupling", [1e-12, 1e-5, 1e5, 1e9, 1e12])
def test_entries_of_any_size(coupling: float) -> None:
    """[[0, b], [0, −1]] has e^A (x, y) = (x + b (1 − 1/e) y, y/e), [[40, 0], [b, 0]] the column
    (e^40, b (e^40 − 1)/40).
    """
    found = exponential(linear_operator(torch.tensor([[0.0, coupling], [0.0, -1.0]], dtype=DTYPE)))
    expected = torch.tensor([[1 + coupling * (1 - math.exp(-1)), math.exp(-1)]], dtype=DTYPE)
    torch.testing.assert_close(
        found.mv(torch.ones(1, 2, dtype=DTYPE)), expected, rtol=1e-12, atol=0
    )
    found = exponential(linear_operator(torch.tensor([[40.0, 0.0], [coupling, 0.0]], dtype=DTYPE)))
    expected = torch.tensor([[math.exp(40), coupling * math.expm1(40) / 40]], dtype=DTYPE)
    torch.testing.assert_close(
        found.mv(torch.tensor([[1.0, 0.0]], dtype=DTYPE)), expected, rtol=1e-12, atol=0
    )


def test_a_badly_scaled_full_matrix() -> None:
    # Fails without balancing: Taylor polynomials and Padé approximants of it differ in all digits.
    scale = torch.tensor([1.0, 2.0**40, 2.0**-30, 2.0**15], dtype=DTYPE)
    matrix = normal_numbers(4, 4)
    found = exponential(linear_operator(scale[:, None] * matrix / scale)).mv(
        torch.ones(1, 4, dtype=DTYPE)
    )
    expected = scale * (torch.linalg.matrix_exp(matrix) @ (1 / scale))
    torch.testing.assert_close(found[0], expected, rtol=1e-8, atol=0)


def test_what_the_last_digits_of_a_matrix_decide_is_nan() -> None:
    q = orthogonal(2, 4)
    matrix = q @ torch.tensor([[0.0, 1e9], [0.0, -1.0]], dtype=DTYPE) @ q.T
    good = -torch.eye(2, dtype=DTYPE)
    found = exponential(linear_operator(matrix, good)).mv(torch.ones(2, 2, dtype=DTYPE))
    assert found[0].isnan().all()
    torch.testing.assert_close(found[1], torch.full((2,), math.exp(-1), dtype=DTYPE))


@pytest.mark.parametrize("seed", [101, 178, 261, 265, 281])
def test_a_correction_about_to_change_its_sign_is_not_taken_for_convergence(seed: int) -> None:
    # Fails without the residual term of the estimate: on these rotations the other one is small too
    # early.
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(12, 12, dtype=DTYPE, generator=generator)
    matrix = (0.5 + seed % 7) * (matrix - matrix.T)
    v = torch.randn(1, 12, dtype=DTYPE, generator=generator)
    found = exponential_action(lambda x: x @ matrix.T, v, 1e-3).state
    expected = v @ torch.linalg.matrix_exp(matrix).T
    assert (found - expected).norm() <= 1e-3 * expected.norm()


def beside_decay(block: Tensor, n: int = 40) -> Tensor:
    """The block, beside what only decays."""
    return torch.block_diag(block, torch.diag(torch.linspace(-2, -1, n - len(block), dtype=DTYPE)))


def unit_vector(n: int, i: int) -> Tensor:
    return torch.eye(n, dtype=DTYPE)[i][None]


@pytest.mark.parametrize("coupling", [1e-6, 1e-12])
def test_what_lies_behind_a_tiny_coupling_and_grows_is_found(krylov: None, coupling: float) -> None:
    # Fails if the error estimate, in norms, is not held against what may become of it: two products
    # see nothing but a coupling below rtol, behind which e^30 waits.
    rates = (-1.0, -0.5, 30.0)  # rows and columns are of like length: no balancing helps
    block = torch.diag(torch.tensor(rates, dtype=DTYPE))
    block[1, 0], block[2, 1] = coupling, 1.0
    found = exponential(linear_operator(beside_decay(block)), 1.0, 1e-8).mv(unit_vector(40, 0))[0]
    a, b, c = rates
    divided = (
        math.exp(a) / ((a - b) * (a - c))
        + math.exp(b) / ((b - a) * (b - c))
        + math.exp(c) / ((c - a) * (c - b))
    )
    expected = torch.tensor(
        [math.exp(a), coupling * (math.exp(a) - math.exp(b)) / (a - b), coupling * divided],
        dtype=DTYPE,
    )
    size = float(expected.norm())
    rounding = 100 * EPS * math.exp(30)  # times the norm of e^A
    assert float((found[:3] - expected).norm()) <= 1e-8 * size + rounding
    assert float((found[:3] - expected).norm()) <= 1e-2 * size


@pytest.mark.parametrize("power", [-12, -6, 6, 12])
@pytest.mark.parametrize("i", [0, 1, 2])
def test_couplings_that_make_up_for_each_other(krylov: None, power: int, i: int) -> None:
    # Fails if the operator is not balanced: e^{DMD⁻¹} = D e^M D⁻¹, whatever D.
    block = torch.tensor([[-1.0, 0.5, 1.0], [1.0, -1.0, 0.5], [0.5, 1.0, -1.5]], dtype=DTYPE)
    scales = 10.0 ** torch.tensor([power / 2, 0.0, -power / 2], dtype=DTYPE)
    scaled_block = scales[:, None] * block / scales
    even = beside_decay(normal_numbers(3, 3))  # a mate that needs no balancing
    operator = linear_operator(beside_decay(scaled_block), even)
    flow = exponential(operator, 1.0, 1e-8)
    v = unit_vector(40, i)
    expected = scales * torch.linalg.matrix_exp(block)[:, i] / scales[i]
    torch.testing.assert_close(flow.mv(v.expand(2, -1))[0, :3], expected, rtol=1e-8, atol=0)
    pulled = torch.linalg.matrix_exp(block)[i] * scales[i] / scales
    torch.testing.assert_close(flow.rmv(v.expand(2, -1))[0, :3], pulled, rtol=1e-8, atol=0)
    mate = torch.linalg.matrix_exp(even)[:, i]
    torch.testing.assert_close(flow.mv(v.expand(2, -1))[1], mate, rtol=0, atol=1e-7)
