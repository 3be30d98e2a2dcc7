"""Run by test_fused.py with a device and the names of cases: the fused stages beside the plain
ones; writes what is wrong, as JSON.

On a CPU Triton interprets its kernels, which takes some milliseconds for every program of a launch:
the problems are small.
"""

import dataclasses
import json
import os
import sys
import traceback
import unittest.mock
from collections.abc import Callable
from pathlib import Path

DEVICE, *NAMES = sys.argv[1:]
if DEVICE == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported
sys.path.insert(0, str(Path(__file__).parents[3]))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from odestab.fields.vector_field import LinearVectorField  # noqa: E402
from odestab.solver import Anderson, FixedPoint, ImplicitEquation, kernels  # noqa: E402
from odestab.solver.kernels import PlainStages, Task  # noqa: E402
from odestab.solver.kernels.fused import FusedStages  # noqa: E402
from odestab.solver.mixing import Mixing, coefficients, weights  # noqa: E402
from odestab.solver.solution import Status  # noqa: E402
from odestab.solver.stopping import Stopping  # noqa: E402

torch.set_num_threads(1)
BATCH, N, BLOCK = 3, 40, 32  # the last block of a state is not full
ITERATIONS = 6
STOPPING = Stopping(rtol=1e-3)
MASK = (torch.arange(N).expand(BATCH, N) < torch.tensor([N, 25, 30])[:, None]).to(DEVICE)


def problem(
    mixing: Mixing, dtype: torch.dtype, stopping: Stopping = STOPPING, open_: Tensor | None = None
) -> tuple[Task, Callable[[Tensor], Tensor]]:
    """y = b + h tanh(Ay), of growing difficulty: an example that converges soon, one that does
    later, one that goes up and down.
    """
    generator = torch.Generator().manual_seed(0)
    matrices = (
        torch.randn(BATCH, N, N, generator=generator, dtype=torch.float64)
        / N**0.5
        * torch.tensor([0.1, 0.5, -6.0])[:, None, None]
    )
    matrices = (matrices.to(DEVICE) * MASK[:, None] * MASK[:, :, None]).to(dtype)
    b = (torch.randn(BATCH, N, generator=generator, dtype=torch.float64).to(DEVICE) * MASK).to(
        dtype
    )
    open_, h = None if open_ is None else open_.to(DEVICE), 0.8
    kappa = mixing.damping / (1 + h * 0.1)
    root = MASK.sum(1).to(dtype).sqrt()
    task = Task(kappa * b, kappa, kappa * h, 1 - mixing.damping, root, mixing, stopping, open_, 1)
    return task, lambda y: torch.tanh(torch.bmm(matrices, y[:, :, None])[:, :, 0]) + 0.1 * y


def require_equal(plain: PlainStages, fused: FusedStages, tolerance: float) -> None:
    """The two stand alike: counts exactly, numbers to rounding."""
    running = torch.as_tensor(plain.ledger.running)
    assert torch.equal(running, fused.ledger.running)
    for field in dataclasses.fields(plain.ledger):
        one, other = (
            torch.as_tensor(getattr(stages.ledger, field.name)) for stages in (plain, fused)
        )
        if field.name == "waited":  # has no meaning once an example has ended
            one, other = one[running], other[running]
        require_close(field.name, one, other, tolerance if one.is_floating_point() else 0.0)
    require_close("y", plain.y, fused.y, tolerance)
    for last in (True, False):
        every = torch.full((BATCH,), last, device=DEVICE)
        require_close(
            "outcome",
            plain.outcome(every.numpy() if DEVICE == "cpu" else every),
            fused.outcome(every),
            tolerance,
        )
    assert (fused.y[~MASK] == 0).all(), "padding is not zero"


def require_close(name: str, one: Tensor, other: Tensor, tolerance: float) -> None:
    assert one.dtype == other.dtype, (name, one.dtype, other.dtype)
    scale = (
        one.nan_to_num(0, 0, 0).abs().amax(-1, keepdim=True).clamp(min=1) if one.numel() else 1.0
    )
    gap = torch.where(
        (one == other) | (one.isnan() & other.isnan()), 0.0, (one - other).abs() / scale
    )
    assert (gap <= tolerance).all(), f"{name} differs by {float(gap.max()):.1e}"


def compare(
    task: Task, f: Callable[[Tensor], Tensor], tolerance: float, iterations: int = ITERATIONS
) -> FusedStages:
    y = task.rhs / task.kappa
    plain, fused = PlainStages(task, y, f(y)), FusedStages(task, y, f(y), block=BLOCK)
    require_equal(plain, fused, tolerance)
    for _ in range(iterations):
        plain.mix()
        fused.mix()
        require_close("y", plain.y, fused.y, tolerance)
        plain.take_in(f(plain.y))
        fused.take_in(f(fused.y))
        require_equal(plain, fused, tolerance)
    return fused


def fixed_point_in_single_precision() -> None:
    found = compare(*problem(Mixing(0), torch.float32), 1e-5, 9)
    assert found.ledger.status[0] == Status.CONVERGED and found.ledger.iterations[0] < 9


def damped_fixed_point() -> None:
    task, f = problem(Mixing(0, damping=0.6), torch.float64)
    assert task.drift
    compare(task, f, 1e-12, 4)


def a_closed_example_and_one_that_is_not_finite() -> None:
    task, f = problem(Mixing(0), torch.float64, open_=torch.tensor([True, True, False]))
    task.rhs[1, 0] = torch.nan
    found = compare(task, f, 1e-12, 4)
    assert found.ledger.status.tolist() == [
        Status.CONVERGED,
        Status.NON_FINITE,
        Status.MAX_ITERATIONS,
    ]
    assert torch.equal(found.y[2], task.rhs[2] / task.kappa)


def memory_1() -> None:
    compare(*problem(Mixing(1), torch.float64), 1e-10)


def memory_3_and_a_closed_example() -> None:
    compare(*problem(Mixing(3), torch.float64, open_=torch.tensor([False, True, True])), 1e-9)


def memory_5_in_single_precision() -> None:
    compare(*problem(Mixing(5), torch.float32), 1e-3, 7)


def memory_3_that_is_forgotten() -> None:
    compare(*problem(Mixing(3, growth_limit=1.01), torch.float64), 1e-9)


def memory_2_damped_every_other_time_and_the_last_iterate_kept() -> None:
    stopping = dataclasses.replace(STOPPING, keep_last=True)
    compare(*problem(Mixing(2, damping=0.7, period=2), torch.float64, stopping), 1e-9)


def memory_2_where_progress_is_slow() -> None:
    compare(*problem(Mixing(2, rate=0.6), torch.float64), 1e-9, 4)


def images_that_are_not_finite() -> None:
    stopping = dataclasses.replace(STOPPING, keep_last=True)
    task, f = problem(Mixing(2), torch.float64, stopping)
    calls = iter(range(100))

    def sometimes_infinite(y: Tensor) -> Tensor:
        image = f(y)
        image[1, 3] = torch.inf if next(calls) // 2 == 2 else image[1, 3]  # each stages' third
        return image

    compare(task, sometimes_infinite, 1e-9, 3)


def stalls_and_the_best_iterate() -> None:
    found = compare(
        *problem(Mixing(0), torch.float64, dataclasses.replace(STOPPING, patience=3)), 1e-9, 7
    )
    assert found.ledger.status[2] == Status.STALLED and found.ledger.best[2] < found.ledger.norm[2]


def weights_are_those_of_the_least_squares_problem() -> None:
    """Moves of every kind of dependence, given as images of a map that is constant."""
    m, generator = 3, torch.Generator().manual_seed(1)
    stopping = dataclasses.replace(STOPPING, keep_last=True, rtol=0.0)
    for cap in (1e4, 1.5):
        task, _ = problem(Mixing(m, cap=cap, growth_limit=1e9), torch.float64, stopping)
        moves = torch.randn(m + 2, BATCH, N, generator=generator, dtype=torch.float64).to(DEVICE)
        moves[3, 1] = moves[2, 1] + 2 * (
            moves[2, 1] - moves[1, 1]
        )  # the newest difference but one depends on the one before
        moves[4, 2] = moves[3, 2]  # the newest difference is zero
        fused = FusedStages(
            task, torch.zeros_like(task.rhs), (moves[0] - task.rhs) / task.gain, block=BLOCK
        )
        for move in moves[1:]:
            fused.take_in((move - task.rhs) / task.gain)
        kept = fused.moves[:, [(m + 1 - age) % (m + 1) for age in range(m + 1)]].cpu().numpy()
        differences = kept[:, :-1] - kept[:, 1:]
        gram = differences @ differences.swapaxes(1, 2)
        target = (differences @ kept[:, 0, :, None])[:, :, 0]
        own = np.diagonal(gram, 0, 1, 2)
        gamma = coefficients(
            gram,
            target,
            np.ones_like(own, dtype=bool),
            own,
            torch.finfo(torch.float64).eps,
            task.mixing,
        )
        require_close("weights", torch.as_tensor(weights(gamma)), fused.alpha.cpu(), 1e-9)


def batch_mates_do_not_matter_bit_for_bit() -> None:
    def final(rows: slice) -> Tensor:
        task, f = problem(Mixing(2), torch.float32)
        task = dataclasses.replace(task, rhs=task.rhs[rows], root=task.root[rows])
        whole = torch.zeros(BATCH, N, device=DEVICE)

        def image(y: Tensor) -> Tensor:
            whole[rows] = y
            return f(whole)[rows]

        fused = FusedStages(task, task.rhs, image(task.rhs), block=BLOCK)
        for _ in range(3):
            fused.mix()
            fused.take_in(image(fused.y))
        return torch.cat([fused.y, fused.ledger.norm[:, None]], 1)

    assert torch.equal(final(slice(0, 3))[1:2], final(slice(1, 2)))


def the_iterate_in_low_precision() -> None:
    for memory in (0, 2):
        task, f = problem(Mixing(memory), torch.float32)
        y = task.rhs / task.kappa
        fused = FusedStages(task, y, f(y).bfloat16(), low=torch.bfloat16, block=BLOCK)
        for _ in range(4):
            fused.mix()
            assert fused.y_low is not None
            torch.testing.assert_close(
                fused.y_low.float(), fused.y, rtol=2**-7, atol=0.0
            )  # the interpreter cuts off, a GPU rounds
            fused.take_in(f(fused.y_low.float()).bfloat16())
        assert fused.ledger.norm[1] < 0.1 * fused.ledger.first[1]


def a_solve_with_its_history() -> None:
    matrices = (
        torch.randn(2, 6, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(
            DEVICE
        )
        / 4
    )
    equation = ImplicitEquation(
        LinearVectorField(matrices, split=-0.5),
        torch.ones(2, 6, dtype=torch.float64, device=DEVICE),
        0.5,
    )
    for solver in (
        FixedPoint(max_iterations=3, history=True),
        Anderson(memory=2, rtol=1e-3, history=True),
    ):
        recorded = solver.solve(equation, equation.rhs)
        with torch.no_grad(), unittest.mock.patch.object(kernels, "stages", FusedStages):
            fused = solver.solve(equation, equation.rhs)
        assert (
            recorded.status.tolist() == fused.status.tolist()
            and recorded.iterations.tolist() == fused.iterations.tolist()
        )
        for name in ("state", "residual", "history"):
            torch.testing.assert_close(
                getattr(fused, name), getattr(recorded, name), rtol=0, atol=1e-12, equal_nan=True
            )


def a_solve_of_states_in_low_precision() -> None:
    matrices = (
        torch.randn(2, 6, 6, generator=torch.Generator().manual_seed(2)).to(DEVICE) / 4
    ).bfloat16()
    equation = ImplicitEquation(
        LinearVectorField(matrices), torch.ones(2, 6, dtype=torch.bfloat16, device=DEVICE), 0.5
    )
    solver = Anderson(memory=2, rtol=3e-2)
    with torch.no_grad():
        plain = solver.solve(equation, equation.rhs)
        with unittest.mock.patch.object(kernels, "stages", FusedStages):
            fused = solver.solve(equation, equation.rhs)
    assert plain.converged.all() and fused.converged.all() and fused.state.dtype == torch.bfloat16
    torch.testing.assert_close(fused.state, plain.state, rtol=0.05, atol=0.05)


def a_graph_replays_the_iterations() -> None:
    task, f = problem(Mixing(2), torch.float32)
    y = task.rhs / task.kappa
    eager, captured = (FusedStages(task, y, f(y), block=BLOCK) for _ in range(2))

    def iterate(stages: FusedStages) -> None:
        for _ in range(stages.turns):
            stages.mix()
            stages.take_in(f(stages.y))

    iterate(eager)
    iterate(captured)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        iterate(captured)
    for _ in range(2):
        iterate(eager)
        graph.replay()
    assert torch.equal(eager.y, captured.y) and torch.equal(eager.ledger.norm, captured.ledger.norm)


def main() -> None:
    wrong = {}
    for name in NAMES:
        try:
            with np.errstate(all="ignore"):
                globals()[name]()
            wrong[name] = ""
        except Exception:  # reported by the test of that name
            wrong[name] = traceback.format_exc()
    json.dump(wrong, sys.stdout)


main()
