"""What does an implicit step cost with each solver, and which of them arrive?

Side by side in one run: ours, torchdeq 0.1.0 where it is installed, a textbook Anderson and gradient descent, all on the map
g(y) = (b + h F(y))/(1 − hc) from the same start and to the same true relative residual, which this script recomputes. First a test field
in several regimes, with the overhead over bare evaluations, operations and bytes counted outside f; then every layer of the embedded
model, in both fields.
"""

import argparse
import dataclasses
import importlib.util
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from side_by_side import arguments, default_texts, load_model, publish, seconds, table
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import odestab as od
from odestab.solver import ImplicitEquation
from odestab.vector_field import AbstractVectorField

REGIMES = {"mild": (0.35, 0.0), "hμ > 1": (0.9, 0.0), "stiff dissipative": (0.6, -3.0), "stiffer": (0.6, -10.0)}  # size of W, shift
OURS: dict[str, od.AbstractImplicitSolver] = {
    "fixed point": od.FixedPoint(max_iterations=300),
    "Anderson(5)": od.Anderson(memory=5, max_iterations=300),
    "Newton–Krylov": od.NewtonKrylov(max_iterations=30),
    "auto": od.Auto(max_iterations=300),
    "gradient descent(0.1)": od.GradientDescent(steps=None, step_size=0.1, max_iterations=300),
}


class Outcome(NamedTuple):
    """What one solve gave: the state, and how often f was evaluated on the whole batch, products with J counted as one each."""

    state: Tensor
    evaluations: int


class TestField(AbstractVectorField):
    """f(y) = a·tanh(y Wᵀ) + s·y: a dense mixing of the hidden entries, W random with entries of variance 1/d."""

    __test__ = False

    def __init__(self, size: float, shift: float, hidden: int, device: str) -> None:
        generator = torch.Generator().manual_seed(0)
        self.w = (size * torch.randn(hidden, hidden, generator=generator) / hidden**0.5).to(device)
        self.shift = shift

    def __call__(self, x: Tensor) -> Tensor:
        image = torch.tanh(x @ self.w.T)
        return image.add_(x, alpha=self.shift) if self.shift and not torch.is_grad_enabled() else image + self.shift * x


class Counted(AbstractVectorField):
    """A field that counts its evaluations and hides their operations from a count of the solver's own."""

    def __init__(self, field: AbstractVectorField) -> None:
        self.field, self.split, self.mask, self.calls = field, field.split, field.mask, 0

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.field(x)

    def unsplit(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.field.unsplit(x)

    def linearize(self, x: Tensor) -> Any:
        return self.field.linearize(x)


class Traffic(TorchDispatchMode):
    """Counts operations and the bytes of their arguments and results; pauses inside f."""

    def __init__(self) -> None:
        super().__init__()
        self.operations, self.bytes = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = [one for one in torch.utils._pytree.tree_leaves((args, kwargs, result)) if isinstance(one, Tensor)]
            self.operations += 1
            self.bytes += sum(one.numel() * one.element_size() for one in {id(one): one for one in tensors}.values())
        return result


Way = Callable[[ImplicitEquation, float], Tensor]


def ways(options: argparse.Namespace) -> dict[str, Way]:
    """Every engine: an equation and a tolerance ↦ the state."""
    found: dict[str, Way] = {}
    for name, solver in OURS.items():
        found[f"ours: {name}"] = lambda equation, tol, solver=solver: _with(solver, tol).solve(equation, equation.rhs).state
    found["textbook Anderson(5)"] = textbook_anderson
    if importlib.util.find_spec("torchdeq"):
        from torchdeq.solver.anderson import anderson_solver
        from torchdeq.solver.broyden import broyden_solver
        from torchdeq.solver.fp_iter import fixed_point_iter

        peers = {"fixed point": (fixed_point_iter, {}), "Anderson(6)": (anderson_solver, {}), "Broyden": (broyden_solver, {})}
        for name, (solve, extra) in peers.items():
            found[f"torchdeq: {name}"] = lambda equation, tol, solve=solve, extra=extra: solve(
                resolvent_map(equation), equation.rhs, max_iter=300, tol=tol, stop_mode="rel", **extra
            )[0]
    return found


def _with(solver: od.AbstractImplicitSolver, tol: float) -> od.AbstractImplicitSolver:
    return dataclasses.replace(solver, rtol=tol)


def resolvent_map(equation: ImplicitEquation) -> Callable[[Tensor], Tensor]:
    """g(y) = (b + h F(y))/(1 − hc)."""
    return lambda y: equation.resolvent * (equation.rhs + equation.step_size * equation.field.unsplit(y))


def textbook_anderson(equation: ImplicitEquation, tol: float, memory: int = 5, most: int = 300) -> Tensor:
    """Walker and Ni 2011 as one would write it: lists of differences and a least-squares solve for each example, no safeguards."""
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
    """Both parts; print the tables, write the JSON file."""
    options = arguments(
        __doc__.split("\n")[0], batch=8, tokens=128, hidden=384, rounds=5, tol=1e-4, texts=64, layers=[0, 1, 2, 3, 4, 5], layer_tol=1e-5,
        step_sizes=[1.0, 0.5, 2.0],
    )  # fmt: skip
    with torch.no_grad():
        regimes = [row for name, regime in REGIMES.items() for row in compare(name, regime, options)]
        print(table(regimes))
        layers = [row for kind in ("increment", "outer") for row in on_layers(kind, options)] if options.texts else []
    if layers:
        print(table(layers))
    setting = {key: value for key, value in vars(options).items() if key not in ("out", "threads", "device")}
    print(publish("solver_throughput", {"setting": setting, "regimes": regimes, "layers": layers}, options))


def compare(name: str, regime: tuple[float, float], options: argparse.Namespace) -> list[dict[str, Any]]:
    """All engines on one test field, tolerances tightened until the true residual of each is below tol; least time over rounds."""
    field = TestField(*regime, options.hidden, options.device)
    x = torch.randn(options.batch, options.tokens, options.hidden, generator=torch.Generator().manual_seed(1)).to(options.device)
    equation = ImplicitEquation(field, x, 1.0, differentiable=False)
    bare = min(seconds(lambda: [field(x) for _ in range(10)], options.device)["wall"] for _ in range(options.rounds)) / 10
    runs, rows = {}, []
    for label, way in ways(options).items():
        tolerance, counted = options.tol, Counted(field)
        again = ImplicitEquation(counted, x, 1.0, differentiable=False)
        for _ in range(4):
            counted.calls = 0
            residual = true_residual(equation, way(again, tolerance))
            if residual <= options.tol or not residual < 1e3 * options.tol:
                break
            tolerance /= 3  # what an engine stops at is not always the residual of what it returns
        runs[label] = lambda way=way, tolerance=tolerance: way(equation, tolerance)
        rows.append(
            {"regime": name, "engine": label, "evaluations": counted.calls, "residual": residual, **traffic(equation, way, tolerance)}
        )
    times: dict[str, list[float]] = {label: [] for label in runs}
    for _ in range(options.rounds):
        for label, run in runs.items():
            times[label].append(seconds(run, options.device)["wall"])
    for row in rows:
        spent = min(times[str(row["engine"])])
        arrived = row["residual"] <= options.tol
        row |= {"ms": 1e3 * spent, "overhead": spent / (row["evaluations"] * bare) - 1, "arrived": arrived, "f ms": 1e3 * bare}
    return rows


def true_residual(equation: ImplicitEquation, y: Tensor) -> float:
    """The largest RMS(b + h f(y) − y)/RMS(y) over the batch."""
    return float((equation.field.rms(equation.residual(y)) / equation.field.rms(y)).max())


def traffic(equation: ImplicitEquation, way: Way, tolerance: float) -> dict[str, float]:
    """Operations and bytes, in words of the state, per evaluation, those of f subtracted."""
    counter, counted = Traffic(), Counted(equation.field)
    with counter:
        way(ImplicitEquation(counted, equation.rhs, equation.step_size, differentiable=False), tolerance)
    inside = Traffic()
    with inside:
        equation.field(equation.rhs)
    calls, word = counted.calls, equation.rhs.numel() * equation.rhs.element_size()
    return {"operations": counter.operations / calls - inside.operations, "state words": (counter.bytes / calls - inside.bytes) / word}


def sentences(count: int) -> list[str]:
    """Different texts: the built-in sentences, their edited versions, and pairs of them."""
    single, edits = default_texts()
    joined = [f"{first} {second}" for first, second in itertools.pairwise(single)]
    return list(dict.fromkeys([*single, *(pair.edited for pair in edits), *joined]))[:count]


def on_layers(kind: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every layer of the embedded model on the built-in texts: how many arrive, and what it took."""
    encoder, tokenizer = load_model(torch.float32, options.device)
    texts = sentences(options.texts)
    trajectory = od.trace(encoder, tokenizer(list(texts), padding=True, return_tensors="pt").to(options.device), field=kind)
    rows = []
    for h in options.step_sizes:
        for layer in options.layers:
            equation = ImplicitEquation(trajectory.fields[layer], trajectory.states[layer], h, differentiable=False)
            for name, solver in OURS.items():
                found: list[od.Solution] = []
                run = lambda e=equation, s=solver, f=found: f.append(_with(s, options.layer_tol).solve(e, e.rhs))  # noqa: E731
                spent = seconds(run, options.device)
                solution = found[0]
                residual = equation.field.rms(equation.residual(solution.state)) / equation.field.rms(solution.state)
                status = {od.Status(int(s)).name: int((solution.status == s).sum()) for s in solution.status.unique()}
                rows.append(
                    {
                        "field": kind, "h": h, "layer": layer, "solver": name, "converged": int(solution.converged.sum()),
                        "of": len(residual),
                        "median evaluations": float(solution.evaluations.double().median()), "most": int(solution.evaluations.max()),
                        "residual": float(residual[solution.converged].max()) if solution.converged.any() else None,
                        "s": spent["wall"], "statuses": status,
                    }
                )  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
