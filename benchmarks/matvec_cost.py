"""What does one product with a layer's Jacobian cost, in layer evaluations?

Side by side in one run, on one layer of the embedded model: the analytic linearisation, and
torch.func's jvp, linearize and cached vjp.
"""

from collections.abc import Callable
from typing import Any

import torch
from side_by_side import arguments, in_turns, publish, table, trajectory_of_passages

import odestab as od
from odestab.fields.vector_field import linearize


def main() -> None:
    """Time every way to a product, print the table, write the JSON file."""
    options = arguments(
        __doc__, sentences=8, tokens=64, layer=2, tangents=16, rounds=7, dtype="float32"
    )
    trajectory = trajectory_of_passages(
        options.sentences, options.tokens, getattr(torch, options.dtype), options.device
    )
    field, x = trajectory.fields[options.layer], trajectory.states[options.layer]
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(x.shape, generator=generator).to(x)
    many = torch.randn(options.tangents, *x.shape, generator=generator).to(x)
    runs = alternatives(field, x, one, many)
    counts = {name: options.tangents if "tangents" in name else 1 for name in runs}
    with torch.no_grad():
        times = in_turns(runs, options.rounds, options.device)
    layer = times["layer"]
    rows: list[dict[str, Any]] = [
        {
            "what": name,
            "tangents": counts[name],
            "cpu ms per tangent": 1e3 * found["cpu"] / counts[name],
            "wall ms per tangent": 1e3 * found["wall"] / counts[name],
            "layer evaluations (cpu)": found["cpu"] / counts[name] / layer["cpu"],
            "layer evaluations (wall)": found["wall"] / counts[name] / layer["wall"],
        }
        for name, found in times.items()
    ]
    setting = {
        key: getattr(options, key) for key in ("sentences", "tokens", "layer", "dtype", "rounds")
    }
    print(table(rows))
    print(
        publish(
            "matvec_cost",
            {"setting": setting, "path": od.Jacobian(field, x).linearization.path, "rows": rows},
            options,
        )
    )


def alternatives(
    field: Any, x: torch.Tensor, one: torch.Tensor, many: torch.Tensor
) -> dict[str, Callable[[], Any]]:
    """Every way to a product, and the layer itself as the measure; what is cached between products
    is made before.
    """
    analytic, automatic = field.linearize(x), linearize(field.unsplit, x)
    layer, k = field.unsplit, len(many)
    return {
        "layer": lambda: layer(x),
        "analytic: build": lambda: field.linearize(x),
        "analytic J v": lambda: analytic.mv(one),
        f"analytic J v, {k} tangents": lambda: analytic.mv(many),
        "analytic Jᵀ u": lambda: analytic.rmv(one),
        f"analytic Jᵀ u, {k} tangents": lambda: analytic.rmv(many),
        "func.jvp J v": lambda: torch.func.jvp(layer, (x,), (one,)),
        "func.linearize J v": lambda: automatic.mv(one),
        f"func.linearize J v, {k} tangents": lambda: automatic.mv(many),
        "cached func.vjp Jᵀ u": lambda: automatic.rmv(one),
        f"cached func.vjp Jᵀ u, {k} tangents": lambda: automatic.rmv(many),
    }


if __name__ == "__main__":
    main()
