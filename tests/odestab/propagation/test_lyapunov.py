import dataclasses

import pytest
import torch
from problems import (
    DTYPE,
    linear_operator,
    linear_trajectory,
    mixing_trajectory,
    normal_numbers,
    orthogonal,
    random_matrix,
)
from torch import Tensor

from odestab.fields.trajectory import Trajectory
from odestab.fields.vector_field import AbstractVectorField, Linearization
from odestab.operators.algebra import inverse
from odestab.propagation.growth import WorstPerturbation, propagate
from odestab.propagation.lyapunov import alignment_loss, lyapunov_exponents
from odestab.propagation.path import follow
from odestab.solver import Anderson, FixedPoint
from odestab.spectrum.inexact import inexact_singular_values, rayleigh_ritz
from odestab.steps.one_step import AbstractOneStepMethod, ExplicitEuler, ImplicitEuler, ThetaMethod

LAYERS, BATCH, N = 4, 2, 8
SOLVER = Anderson(rtol=1e-10, memory=8, max_iterations=300)
EXPLICIT, IMPLICIT, THETA = (
    ExplicitEuler(1.0),
    ImplicitEuler(0.7, solver=SOLVER),
    ThetaMethod(0.7, theta=0.6, solver=SOLVER),
)


def matrices(layers: int = LAYERS) -> Tensor:
    """`(layers, batch, n, n)`, non-normal."""
    return torch.stack(
        [
            torch.stack([random_matrix(N, "non-normal", 10 * l + b) for b in range(BATCH)])
            for l in range(layers)
        ]
    )


@dataclasses.dataclass(frozen=True, eq=False)
class FastLinearField(AbstractVectorField):
    """f(x) = A x that knows its Jacobian: tracing it takes longer than all of a test."""

    matrix: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return self._times(self.matrix, x)

    def linearize(self, x: Tensor) -> Linearization:
        return Linearization(
            lambda v: self._times(self.matrix, v),
            lambda u: self._times(self.matrix.mT, u),
            "analytic",
            self._cast,
        )

    def _cast(self, dtype: torch.dtype) -> Linearization:
        return FastLinearField(self.matrix.to(dtype)).linearize(self.matrix)

    @staticmethod
    def _times(matrix: Tensor, v: Tensor) -> Tensor:
        return (matrix @ v.flatten(-2)[..., None])[..., 0].view_as(v)


def trajectory_of(layers: Tensor) -> Trajectory:
    """Linear fields, `(layers, batch, n, n)`."""
    return dataclasses.replace(
        linear_trajectory(layers, tokens=2), fields=tuple(map(FastLinearField, layers))
    )


def steps_that_are(maps: Tensor) -> Trajectory:
    """A trajectory whose explicit steps with h = 1 are the given linear maps."""
    return trajectory_of(maps - torch.eye(maps.shape[-1], dtype=DTYPE))


def dense_derivatives(method: AbstractOneStepMethod, layers: Tensor) -> Tensor:
    h, theta = (
        float(method.step_size),
        {ExplicitEuler: 0.0, ImplicitEuler: 1.0}.get(type(method), 0.6),
    )
    identity = torch.eye(N, dtype=DTYPE)
    return torch.linalg.solve(identity - h * theta * layers, identity + h * (1 - theta) * layers)


def product(derivatives: Tensor) -> Tensor:
    """D_{L−1}⋯D_0, `(batch, n, n)`."""
    whole = derivatives[0]
    for derivative in derivatives[1:]:
        whole = derivative @ whole
    return whole


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "rtol"),
    [(EXPLICIT, 1e-3), (EXPLICIT, 1e-8), (IMPLICIT, 1e-3), (IMPLICIT, 1e-6), (THETA, 1e-3)],
)
def test_exponents_are_logarithms_of_the_products_singular_values(
    method: AbstractOneStepMethod, rtol: float
) -> None:
    found = lyapunov_exponents(trajectory_of(matrices()), 3, method, rtol)
    whole = product(dense_derivatives(method, matrices()))
    exact = torch.linalg.svdvals(whole)[:, :3]
    assert found.converged.all() and found.values.shape == (BATCH, 3)
    # some singular value lies within the residual; the solves behind the values are good to 3 % of
    # rtol, a layer
    assert ((found.values - exact.log() / LAYERS).abs() <= found.residuals + rtol / 10).all()
    assert (
        found.residuals * found.values.mul(LAYERS).exp() * LAYERS <= 1.01 * rtol * exact[:, :1]
    ).all()
    image = (whole[:, None] @ found.right.flatten(2)[..., None])[..., 0]
    expected = (found.values * LAYERS).exp()[..., None] * found.left.flatten(2)
    assert ((image - expected).norm(dim=2) <= rtol * exact[:, :1]).all()


def test_one_pass_of_qr_is_wrong_at_depth_six_where_this_is_right() -> None:
    """Six layers with norm 10 whose worst directions hardly meet: a random first vector sees only
    what the layers do to most directions.
    """
    layers, n = 6, 64
    strengths = torch.full((n,), 0.3, dtype=DTYPE).index_fill(0, torch.tensor([0]), 10.0)
    maps = torch.stack(
        [
            orthogonal(n, 2 * l) @ torch.diag(strengths) @ orthogonal(n, 2 * l + 1)
            for l in range(layers)
        ]
    )[:, None]
    truth = torch.linalg.svdvals(product(maps)[0])[0].log() / layers
    q, growth = torch.linalg.qr(normal_numbers(n, 4, seed=99))[0], 0.0
    for one in maps[:, 0]:
        q, r = torch.linalg.qr(one @ q)
        growth = growth + r.diagonal().abs().log()
    one_pass = growth.max() / layers
    found = lyapunov_exponents(steps_that_are(maps), 1, EXPLICIT, 1e-6)
    assert abs(found.values[0, 0] - truth) < 1e-10
    assert (
        truth - one_pass > 0.1
    )  # nats per layer: more than half a unit of σ's logarithm at depth six


def test_orthogonal_layers_have_exponents_zero_and_diagonal_ones_their_logarithms() -> None:
    rotations = torch.stack(
        [torch.stack([orthogonal(N, 10 * l + b) for b in range(BATCH)]) for l in range(LAYERS)]
    )
    found = lyapunov_exponents(steps_that_are(rotations), 3, EXPLICIT)
    assert found.converged.all() and found.values.abs().max() < 1e-12
    entries = torch.tensor([1.1, 0.8, 1.6, 0.5, 0.2, 1.0, 0.4, 0.3], dtype=DTYPE)
    diagonal = torch.diag(entries).expand(LAYERS, BATCH, N, N)
    found = lyapunov_exponents(steps_that_are(diagonal), 4, EXPLICIT, 1e-6)
    torch.testing.assert_close(
        found.values[0], entries.sort(descending=True).values[:4].log(), rtol=1e-10, atol=1e-10
    )


@pytest.mark.slow
def test_one_method_per_layer_and_what_the_trajectory_declares() -> None:
    methods = [EXPLICIT, IMPLICIT, THETA, EXPLICIT]
    trajectory = trajectory_of(matrices())
    whole = product(
        torch.stack(
            [dense_derivatives(m, layer) for m, layer in zip(methods, matrices(), strict=True)]
        )
    )
    found = lyapunov_exponents(trajectory, 1, methods, 1e-6)
    torch.testing.assert_close(
        found.values, torch.linalg.svdvals(whole)[:, :1].log() / LAYERS, rtol=0, atol=1e-7
    )
    declared = lyapunov_exponents(
        dataclasses.replace(trajectory, methods=tuple(methods)), 1, rtol=1e-6
    )
    followed = lyapunov_exponents(follow(trajectory, methods), 1, rtol=1e-6)
    assert torch.equal(found.values, declared.values) and torch.equal(found.values, followed.values)


def test_the_leading_exponent_is_the_growth_of_the_worst_perturbation() -> None:
    trajectory = mixing_trajectory()
    found = lyapunov_exponents(trajectory, 1, EXPLICIT, 1e-7)
    predicted = propagate(trajectory, WorstPerturbation(1e-7, rtol=1e-7), EXPLICIT).predicted[:, -1]
    torch.testing.assert_close(
        (found.values[:, 0] * trajectory.depth).exp(), predicted, rtol=1e-9, atol=0
    )
    attained = propagate(trajectory, 1e-7 * found.right[:, 0], EXPLICIT).measured[:, -1]
    torch.testing.assert_close(
        (found.values[:, 0] * trajectory.depth).exp(), attained, rtol=1e-4, atol=0
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", [EXPLICIT, ImplicitEuler(0.3, solver=SOLVER)], ids=["explicit", "implicit"]
)
def test_padded_batch_equals_alone(method: AbstractOneStepMethod) -> None:
    trajectory = mixing_trajectory((3, 2), layers=2, split=-0.5, size=1.0)
    together = lyapunov_exponents(trajectory, 2, method, 1e-3)
    for example, length in enumerate((3, 2)):
        mask = torch.ones(1, length, dtype=torch.bool)
        fields = tuple(dataclasses.replace(field, mask=mask) for field in trajectory.fields)
        states = tuple(x[example : example + 1, :length] for x in trajectory.states)
        alone = lyapunov_exponents(
            dataclasses.replace(trajectory, states=states, mask=mask, fields=fields),
            2,
            method,
            1e-3,
        )
        torch.testing.assert_close(together.values[example], alone.values[0], rtol=0, atol=1e-10)
        assert together.converged[example].tolist() == alone.converged[0].tolist()


def test_a_lower_working_precision_keeps_the_values() -> None:
    trajectory = trajectory_of(matrices()[:2])
    single, double = (
        lyapunov_exponents(trajectory, 1, IMPLICIT, 1e-3, work_dtype=dtype)
        for dtype in (torch.float32, None)
    )
    assert single.converged.all() and single.values.dtype == DTYPE
    assert ((single.values - double.values).abs() <= single.residuals + 1e-4).all()


def test_layers_that_were_not_solved_are_flagged() -> None:
    small = torch.stack([torch.full((2,), 0.1).double(), torch.tensor([0.1, 5.0]).double()])[
        ..., None, None
    ] * torch.eye(4, dtype=DTYPE)
    trajectory, method = trajectory_of(small), ImplicitEuler(1.0, solver=FixedPoint())
    assert lyapunov_exponents(trajectory, 1, method).converged[:, 0].tolist() == [True, False]
    assert alignment_loss(trajectory, method).converged.tolist() == [True, False]


@pytest.mark.slow
@pytest.mark.parametrize("method", [EXPLICIT, IMPLICIT], ids=["explicit", "implicit"])
def test_alignment_loss(method: AbstractOneStepMethod) -> None:
    derivatives = dense_derivatives(method, matrices()[:3])
    layers = torch.linalg.svdvals(derivatives)[..., 0].log().T
    whole = torch.linalg.svdvals(product(derivatives))[:, 0].log()
    found = alignment_loss(trajectory_of(matrices()[:3]), method, 1e-4)
    assert found.converged.all() and (found.residuals <= 1e-4).all()
    torch.testing.assert_close(found.layers, layers, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.product, whole, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.value, layers.sum(1) - whole, rtol=0, atol=4e-5)
    assert (found.value > 0).all()
    aligned = torch.diag(torch.linspace(0.1, 2, N, dtype=DTYPE)).expand(LAYERS, BATCH, N, N)
    assert alignment_loss(steps_that_are(aligned), EXPLICIT, 1e-6).value.abs().max() < 1e-10


def test_values_from_exact_products_are_of_second_order_in_a_loose_operator() -> None:
    maps = torch.eye(N, dtype=DTYPE) - 0.7 * matrices()[0]
    operator = linear_operator(*maps)
    exact, truth = inverse(operator, 1e-12), torch.linalg.svdvals(torch.linalg.inv(maps))[:, :1]
    for loose in (1e-1, 1e-2, 1e-3):
        found = inexact_singular_values(
            inverse(operator, loose), exact, exact.random(), 1, 2 * loose
        )
        assert (
            found.converged.all() and ((found.values - truth) / truth).abs().max() <= 4 * loose**2
        )
    again = rayleigh_ritz(exact, found.right, 1e-2)
    torch.testing.assert_close(again.values, found.values, rtol=1e-9, atol=0)


def test_wrong_input() -> None:
    trajectory = mixing_trajectory((4, 2), layers=4)
    with pytest.raises(
        ValueError, match=r"k must be in 1\.\.6, the smallest example's dimension, got 7"
    ):
        lyapunov_exponents(trajectory, 7)
    with pytest.raises(ValueError, match="max_dimension must be at least 3 for k = 3, got 2"):
        lyapunov_exponents(trajectory, 3, max_dimension=2)
    with pytest.raises(ValueError, match=r"methods must be one, or one per layer \(4\), got 3"):
        lyapunov_exponents(trajectory, 1, [EXPLICIT] * 3)
    with pytest.raises(
        ValueError, match="methods must be None for a path, which has its own; got both"
    ):
        alignment_loss(follow(trajectory, EXPLICIT), EXPLICIT)


def test_layers_that_annihilate_each_other() -> None:
    # Fails if the logarithm of rounding, about −37, is reported as that of the product.
    half = torch.diag((torch.arange(N) < N // 2).to(DTYPE))
    other, q = torch.eye(N, dtype=DTYPE) - half, orthogonal(N, 3)
    good = random_matrix(N, "non-normal")
    maps = torch.stack(
        [
            torch.stack([half, q @ half @ q.T, good, 0 * good]),
            torch.stack([other, q @ other @ q.T, good, good]),
        ]
    )
    loss = alignment_loss(steps_that_are(maps), EXPLICIT)
    assert (loss.value[:2] == torch.inf).all() and (loss.product[:2] == -torch.inf).all()
    assert loss.value[2].isfinite() and loss.value[3].isnan()
    assert loss.converged.tolist() == [True, False, True, False]
    exponents = lyapunov_exponents(steps_that_are(maps), 1, EXPLICIT)
    assert exponents.converged.tolist() == [[True], [False], [True], [True]]
    assert exponents.values[0] == -torch.inf and not exponents.residuals[0].isnan()


def test_an_exponent_that_rounding_made_has_not_converged() -> None:
    # Fails if the logarithm of a singular value of 1e-17 of the largest passes for an exponent.
    first = torch.zeros(N, dtype=DTYPE).index_fill(0, torch.tensor([0]), 1.0)
    rank_one = [
        orthogonal(N, 2 * l) @ torch.diag(first) @ orthogonal(N, 2 * l + 1) for l in range(2)
    ]
    found = lyapunov_exponents(steps_that_are(torch.stack(rank_one)[:, None]), 2, EXPLICIT)
    assert found.values[0, 1] < -30 and found.converged.tolist() == [[True, False]]


@pytest.mark.slow
def test_growth_beyond_the_range_of_a_precision() -> None:
    """Sixteen layers that multiply by 1e4 and more: their product is no number of float32."""
    maps = torch.stack([random_matrix(N, "non-normal", s) for s in range(16)])[:, None]
    plain, large = (lyapunov_exponents(trajectory_of(s * maps), 1, EXPLICIT) for s in (1.0, 1e4))
    states = (torch.zeros(1, 2, N // 2),) * 17
    single = od_trajectory(states, tuple(FastLinearField((1e4 * m).float()) for m in maps))
    found = lyapunov_exponents(single, 1, EXPLICIT)
    assert found.converged.all() and plain.converged.all()
    torch.testing.assert_close(found.values.double(), large.values, rtol=1e-4, atol=0)
    loss, expected = (
        alignment_loss(single, EXPLICIT),
        alignment_loss(trajectory_of(1e4 * maps), EXPLICIT),
    )
    torch.testing.assert_close(loss.value.double(), expected.value, rtol=1e-3, atol=1e-3)


def od_trajectory(
    states: tuple[Tensor, ...], fields: tuple[AbstractVectorField, ...]
) -> Trajectory:
    return Trajectory(states, torch.ones(1, 2, dtype=torch.bool), fields)


@pytest.mark.slow
@pytest.mark.parametrize("method, copies", [(EXPLICIT, 2), (EXPLICIT, 8), (IMPLICIT, 2)])
def test_every_copy_of_a_multiple_exponent_is_found(
    method: AbstractOneStepMethod, copies: int
) -> None:
    # Fails if only one Krylov space is searched: it has one vector of each exponent.
    n = 24
    rest = -0.1 * torch.arange(1, n - copies + 1, dtype=DTYPE)
    rates = torch.cat([torch.zeros(copies, dtype=DTYPE), rest])
    q = orthogonal(n)
    # h λ of a symmetric matrix whose step multiplies by e^rate
    growth = rates.exp()
    scaled = growth - 1 if method is EXPLICIT else (1 - 1 / growth) / 0.7
    layer = q @ torch.diag(scaled) @ q.T
    trajectory = trajectory_of(torch.stack([layer, layer])[:, None])
    found = lyapunov_exponents(trajectory, copies + 1, method, 1e-4, max_dimension=22)
    assert found.converged.all()
    torch.testing.assert_close(
        found.values[0], rates[: copies + 1], rtol=0, atol=1e-5
    )  # linear solves are good to 3 % of rtol, a layer
