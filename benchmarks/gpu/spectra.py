"""What does the table of every layer cost on a model of BERT-base's shape, and what share of it is
matrix products?

Random weights, random tokens: 12 layers of 768, 256 sentences of 64 tokens. Per layer the leading
eigenvalues, the worst growth of the explicit and of the implicit step, and the logarithmic norm of
all sentences, in float32 and in float64; once for the time, once under the profiler. Layers are
taken from the middle outwards, so that those measured in a short time are not all first ones.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import DeviceType
from transformers import BertConfig, BertModel

import odestab as od
from benchmarks.gpu.part import Choices, Record, choices, halved
from benchmarks.gpu.timing import DEAREST, ceilings, events_of
from benchmarks.side_by_side import seconds

PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")
TOKENS, K, RTOL, STEP_SIZE = 64, 8, 1e-3, 1.0
SENTENCES, REHEARSED = 256, 2
PROFILED = 80  # products under the profiler
DTYPES = (torch.float32, torch.float64)


def main(options: Choices) -> None:
    """A row for every layer and precision, as far as the time reaches; the shares after the first
    of each precision.
    """
    torch.set_float32_matmul_precision("highest")
    record = Record(options.record, options.end)
    record.keep("ceilings", ceilings(options.device))
    longest = 0.0
    for place, layer in enumerate(from_the_middle(shape(options).num_hidden_layers)):
        for dtype in DTYPES:
            if record.left < 1.5 * longest:
                record.keep(
                    "left out",
                    f"layer {layer}, {_name(dtype)}, and what comes after it: no time was left",
                )
                return
            with record.failing(f"layer {layer}, {_name(dtype)}"):
                start = record.left
                row, sentences = halved(
                    lambda size, layer=layer, dtype=dtype: timed(
                        *random_layer(size, dtype, layer, options), options.device
                    ),
                    REHEARSED if options.rehearse else SENTENCES,
                )
                record.add(
                    "rows", {"layer": layer, "dtype": _name(dtype), "sentences": sentences, **row}
                )
                longest = max(longest, start - record.left)
                if place == 0:
                    found = shares(*random_layer(sentences, dtype, layer, options), options)
                    record.add("shares", {"layer": layer, "dtype": _name(dtype), **found})


def shape(options: Choices) -> BertConfig:
    """BERT-base's, or a toy's."""
    small = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    return BertConfig(attn_implementation="eager", **(small if options.rehearse else {}))


def from_the_middle(depth: int) -> list[int]:
    """Indices of layers, the middle one first, then outwards in turns."""
    return sorted(range(depth), key=lambda layer: (abs(layer - depth // 2), layer))


def random_layer(
    sentences: int, dtype: torch.dtype, layer: int, options: Choices
) -> tuple[od.AbstractVectorField, Tensor]:
    """The field of one layer of a model of random weights, and the state that random tokens bring
    there.
    """
    torch.manual_seed(0)
    config, tokens = shape(options), 4 if options.rehearse else TOKENS
    encoder = (
        BertModel(config, add_pooling_layer=False)
        .eval()
        .to(options.device, dtype)
        .requires_grad_(False)
    )
    ids = torch.randint(1000, config.vocab_size, (sentences, tokens)).to(options.device)
    trajectory = od.trace(encoder, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    return trajectory.fields[layer], trajectory.states[layer]


def timed(field: od.AbstractVectorField, x: Tensor, device: str) -> dict[str, Any]:
    """The row with the seconds that it took."""
    rows: list[dict[str, Any]] = []
    spent = seconds(lambda: rows.append(measure(field, x)), device)
    return {"s": spent["wall"], **rows[0]}


def measure(field: od.AbstractVectorField, x: Tensor) -> dict[str, Any]:
    """One row of the table: medians over sentences, how many values did not converge, and the
    products.
    """
    jacobian = od.Jacobian(field, x)
    step, behind = od.affine(jacobian, 1.0, STEP_SIZE), od.affine(jacobian, 1.0, -STEP_SIZE)
    spectra = {
        "|1 + λ|": od.eigenvalues(step, K, rtol=RTOL),
        "explicit": od.singular_values(step, 1, rtol=RTOL),
        "implicit": od.singular_values(behind, 1, "SM", rtol=RTOL),
        "logarithmic norm": od.logarithmic_norm(jacobian, RTOL),
    }
    row: dict[str, Any] = {}
    for name, spectrum in spectra.items():
        leading = spectrum.values[:, 0]
        values = (
            leading.abs()
            if leading.is_complex()
            else 1 / leading
            if name == "implicit"
            else leading
        )
        row[name] = float(values.median())
    row["unconverged"] = sum(int((~spectrum.converged).sum()) for spectrum in spectra.values())
    row["products"] = sum(spectrum.matvecs for spectrum in spectra.values())
    return row


def shares(field: od.AbstractVectorField, x: Tensor, options: Choices) -> dict[str, Any]:
    """Of the device's time in a search for eigenvalues: the share of matrix products, and the
    dearest operations.

    The search ends after PROFILED products, as the profiler takes its time for every launch.
    """
    step = od.affine(od.Jacobian(field, x), 1.0, STEP_SIZE)
    walls: list[float] = []

    def search() -> None:
        spent = seconds(
            lambda: od.eigenvalues(step, K, rtol=RTOL, max_matvecs=PROFILED, confirm=False),
            options.device,
        )
        walls.append(spent["wall"])

    found = events_of(search, options.device)
    # The own device time of an operation is that of the kernels it launched; the kernels' own
    # entries would count it again.
    events = [event for event in found if event.device_type == DeviceType.CPU]
    spent = {
        event.key: event.self_device_time_total if options.on_gpu else event.self_cpu_time_total
        for event in events
    }
    calls, total = {event.key: event.count for event in events}, sum(spent.values())
    dearest = sorted(spent, key=lambda key: -spent[key])[:DEAREST]
    return {
        "matrix products": sum(spent.get(name, 0.0) for name in PRODUCTS) / total,
        "device busy": 1e-6 * total / walls[0],
        "dearest": [[key[:80], calls[key], round(spent[key], 1)] for key in dearest],
    }


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


if __name__ == "__main__":
    main(choices())
