"""How exact is each adjoint's gradient, and what does it hold in memory?

Accuracy: relative errors of dL/dx and dL/dθ for a linear loss against the exact ones, from the
dense Jacobian at the exact solution, as the forward tolerance falls; on a linear field, a small
nonlinear one and a layer of the embedded model, in float64. `of the map` compares with the map that
ran instead, by central differences along one direction. Memory: what autograd keeps for the
backward pass, and the peak of one training step, against one plain evaluation of the same layer, in
float32 and in states of that size; the basis of GMRES is `restart` states and one more, and
Anderson's method holds twice `memory` while it runs.
"""

import argparse
import math
from collections.abc import Callable
from typing import Any

import torch
from side_by_side import arguments, peak_bytes, publish, table, trajectory_of_passages
from torch import Tensor

import odestab as od

ADJOINTS = {
    "implicit": od.ImplicitAdjoint(1e-12),
    "unrolled": od.UnrolledAdjoint(),
    "phantom 5": od.PhantomAdjoint(5),
    "one step": od.OneStepAdjoint(),
}
EXACT = 1e-13


def main() -> None:
    """Measure both, print the tables, write the JSON file."""
    options = arguments(
        __doc__.split("\n")[0],
        tolerances=[1e-1, 1e-2, 1e-3, 1e-5, 1e-7, 1e-9],
        layer=2,
        step_size=1.0,
        sentences=8,
        tokens=128,
        iterations=[4, 8, 16],
        memory=5,
        restart=30,
    )
    accuracy = [
        row
        for name, problem in (small_fields(options) | real_layer(options)).items()
        for row in errors(name, *problem, options)
    ]
    print(table(accuracy))
    memory = footprints(options)
    print(table(memory))
    setting = {
        key: value
        for key, value in vars(options).items()
        if key not in ("out", "threads", "device")
    }
    print(
        publish(
            "adjoint_accuracy",
            {"setting": setting, "accuracy": accuracy, "memory": memory},
            options,
        )
    )


Problem = tuple[od.AbstractVectorField, Tensor, list[Tensor]]


def small_fields(options: argparse.Namespace) -> dict[str, Problem]:
    """(f, x, θ) each."""
    generator = torch.Generator().manual_seed(0)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(options.device)

    matrix = (0.6 * numbers(24, 24) / math.sqrt(24)).requires_grad_()
    inner, outer = ((0.9 * numbers(24, 24) / math.sqrt(24)).requires_grad_() for _ in range(2))
    return {
        "linear": (od.LinearVectorField(matrix), numbers(2, 24), [matrix]),
        "tanh": (_Tanh(inner, outer), numbers(2, 24), [inner, outer]),
    }


def real_layer(options: argparse.Namespace) -> dict[str, Problem]:
    """Likewise a layer of the embedded model at four tokens."""
    trajectory = trajectory_of_passages(1, 4, torch.float64, options.device)
    field, x = trajectory.fields[options.layer], trajectory.states[options.layer]
    return {f"layer {options.layer}": (field, x, parameters(field))}


class _Tanh(od.AbstractVectorField):
    """f(x) = tanh(x W) V − x."""

    split = -1.0

    def __init__(self, w: Tensor, v: Tensor) -> None:
        self.w, self.v = w, v

    def __call__(self, x: Tensor) -> Tensor:
        return torch.tanh(x @ self.w) @ self.v - x


def parameters(field: Any) -> list[Tensor]:
    """Those of a traced layer, to be differentiated by."""
    return [p.requires_grad_() for p in field.layer.module.parameters()]


def errors(
    name: str,
    field: od.AbstractVectorField,
    x: Tensor,
    theta: list[Tensor],
    options: argparse.Namespace,
) -> list[dict[str, Any]]:
    """One row for each tolerance and adjoint."""
    generator = torch.Generator().manual_seed(1)
    weights, direction = (
        torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x) for _ in range(2)
    )
    exact = exact_gradients(field, x, theta, weights, options.step_size)
    rows = []
    for rtol in options.tolerances:
        for kind, adjoint in ADJOINTS.items():
            leaf, method = (
                x.clone().requires_grad_(),
                od.ImplicitEuler(options.step_size, od.Anderson(rtol=rtol), adjoint),
            )
            step = method.step(field, leaf)
            assert step.solution is not None
            found = torch.autograd.grad((weights * step.state).sum(), [leaf, *theta])
            rows.append(
                {
                    "field": name,
                    "forward rtol": rtol,
                    "adjoint": kind,
                    "residual": float(
                        (step.solution.residual / field.rms(step.state)).detach().max()
                    ),
                    "evaluations": int(step.solution.evaluations.max()),
                    "error dL/dx": gap(found[:1], exact[:1]),
                    "error dL/dθ": gap(found[1:], exact[1:]),
                    "of the map": of_the_map(method, field, x, weights, direction, found[0]),
                }
            )
    return rows


def exact_gradients(
    field: od.AbstractVectorField, x: Tensor, theta: list[Tensor], weights: Tensor, h: float
) -> list[Tensor]:
    """The solution to rounding, v from the dense (I − hJ)ᵀ v = g, then the gradient of vᵀ(x + h
    f(y)) by x and θ.
    """
    y = (
        od.Anderson(rtol=EXACT, max_iterations=500)
        .solve(od.ImplicitEquation(field, x, h), x)
        .state.detach()
    )
    v = torch.zeros_like(y)
    for i, jacobian in enumerate(od.Jacobian(field, y).dense()):
        system = torch.eye(len(jacobian), dtype=x.dtype, device=x.device) - h * jacobian
        v[i] = torch.linalg.solve(system.mT, weights[i].flatten()).view_as(v[i])
    leaf = x.clone().requires_grad_()
    return list(torch.autograd.grad((v * (leaf + h * field(y))).sum(), [leaf, *theta]))


def gap(found: Any, exact: Any) -> float:
    """The relative error of all tensors as one vector."""
    difference = sum(float((a - b).square().sum()) for a, b in zip(found, exact, strict=True))
    return math.sqrt(difference / sum(float(b.square().sum()) for b in exact))


def of_the_map(
    method: od.ImplicitEuler,
    field: od.AbstractVectorField,
    x: Tensor,
    weights: Tensor,
    direction: Tensor,
    gradient: Tensor,
) -> float:
    """|⟨∇L, d⟩ − (L(x + εd) − L(x − εd))/2ε| / (‖∇L‖ ‖d‖), with L the loss of what the solver
    returns.
    """
    epsilon = 1e-6
    with torch.no_grad():
        ends = [
            float((weights * method.step(field, x + sign * epsilon * direction).state).sum())
            for sign in (1, -1)
        ]
    slope = (ends[0] - ends[1]) / (2 * epsilon)
    return abs(float((gradient * direction).sum()) - slope) / float(
        gradient.norm() * direction.norm()
    )


def footprints(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Memory of one training step through a layer, plain and implicit, after so many iterations."""
    trajectory = trajectory_of_passages(
        options.sentences, options.tokens, torch.float32, options.device
    )
    field, x = trajectory.fields[options.layer], trajectory.states[options.layer].requires_grad_()
    theta = parameters(field)
    adjoints = {
        **ADJOINTS,
        "implicit": od.ImplicitAdjoint(restart=options.restart),
        "implicit to 1e-2": od.ImplicitAdjoint(rtol=1e-2, restart=options.restart),
        "unrolled, recomputed": od.UnrolledAdjoint(recompute=True),
    }
    runs: dict[str, Callable[[], Tensor]] = {"plain layer": lambda: field.unsplit(x)}
    for iterations in options.iterations:
        solver = od.Anderson(
            rtol=0.0, max_iterations=iterations, memory=options.memory, keep_last=True
        )
        for kind, adjoint in adjoints.items():
            method = od.ImplicitEuler(options.step_size, solver, adjoint)
            runs[f"{kind}, {iterations} iterations"] = lambda method=method: (
                method.step(field, x).state
            )

    def train(run: Callable[[], Tensor]) -> None:
        torch.autograd.grad(run().square().sum(), [x, *theta])

    peak_bytes(
        lambda: train(runs["plain layer"]), options.device
    )  # what the process holds and no longer uses is given back
    state, rows = x.numel() * x.element_size(), list[dict[str, Any]]()
    for name, run in runs.items():
        train(run)
        kept, peak = (
            kept_bytes(run, [x, *theta]),
            peak_bytes(lambda run=run: train(run), options.device),
        )
        rows.append(
            {
                "what": name,
                "kept, states": kept / state,
                "peak, states": None if peak is None else peak / state,
            }
        )
        rows[-1] |= {"kept / plain": kept / state / rows[0]["kept, states"]}
        rows[-1]["basis, states"] = basis = basis_states(
            adjoints.get(name.rpartition(",")[0]), options
        )
        rows[-1]["(peak − basis) / plain"] = (
            None if peak is None else (peak / state - basis) / rows[0]["peak, states"]
        )
    return rows


def basis_states(adjoint: od.AbstractAdjoint | None, options: argparse.Namespace) -> int:
    """How many states the Krylov basis of the last backward pass held."""
    last = adjoint.last if isinstance(adjoint, od.ImplicitAdjoint) else None
    return 0 if last is None else min(int(last.iterations.max()), options.restart) + 1


def kept_bytes(run: Callable[[], Tensor], given: list[Tensor]) -> int:
    """What autograd keeps of a forward pass beyond what was given to it, each storage once."""
    before = {t.untyped_storage().data_ptr() for t in given}
    kept: dict[int, Tensor] = {}

    def pack(t: Tensor) -> Tensor:
        if t.untyped_storage().data_ptr() not in before:
            kept.setdefault(
                t.untyped_storage().data_ptr(), t
            )  # held, so that no other storage takes its place
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        held = run()
    assert held.requires_grad
    return sum(t.untyped_storage().nbytes() for t in kept.values())


if __name__ == "__main__":
    main()
