"""What does an implicit step cost with each solver?

Side by side in one run: ours, torchdeq 0.1.0 where it is installed, a textbook Anderson and
gradient descent, all on the map g(y) = (b + h F(y))/(1 − hc) from the same start and to the same
true relative residual, which this script recomputes: on a test field of one matrix product in
several regimes, and on a layer of the embedded model. Overhead is over bare evaluations; operations
and bytes are counted outside f.
"""

import argparse
import dataclasses
import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from side_by_side import arguments, in_turns, publish, table, trajectory_of_passages
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import odestab as od
from odestab.fields.vector_field import AbstractVectorField, AbstractWrappedField
from odestab.solver import ImplicitEquation

REGIMES = {
    "mild": (0.35, 0.0),
    "hμ > 1": (0.9, 0.0),
    "stiff dissipative": (0.6, -3.0),
    "stiffer": (0.6, -10.0),
}  # size of W, shift
REAL = 2  # the layer that stands beside the test field
EVALUATIONS = 5  # bare ones timed together
OURS: dict[str, od.AbstractImplicitSolver] = {
    "fixed point": od.FixedPoint(max_iterations=300),
    "Anderson(5)": od.Anderson(memory=5, max_iterations=300),
    "Newton–Krylov": od.NewtonKrylov(max_iterations=30),
    "auto": od.Auto(max_iterations=300),
    "gradient descent(0.1)": od.GradientDescent(steps=None, step_size=0.1, max_iterations=300),
}


class TestField(AbstractVectorField):
    """f(y) = a·tanh(y Wᵀ) + s·y: a dense mixing of the hidden entries, W random with entries of
    variance 1/d.
    """

    __test__ = False

    def __init__(self, size: float, shift: float, hidden: int, device: str) -> None:
        generator = torch.Generator().manual_seed(0)
        self.w = (size * torch.randn(hidden, hidden, generator=generator) / hidden**0.5).to(device)
        self.shift = shift

    def __call__(self, x: Tensor) -> Tensor:
        image = torch.tanh(x @ self.w.T)
        if not self.shift:
            return image
        return (
            image + self.shift * x if torch.is_grad_enabled() else image.add_(x, alpha=self.shift)
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Counted(AbstractWrappedField):
    """A field that counts its evaluations."""

    tally: list[int] = dataclasses.field(default_factory=lambda: [0])

    @property
    def calls(self) -> int:
        """Evaluations so far."""
        return self.tally[0]

    def __call__(self, x: Tensor) -> Tensor:
        self.tally[0] += 1
        return self.field(x)

    def unsplit(self, x: Tensor) -> Tensor:
        self.tally[0] += 1
        return self.field.unsplit(x)


class Traffic(TorchDispatchMode):
    """Counts operations and the bytes of their arguments and results; pauses inside f."""

    def __init__(self) -> None:
        super().__init__()
        self.operations, self.bytes = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = [
                one
                for one in torch.utils._pytree.tree_leaves((args, kwargs, result))
                if isinstance(one, Tensor)
            ]
            self.operations += 1
            self.bytes += sum(
                one.numel() * one.element_size()
                for one in {id(one): one for one in tensors}.values()
            )
        return result


Way = Callable[[ImplicitEquation, float], Tensor]


def ways(options: argparse.Namespace) -> dict[str, Way]:
    """Every engine: an equation and a tolerance ↦ the state."""
    found: dict[str, Way] = {}
    for name, solver in OURS.items():
        found[f"ours: {name}"] = lambda equation, tol, solver=solver: (
            _with(solver, tol).solve(equation, equation.rhs).state
        )
    found["textbook Anderson(5)"] = textbook_anderson
    if importlib.util.find_spec("torchdeq"):
        from torchdeq.solver.anderson import anderson_solver
        from torchdeq.solver.broyden import broyden_solver
        from torchdeq.solver.fp_iter import fixed_point_iter

        peers = {
            "fixed point": (fixed_point_iter, {}),
            "Anderson(6)": (anderson_solver, {}),
            "Broyden": (broyden_solver, {}),
        }
        for name, (solve, extra) in peers.items():
            found[f"torchdeq: {name}"] = lambda equation, tol, solve=solve, extra=extra: solve(
                resolvent_map(equation),
                equation.rhs,
                max_iter=300,
                tol=tol,
                stop_mode="rel",
                **extra,
            )[0]
    return found


def _with(solver: od.AbstractImplicitSolver, tol: float) -> od.AbstractImplicitSolver:
    return dataclasses.replace(solver, rtol=tol)


def resolvent_map(equation: ImplicitEquation) -> Callable[[Tensor], Tensor]:
    """g(y) = (b + h F(y))/(1 − hc)."""
    return lambda y: (
        equation.resolvent * (equation.rhs + equation.step_size * equation.field.unsplit(y))
    )


def textbook_anderson(
    equation: ImplicitEquation, tol: float, memory: int = 5, most: int = 300
) -> Tensor:
    """Walker and Ni 2011 as one would write it: lists of differences and a least-squares solve for
    each example, no safeguards.
    """
    g, y = resolvent_map(equation), equation.rhs
    dg: list[Tensor] = []
    dp: list[Tensor] = []
    image = g(y)
    move = image - y
    for _ in range(most):
        if bool((move.flatten(1).norm(dim=1) <= tol * image.flatten(1).norm(dim=1)).all()):
            break
        if dp:
            columns = torch.stack([one.flatten(1) for one in dp], 2)
            gamma = torch.linalg.lstsq(columns, move.flatten(1)[..., None]).solution
            y = image - (torch.stack([one.flatten(1) for one in dg], 2) @ gamma)[..., 0].view_as(y)
        else:
            y = image
        old_image, old_move = image, move
        image = g(y)
        move = image - y
        dg, dp = [*dg, image - old_image][-memory:], [*dp, move - old_move][-memory:]
    return y


def main() -> None:
    """Measure, print the table, write the JSON file."""
    options = arguments(__doc__.split("\n")[0], batch=8, tokens=128, hidden=384, rounds=5, tol=1e-4)
    with torch.no_grad():
        rows = [
            row
            for name, problem in problems(options).items()
            for row in compare(name, *problem, options)
        ]
    print(table(rows))
    setting = {
        key: value
        for key, value in vars(options).items()
        if key not in ("out", "threads", "device")
    }
    print(publish("solver_throughput", {"setting": setting, "rows": rows}, options))


def problems(options: argparse.Namespace) -> dict[str, tuple[AbstractVectorField, Tensor]]:
    """(f, x) each: the test field in its regimes, where f is one matrix product, and a layer of the
    embedded model.
    """
    x = torch.randn(
        options.batch, options.tokens, options.hidden, generator=torch.Generator().manual_seed(1)
    ).to(options.device)
    found: dict[str, tuple[AbstractVectorField, Tensor]] = {
        name: (TestField(*regime, options.hidden, options.device), x)
        for name, regime in REGIMES.items()
    }
    trajectory = trajectory_of_passages(
        options.batch, options.tokens, torch.float32, options.device
    )
    return found | {f"layer {REAL}": (trajectory.fields[REAL], trajectory.states[REAL])}


def compare(
    name: str, field: AbstractVectorField, x: Tensor, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """All engines on one field, tolerances tightened until the true residual of each is below tol;
    those that arrive are timed.
    """
    equation = ImplicitEquation(field, x, 1.0, differentiable=False)
    runs, rows = {}, []
    for label, way in ways(options).items():
        tolerance, counted = options.tol, Counted(field)
        again = ImplicitEquation(counted, x, 1.0, differentiable=False)
        for _ in range(4):
            counted.tally[0] = 0
            residual = true_residual(equation, way(again, tolerance))
            if residual <= options.tol or not residual < 1e3 * options.tol:
                break
            tolerance /= 3  # what an engine stops at is not always the residual of what it returns
        arrived = residual <= options.tol
        if arrived:
            runs[label] = lambda way=way, tolerance=tolerance: way(equation, tolerance)
        numbers = {
            "evaluations": counted.calls,
            "residual": residual,
            "arrived": arrived,
            **traffic(equation, way, tolerance),
        }
        rows.append({"regime": name, "engine": label, **numbers})
    times = in_turns(runs | {"f": lambda: evaluate(field, x)}, options.rounds, options.device)
    bare = times["f"]["cpu"] / EVALUATIONS
    for row in rows:
        spent = times[str(row["engine"])]["cpu"] if row["arrived"] else None
        overhead = spent and spent / (row["evaluations"] * bare) - 1
        row |= {"cpu ms": spent and 1e3 * spent, "overhead": overhead, "f ms": 1e3 * bare}
    return rows


def evaluate(field: AbstractVectorField, x: Tensor) -> None:
    """Bare evaluations, one after the other."""
    for _ in range(EVALUATIONS):
        field.unsplit(x)


def true_residual(equation: ImplicitEquation, y: Tensor) -> float:
    """The largest RMS(b + h f(y) − y)/RMS(y) over the batch."""
    return float((equation.field.rms(equation.residual(y)) / equation.field.rms(y)).max())


def traffic(equation: ImplicitEquation, way: Way, tolerance: float) -> dict[str, float]:
    """Operations and bytes, in words of the state, per evaluation, those of f subtracted."""
    counter, counted = Traffic(), Counted(equation.field)
    with counter:
        way(
            ImplicitEquation(counted, equation.rhs, equation.step_size, differentiable=False),
            tolerance,
        )
    inside = Traffic()
    with inside:
        equation.field.unsplit(equation.rhs)
    calls, word = counted.calls, equation.rhs.numel() * equation.rhs.element_size()
    return {
        "operations": counter.operations / calls - inside.operations,
        "state words": (counter.bytes / calls - inside.bytes) / word,
    }


if __name__ == "__main__":
    main()
