"""What does the full table of every layer cost on a model of BERT-base's shape, and what share of it is matrix products?

Random weights, random tokens: 12 layers of 768 by default. Per layer the leading eigenvalues, the worst growth of the explicit and of the
implicit step, and the logarithmic norm of all sentences; once for the time, once under the profiler for the shares. Without a GPU it
says so and stops, unless --device cpu is given on purpose with a smaller shape.
"""

import argparse
import sys
from typing import Any

import torch
from side_by_side import arguments, publish, seconds, table
from torch.profiler import ProfilerActivity, profile, record_function
from transformers import BertConfig, BertModel

import odestab as od
from odestab.linearized_layer import LinearizedLayer

PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")
ARITHMETIC = "layer arithmetic"


def main() -> None:
    """Time the table, profile it, print it, write the JSON file."""
    options = arguments(
        __doc__.split("\n")[0],
        sentences=256,
        tokens=64,
        layers=12,
        hidden=768,
        heads=12,
        k=8,
        step_size=1.0,
        rtol=1e-3,
        chunk=256,
        rounds=2,
    )
    if options.device == "cpu" and options.sentences * options.hidden > 8 * 768:
        sys.exit(
            "no GPU was asked for (--device cuda): unmeasured. A small shape runs on a CPU: --sentences 4 --layers 1 --hidden 128 --heads 4"
        )
    trajectory = random_trajectory(options)
    rows: list[dict[str, Any]] = []
    for layer in range(options.layers):
        found: list[dict[str, Any]] = []
        times = [
            seconds(lambda found=found, layer=layer: found.append(measure(trajectory, layer, options)), options.device)
            for _ in range(options.rounds)
        ]
        rows.append({"layer": layer, "wall s": min(one["wall"] for one in times), **found[0]})
    print(table(rows))
    split = shares(trajectory, options)
    print(split)
    setting = {key: value for key, value in vars(options).items() if key not in ("out", "threads", "device")}
    print(
        publish("layer_table", {"setting": setting, "seconds": sum(row["wall s"] for row in rows), "shares": split, "rows": rows}, options)
    )


def random_trajectory(options: argparse.Namespace) -> od.Trajectory:
    """The states of random tokens in a model of random weights, float32."""
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=options.hidden, num_hidden_layers=options.layers, num_attention_heads=options.heads,
        intermediate_size=4 * options.hidden, attn_implementation="eager",
    )  # fmt: skip
    encoder = BertModel(config, add_pooling_layer=False).eval().to(options.device)
    tokens = torch.randint(1000, config.vocab_size, (options.sentences, options.tokens), device=options.device)
    return od.trace(encoder, {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)})


def measure(trajectory: od.Trajectory, layer: int, options: argparse.Namespace) -> dict[str, Any]:
    """One row of the table: medians over sentences, and how many values did not converge."""
    field, x = trajectory.fields[layer], trajectory.states[layer]
    found: dict[str, list[od.Spectrum]] = {}
    for some in torch.arange(len(x), device=x.device).split(options.chunk):
        jacobian = od.Jacobian(field, x).take(some)
        kept: dict[str, od.Spectrum] = {
            "|1 + λ|": od.eigenvalues(od.affine(jacobian, 1.0, options.step_size), options.k, rtol=options.rtol),
            "explicit": od.singular_values(od.affine(jacobian, 1.0, options.step_size), 1, rtol=options.rtol),
            "implicit": od.singular_values(od.affine(jacobian, 1.0, -options.step_size), 1, "SM", rtol=options.rtol),
            "logarithmic norm": od.logarithmic_norm(jacobian, options.rtol),
        }
        for name, spectrum in kept.items():
            found.setdefault(name, []).append(spectrum)
    row: dict[str, Any] = {}
    for name, spectra in found.items():
        leading = torch.cat([one.values[:, 0] for one in spectra])
        values = leading.abs() if leading.is_complex() else 1 / leading if name == "implicit" else leading
        row[name] = float(values.median())
    row["unconverged"] = sum(int((~one.converged).sum()) for spectra in found.values() for one in spectra)
    row["products"] = sum(one.matvecs for spectra in found.values() for one in spectra)
    return row


def shares(trajectory: od.Trajectory, options: argparse.Namespace) -> dict[str, float]:
    """Of the device's time in one layer's row: the share of matrix products, and the share inside the layer's own products J v and Jᵀ u."""
    on_gpu = options.device.startswith("cuda")
    plain = LinearizedLayer.mv, LinearizedLayer.rmv

    def named(product: Any) -> Any:
        def run(self: LinearizedLayer, t: torch.Tensor) -> torch.Tensor:
            with record_function(ARITHMETIC):
                return product(self, t)

        return run

    LinearizedLayer.mv, LinearizedLayer.rmv = named(plain[0]), named(plain[1])  # type: ignore[method-assign]
    try:
        with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as profiler:
            measure(trajectory, options.layers // 2, options)
    finally:
        LinearizedLayer.mv, LinearizedLayer.rmv = plain  # type: ignore[method-assign]
    events = profiler.key_averages()
    own = (lambda e: e.self_device_time_total) if on_gpu else (lambda e: e.self_cpu_time_total)
    whole = (lambda e: e.device_time_total) if on_gpu else (lambda e: e.cpu_time_total)
    total = sum(own(event) for event in events if event.key != ARITHMETIC or not on_gpu)
    return {
        "matrix products": sum(own(event) for event in events if event.key in PRODUCTS) / total,
        "layer arithmetic": sum(whole(event) for event in events if event.key == ARITHMETIC) / total,
    }


if __name__ == "__main__":
    main()
