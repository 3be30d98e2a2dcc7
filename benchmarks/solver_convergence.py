"""Which solvers arrive on real layers, and after how many evaluations?

Every layer of the embedded model on up to 64 texts, in both fields and for several step sizes; true
residuals are recomputed.
"""

import argparse
import dataclasses
import itertools
import time
from typing import Any

import torch
from side_by_side import arguments, default_texts, load_model, publish, table

import odestab as od
from odestab.solver import ImplicitEquation

SOLVERS: dict[str, od.AbstractImplicitSolver] = {
    "fixed point": od.FixedPoint(max_iterations=200, compaction=True),
    "Anderson(5)": od.Anderson(memory=5, max_iterations=200, compaction=True),
    "Newton–Krylov": od.NewtonKrylov(max_iterations=20, max_inner=60),
    "auto": od.Auto(compaction=True),
    "gradient descent(0.1)": od.GradientDescent(steps=None, step_size=0.1, max_iterations=50),
}


def main() -> None:
    """Solve, print the table, write the JSON file."""
    options = arguments(
        __doc__.split("\n")[0],
        texts=64,
        layers=[0, 1, 2, 3, 4, 5],
        tol=1e-5,
        step_sizes=[1.0, 0.5, 2.0],
        fields=["increment", "outer"],
        solvers=list(SOLVERS),
    )
    with torch.no_grad():
        rows = [row for kind in options.fields for row in on_layers(kind, options)]
    print(table(rows))
    setting = {
        key: value
        for key, value in vars(options).items()
        if key not in ("out", "threads", "device")
    }
    print(publish("solver_convergence", {"setting": setting, "rows": rows}, options))


def sentences(count: int) -> list[str]:
    """Different texts: the built-in sentences, their edited versions, and pairs of them."""
    single, edits = default_texts()
    joined = [f"{first} {second}" for first, second in itertools.pairwise(single)]
    return list(dict.fromkeys([*single, *(pair.edited for pair in edits), *joined]))[:count]


def on_layers(kind: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every layer of the embedded model on the built-in texts: how many arrive, and what it
    took.
    """
    encoder, tokenizer = load_model(torch.float32, options.device)
    texts = sentences(options.texts)
    trajectory = od.trace(
        encoder,
        tokenizer(list(texts), padding=True, return_tensors="pt").to(options.device),
        field=kind,
    )
    return [
        {"field": kind, "h": h, "layer": layer, "solver": name}
        | solved(
            ImplicitEquation(
                trajectory.fields[layer], trajectory.states[layer], h, differentiable=False
            ),
            name,
            options.tol,
        )
        for h in options.step_sizes
        for layer in options.layers
        for name in options.solvers
    ]


def solved(equation: ImplicitEquation, name: str, tol: float) -> dict[str, Any]:
    """How many examples arrived, what it took, and the largest true relative residual of those that
    did.
    """
    began = time.process_time()
    solution = dataclasses.replace(SOLVERS[name], rtol=tol).solve(equation, equation.rhs)
    spent = time.process_time() - began
    residual = equation.field.rms(equation.residual(solution.state)) / equation.field.rms(
        solution.state
    )
    return {
        "converged": int(solution.converged.sum()),
        "of": len(residual),
        "median evaluations": float(solution.evaluations.double().median()),
        "most": int(solution.evaluations.max()),
        "residual": float(residual[solution.converged].max()) if solution.converged.any() else None,
        "cpu s": spent,
        "statuses": {
            od.Status(int(one)).name: int((solution.status == one).sum())
            for one in solution.status.unique()
        },
    }


if __name__ == "__main__":
    main()
