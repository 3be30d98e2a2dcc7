"""Steps in a row: what they cost, and that they end where single steps end."""

import dataclasses

import pytest
import torch
from problems import DTYPE, MixingField, masked_state, normal_numbers, ragged_mask
from torch import Tensor

import odestab as od

MASK = ragged_mask(4, 3)
COUNT = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Counted(od.AbstractVectorField):
    """A field that says how often it was evaluated, in whole batches or parts of them."""

    field: MixingField
    calls: list[int]

    @property
    def split(self) -> float:  # type: ignore[override]
        return self.field.split

    @property
    def mask(self) -> Tensor | None:  # type: ignore[override]
        return self.field.mask

    def __call__(self, x: Tensor) -> Tensor:
        self.calls.append(len(x))
        return self.field(x)

    def take(self, examples: Tensor) -> "Counted | None":
        field = self.field.take(examples)
        return None if field is None else Counted(field, self.calls)


def counted(split: float = -1.0) -> Counted:
    return Counted(MixingField.random(MASK, 3, size=0.5, split=split), [])


def euler(rtol: float, **options: object) -> od.ImplicitEuler:
    return od.ImplicitEuler(1 / COUNT, solver=od.Auto(rtol=rtol, compaction=True), **options)  # type: ignore[arg-type]


def one_by_one(method: od.ImplicitEuler, field: od.AbstractVectorField, x: Tensor) -> Tensor:
    """As many steps, each begun at the state that it leaves."""
    for _ in range(COUNT):
        x = method.step(field, x).state
    return x


@pytest.mark.parametrize("records", [False, True])
def test_most_steps_cost_one_evaluation(records: bool) -> None:
    field = counted()
    x = masked_state(MASK, 3).requires_grad_(records)
    with torch.set_grad_enabled(records):
        one_by_one(euler(1e-2), field, x)
        before = len(field.calls)
        field.calls.clear()
        steps = od.march(euler(1e-2), field, x, COUNT)
    solutions = [step.solution for step in steps if step.solution is not None]
    assert len(solutions) == COUNT
    assert all(bool(solution.converged.all()) for solution in solutions)
    assert all(int(solution.evaluations.max()) == 1 for solution in solutions[2:])
    # with a graph, each of the single steps evaluates f once more at its solution
    assert before >= COUNT * (3 if records else 2)
    assert len(field.calls) <= COUNT + (4 if records else 3)


def test_the_residual_is_that_of_the_returned_state() -> None:
    field = counted()
    x = masked_state(MASK, 3)
    for step in od.march(euler(1e-2), field, x, COUNT):
        assert step.solution is not None
        y = step.state
        defect = x + field(y) / COUNT - y
        torch.testing.assert_close(step.solution.residual, field.rms(defect))
        assert step.solution.remainder is not None
        torch.testing.assert_close(step.solution.remainder, field.project(defect))
        assert bool((step.solution.residual <= 1e-2 * field.rms(y)).all())
        x = y


@pytest.mark.parametrize("rtol", [1e-3, 1e-6, 1e-9])
def test_steps_in_a_row_end_where_single_steps_end(rtol: float) -> None:
    field = counted()
    x = masked_state(MASK, 3)
    exact = one_by_one(euler(1e-13), field, x)
    marched = od.march(euler(rtol), field, x, COUNT)[-1].state
    # ‖(I − hJ)⁻¹‖ ≤ 1/(1 − h(0.5 − 1)) < 1: what each of the solves leaves adds up at most
    assert bool((field.rms(marched - exact) <= COUNT * rtol * field.rms(exact)).all())


def test_gradients_are_those_of_single_steps() -> None:
    field = counted()
    x = masked_state(MASK, 3).requires_grad_()
    method = euler(1e-12, adjoint=od.ImplicitAdjoint(rtol=1e-12))
    weights = normal_numbers(*x.shape, seed=5) * MASK[..., None]
    (marched,) = torch.autograd.grad(
        (od.march(method, field, x, COUNT)[-1].state * weights).sum(), x
    )
    (single,) = torch.autograd.grad((one_by_one(method, field, x) * weights).sum(), x)
    torch.testing.assert_close(marched, single, rtol=1e-9, atol=1e-9)


def test_the_gradient_of_a_guess_that_converges_is_that_of_the_equation() -> None:
    field = counted()
    x = masked_state(MASK, 3).requires_grad_()
    method = euler(1e-9, adjoint=od.ImplicitAdjoint(rtol=1e-12))
    solved = method.step(field, x)
    field.calls.clear()
    again = method.step(field, x, guess=solved.state.detach())
    assert len(field.calls) == 1
    assert again.solution is not None
    assert again.solution.iterations.tolist() == [0] * len(x)
    for state in (solved.state, again.state):
        assert state.grad_fn is not None
    gradients = [
        torch.autograd.grad(state.square().sum(), x)[0] for state in (solved.state, again.state)
    ]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-10, atol=1e-10)


def test_states_of_half_precision_stay_so() -> None:
    decay = od.LinearVectorField(-torch.eye(2).bfloat16())
    x = torch.ones(1, 2).bfloat16()
    steps = od.march(euler(5e-2), decay, x, 4)
    assert {step.state.dtype for step in steps} == {torch.bfloat16}


def test_a_fast_transient_is_not_extrapolated() -> None:
    rates = -torch.linspace(10, 400, 12, dtype=DTYPE)
    stiff = od.LinearVectorField(torch.diag(rates))
    x = torch.ones(1, 12, dtype=DTYPE)
    method = od.ImplicitEuler(1 / COUNT, solver=od.Auto(rtol=1e-2))
    single = [method.step(stiff, x)]
    while len(single) < COUNT:
        single.append(method.step(stiff, single[-1].state))
    marched = od.march(method, stiff, x, COUNT)
    costs = [
        sum(int(step.solution.evaluations.sum()) for step in steps[2:] if step.solution)
        for steps in (marched, single)
    ]
    assert costs[0] <= costs[1]


@pytest.mark.parametrize(
    "method",
    [
        od.ExplicitEuler(1 / COUNT),
        od.ImplicitEuler(1 / COUNT, solver=od.GradientDescent(steps=3)),
        od.ImplicitEuler(1 / COUNT, adjoint=od.UnrolledAdjoint()),
        od.ImplicitEuler(1 / COUNT, solver=od.Auto(start="explicit")),
        od.ThetaMethod(1 / COUNT),
    ],
)
def test_where_the_start_is_part_of_the_result_it_stays(method: od.AbstractOneStepMethod) -> None:
    field = counted()
    x = masked_state(MASK, 3)
    single = x
    for _ in range(3):
        single = method.step(field, single).state
    assert torch.equal(od.march(method, field, x, 3)[-1].state, single)


def test_a_march_has_a_step() -> None:
    with pytest.raises(ValueError, match="count must be an integer >= 1, got 0"):
        od.march(euler(1e-2), counted(), masked_state(MASK, 3), 0)


def test_a_solve_that_failed_foretells_nothing() -> None:
    field = od.field(lambda y: torch.where(y > 0, y, torch.nan))
    x = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    method = od.ImplicitEuler(0.1, solver=od.Anderson())
    with torch.no_grad():
        steps = od.march(method, field, x, 3)
    assert [step.state[1].item() for step in steps] == [-1.0] * 3
    assert [step.solution.converged.tolist() for step in steps] == [[True, False]] * 3


def test_a_solver_that_miscounts_has_its_gradient_at_its_own_state() -> None:
    class Own(od.Auto):
        def solve(self, equation, x, open_=None, image=None):
            solution = super().solve(equation, x, open_, image)
            return dataclasses.replace(solution, evaluations=0 * solution.evaluations)

    matrix = torch.tensor([[0.5, 1.0], [-1.0, 0.2]], dtype=torch.float64)

    def gradient(solver: od.AbstractImplicitSolver) -> torch.Tensor:
        x = torch.tensor([[1.0, -0.5]], dtype=torch.float64, requires_grad=True)
        field = od.field(lambda y: torch.tanh(y @ matrix), x)
        step = od.ImplicitEuler(0.5, solver=solver).step(field, x, x.detach() + 0.3)
        return torch.autograd.grad(step.state.sum(), x)[0]

    assert torch.equal(gradient(Own()), gradient(od.Auto()))


def test_a_solver_of_ones_own_need_not_take_images() -> None:
    class Own(od.Auto):
        def solve(self, equation, x, open_=None):
            return super().solve(equation, x, open_)

    x = torch.ones(1, 2, dtype=torch.float64, requires_grad=True)
    field = od.LinearVectorField(-torch.eye(2, dtype=torch.float64))
    steps = od.march(od.ImplicitEuler(0.5, solver=Own()), field, x, 2)
    (gradient,) = torch.autograd.grad(steps[-1].state.sum(), x)
    assert torch.allclose(gradient, torch.full_like(x, 1 / 1.5**2), rtol=1e-5)


@pytest.mark.parametrize("count", [0, True])
def test_a_wrong_count_is_named(count: object) -> None:
    field = od.LinearVectorField(-torch.eye(2))
    with pytest.raises(ValueError, match="count must be an integer >= 1, got"):
        od.march(od.ImplicitEuler(0.5), field, torch.ones(1, 2), count)


def test_a_remainder_is_that_of_the_returned_iterate_where_residuals_tie() -> None:
    b = torch.ones(2, 1, dtype=torch.float64, requires_grad=True)
    field = od.LinearVectorField(-torch.eye(1, dtype=torch.float64))
    equation = od.ImplicitEquation(field, b, torch.ones(2, 1, dtype=torch.float64))
    solution = od.FixedPoint(max_iterations=1, rtol=1e-12).solve(equation, b)
    # the first iterate is as good as the second: it is returned, and its residual was not kept
    assert torch.equal(solution.state, b)
    assert torch.equal(solution.remainder, torch.zeros_like(b))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_solves_of_several_stages_are_put_together(dtype: torch.dtype) -> None:
    solver = od.Auto(rtol=2e-2, compaction=True)
    for seed in range(6):
        torch.manual_seed(seed)
        x = torch.randn(16, 6).to(dtype)
        matrices = (0.2 * torch.randn(16, 6, 6)).to(dtype)
        matrices[-1] *= 40  # one that fixed-point iteration leaves to Newton's method
        equation = od.ImplicitEquation(od.LinearVectorField(matrices), x, 1.0)
        with torch.no_grad():
            assert solver.solve(equation, x).state.dtype == dtype
