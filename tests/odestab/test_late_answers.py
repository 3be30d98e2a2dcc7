"""A loop on an accelerator hears of its end late: what it finds is what a CPU finds, and the host
waits for nothing meanwhile.
"""

import dataclasses
from collections.abc import Callable

import pytest
import second_device
import torch
from problems import (
    DTYPE,
    MixingField,
    grcar,
    masked_state,
    normal_numbers,
    ragged_mask,
    random_matrix,
)
from second_device import DEVICE, SecondDevice
from torch import Tensor

from odestab.fields.vector_field import AbstractVectorField, LinearVectorField
from odestab.krylov import Wanted, gmres, krylov_schur
from odestab.krylov.projected import decomposed
from odestab.solver import (
    AbstractImplicitSolver,
    Anderson,
    Auto,
    FixedPoint,
    GradientDescent,
    ImplicitEquation,
    NewtonKrylov,
    Solution,
)
from odestab.watch import AHEAD, Watch

CPU = torch.device("cpu")
SOLVERS = {
    "FixedPoint": FixedPoint(rtol=1e-9, history=True),
    "Anderson": Anderson(rtol=1e-9, history=True),
    "Anderson, every other": Anderson(memory=3, period=2, start="explicit", history=True),
    "stopped": FixedPoint(max_iterations=2, keep_last=True, history=True),
    "GradientDescent": GradientDescent(steps=None, max_iterations=60, step_size=0.5, history=True),
    "NewtonKrylov": NewtonKrylov(rtol=1e-10, history=True),
    "Auto": Auto(rtol=1e-9, history=True),
}
each_solver = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())


@pytest.fixture(params=[1, 3, 200])
def latency(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Launches until an answer arrives: at once, soon, and many iterations later."""
    monkeypatch.setattr(second_device, "LATENCY", request.param)
    return request.param


def equation(device: torch.device) -> ImplicitEquation:
    """Examples that end at different iterations, one of them since it is not finite."""
    matrices = torch.stack(
        [size * random_matrix(8, "normal", seed=i) for i, size in enumerate((0.1, 0.5, 1.0, 0.7))]
    )
    b = normal_numbers(4, 8)
    b[3, 2] = torch.nan
    return ImplicitEquation(LinearVectorField(matrices.to(device), split=-0.5), b.to(device), 0.8)


def require_the_same(there: Solution, here: Solution) -> None:
    for field in dataclasses.fields(Solution):
        found, expected = getattr(there, field.name), getattr(here, field.name)
        assert found.shape == expected.shape, field.name
        if expected.is_floating_point():
            torch.testing.assert_close(
                found.detach().cpu(),
                expected.detach(),
                rtol=1e-9,
                atol=1e-11,
                equal_nan=True,
                msg=field.name,
            )
        else:
            assert found.tolist() == expected.tolist(), field.name


@pytest.mark.slow
@each_solver
@pytest.mark.parametrize("recorded", [False, True])
def test_a_solve_is_that_of_a_cpu(
    solver: AbstractImplicitSolver, recorded: bool, latency: int
) -> None:
    open_ = torch.tensor([True, True, True, True])
    with torch.set_grad_enabled(recorded):
        here = solver.solve(equation(CPU), equation(CPU).rhs, open_)
        with SecondDevice():
            require_the_same(
                solver.solve(equation(DEVICE), equation(DEVICE).rhs, open_.to(DEVICE)), here
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Arctangent(AbstractVectorField):
    """f(x) = x − 5 arctan(x + shift): Newton's steps are too long away from the root."""

    shift: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return x - 5 * torch.arctan(x + self.shift)


def test_a_line_search_is_that_of_a_cpu(latency: int) -> None:
    x = torch.tensor([[5.0, 4.0], [0.1, 0.2], [-3.0, 2.0]], dtype=DTYPE)
    shift = torch.tensor([[1.0, -2.0]], dtype=DTYPE)
    solver = NewtonKrylov(rtol=1e-12, history=True)
    here = solver.solve(ImplicitEquation(Arctangent(shift), torch.zeros_like(x), 1.0), x)
    assert (
        here.evaluations > 3 * here.iterations + 1
    ).any()  # two products a step, and some steps were shortened
    with SecondDevice():
        there = x.to(DEVICE)
        require_the_same(
            solver.solve(
                ImplicitEquation(Arctangent(shift.to(DEVICE)), torch.zeros_like(there), 1.0), there
            ),
            here,
        )


@pytest.mark.parametrize(
    "solver",
    [
        FixedPoint(),
        FixedPoint(compaction=True),
        Anderson(),
        Anderson(compaction=True),
        GradientDescent(),
    ],
    ids=["FixedPoint", "FixedPoint, cut", "Anderson", "Anderson, cut", "GradientDescent"],
)
@pytest.mark.parametrize("recorded", [False, True])
def test_a_whole_solve_waits_for_nothing(solver: AbstractImplicitSolver, recorded: bool) -> None:
    with SecondDevice() as device, torch.set_grad_enabled(recorded):
        given = equation(DEVICE)
        device.clear()
        solver.solve(given, given.rhs)
        assert device.waited == 0 and device.asynchronous > 0


@pytest.mark.slow
@pytest.mark.parametrize("transform", ["jvp", "vjp"])
@pytest.mark.parametrize(
    "solver",
    [FixedPoint(rtol=1e-12), Anderson(rtol=1e-12)],
    ids=lambda solver: type(solver).__name__,
)
def test_a_solve_inside_a_transform(
    solver: AbstractImplicitSolver, transform: str, latency: int
) -> None:
    mask = ragged_mask(3, 2)
    made, b = MixingField.random(mask, split=-0.5), masked_state(mask)

    def derivative(field: MixingField, b: Tensor, v: Tensor) -> Tensor:
        def solve(b: Tensor) -> Tensor:
            return solver.solve(ImplicitEquation(field, b, 0.5), b.detach()).state

        return (
            torch.func.jvp(solve, (b,), (v,))[1]
            if transform == "jvp"
            else torch.func.vjp(solve, b)[1](v)[0]
        )

    here = derivative(made, b, masked_state(mask, seed=1))
    with SecondDevice():
        parts = {name: getattr(made, name).to(DEVICE) for name in ("w", "v", "u", "mask")}
        there = derivative(
            dataclasses.replace(made, **parts), b.to(DEVICE), masked_state(mask, seed=1).to(DEVICE)
        )
        torch.testing.assert_close(there.cpu(), here, rtol=1e-9, atol=1e-11)


def systems() -> tuple[Tensor, Tensor]:
    """I − A that need few and many products, one with b = 0, one not finite, one singular."""
    n = 30
    eye = torch.eye(n, dtype=DTYPE)
    parts = [
        eye - 0.1 * random_matrix(n, "normal"),
        eye + grcar(n),
        eye + grcar(n).mT,
        eye,
        torch.diag(torch.arange(n, dtype=DTYPE).clamp(max=3)),
    ]
    matrices, b = torch.stack(parts), normal_numbers(len(parts), n)
    matrices[3, 0, 1], b[2] = torch.nan, 0.0
    return matrices, b


@pytest.mark.parametrize("restart", [4, 80])
def test_gmres_is_that_of_a_cpu(restart: int, latency: int) -> None:
    matrices, b = systems()

    def run(matrices: Tensor, b: Tensor):
        return gmres(lambda v: (matrices @ v[..., None])[..., 0], b, 1e-8, 200, restart)

    here = run(matrices, b)
    assert len(set(here.iterations.tolist())) > 2
    with SecondDevice():
        there = run(matrices.to(DEVICE), b.to(DEVICE))
        assert there.converged.tolist() == here.converged.tolist()
        assert (
            there.iterations[:-1].tolist() == here.iterations[:-1].tolist()
        )  # rounding decides where a singular system stops
        for name in ("solution", "residual"):
            found, expected = getattr(there, name)[:-1].cpu(), getattr(here, name)[:-1]
            torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9, equal_nan=True)


def search(device: torch.device, narrow: bool, begin: Callable[[], None] = lambda: None):
    """Two examples that converge soon, one that fails at the tenth product, one that takes long and
    has a multiple eigenvalue.
    """
    n = 60
    spread = [torch.linspace(-1, 1, n, dtype=DTYPE) for _ in range(4)]
    for values, leading in zip(
        spread, ([9.0, -8.0], [5.0, 4.0], [2.0, 1.5], [1.3, 1.3]), strict=True
    ):
        values[:2] = torch.tensor(leading, dtype=DTYPE)
    matrices = torch.diag_embed(torch.stack(spread)).to(device)
    calls = iter(range(10_000))

    def among(examples: Tensor) -> Callable[[Tensor], Tensor]:
        chosen, failing = matrices[examples], (examples == 2)[:, None]

        def product(v: Tensor) -> Tensor:
            image = (chosen @ v[..., None])[..., 0]
            return torch.where(failing, torch.nan, image) if next(calls) == 9 else image

        return product

    start, fresh = (normal_numbers(4, n, seed=seed).to(device) for seed in (0, 1))
    wanted = Wanted(2, torch.abs, lambda values: 1e-8 * values.abs().amax(1, keepdim=True))
    first = among(torch.arange(4, device=device))
    begin()
    return krylov_schur(
        first,
        start,
        wanted,
        dimension=16,
        max_products=400,
        confirm=fresh,
        narrow=among if narrow else None,
    )


@pytest.mark.parametrize("narrow", [False, True])
def test_a_search_for_eigenvalues_is_that_of_a_cpu(narrow: bool) -> None:
    here = search(CPU, narrow)
    assert here.converged.tolist() == [True, True, False, True] and here.failed_at.tolist() == [
        -1,
        -1,
        9,
        -1,
    ]
    with SecondDevice() as device:
        there = search(DEVICE, narrow, device.clear)
        looks = (
            there.total / 4
        )  # looks and restarts, every eight products at least, and what ends in them
        assert device.syncs["copy to the host"] <= looks and set(device.syncs) <= {
            "copy to the host"
        }
        for name in ("converged", "products", "failed_at", "total"):
            found, expected = getattr(there, name), getattr(here, name)
            assert found == expected if name == "total" else found.tolist() == expected.tolist(), (
                name
            )
        torch.testing.assert_close(
            there.values.cpu(), here.values, rtol=1e-9, atol=0, equal_nan=True
        )
        simple = slice(2)  # of the multiple eigenvalue any two vectors of its space are found
        torch.testing.assert_close(
            there.vectors.cpu()[simple].abs(), here.vectors[simple].abs(), rtol=0, atol=1e-6
        )


def test_an_answer_is_read_when_it_has_arrived() -> None:
    with SecondDevice() as device:
        watch, running = Watch(DEVICE), torch.zeros(2, dtype=torch.bool, device=DEVICE)
        device.clear()
        assert not watch.none(running)  # asked
        for _ in range(second_device.LATENCY):
            running = running | running
        assert watch.none(running) and device.waited == 0 and device.asynchronous == 1


def test_the_host_runs_ahead_of_the_answers_by_so_many_iterations_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(second_device, "LATENCY", 10**6)
    with SecondDevice() as device:
        watch, running = Watch(DEVICE), torch.ones(2, dtype=torch.bool, device=DEVICE)
        device.clear()
        for _ in range(AHEAD):
            assert not watch.none(running) and device.waited == 0
        running = running & False  # ends here: what was asked before says that something runs
        for _ in range(AHEAD):
            assert not watch.none(running)
        assert watch.none(running)
        assert device.syncs == {"event": AHEAD + 1}  # each with as many iterations left to do


@pytest.mark.parametrize("decompose", [torch.linalg.eig, torch.linalg.eigh, torch.linalg.svd])
def test_threads_change_no_decomposition(decompose) -> None:
    matrices = normal_numbers(5, 7, 7)
    matrices = matrices + matrices.mT
    alone = decomposed(decompose, matrices)
    torch.set_num_threads(3)
    try:
        shared = decomposed(decompose, matrices)
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(one, other) for one, other in zip(alone, shared, strict=True))
