"""What does a training step of IM-BERT cost beside BERT's on the device, in time and in memory?

Under bf16 autocast, forward, backward and AdamW, 32 texts of 128 random tokens: the shape of MiniLM
and of BERT-base with random weights, the last three layers implicit, by their default solver, with
F eager and compiled. Evaluations and the adjoint's products are counted by the layers themselves.
All of a size are timed in turns.
"""

import statistics
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import BertConfig

import imbert
from benchmarks.gpu.part import Choices, Record, choices, halved
from benchmarks.gpu.timing import ceilings, profiled
from benchmarks.side_by_side import peak_bytes, seconds
from imbert import ImBertConfig, ImBertForSequenceClassification

SIZES: dict[str, dict[str, int]] = {
    "BERT-base": {},
    "MiniLM": {
        "hidden_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
    },
}
TOY = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
STEPPING = 3  # the last layers
SOLVER = {"name": "Auto", "rtol": 1e-2}
ADJOINT = {"name": "ImplicitAdjoint", "rtol": 1e-1}
ROUNDS, EXAMPLES, TOKENS = 5, 32, 128


def main(options: Choices) -> None:
    """A row for every size and model."""
    record = Record(options.record, options.end)
    record.keep("ceilings", ceilings(options.device))
    for size, shape in {"toy": TOY}.items() if options.rehearse else SIZES.items():
        with record.failing(size):
            measure(size, shape, options, record)


def measure(size: str, shape: dict[str, int], options: Choices, record: Record) -> None:
    """All models of a size, in turns; the batch is halved where memory is short."""
    models = {}
    for name, model in built(shape, options).items():
        with record.failing(f"{size}, {name}"):
            _, examples = halved(
                lambda count, model=model: train(model, batch_of(count, model, options)),
                2 if options.rehearse else EXAMPLES,
            )
            models[name] = model, examples
    examples = min(count for _, count in models.values())
    steps: dict[str, Any] = {}
    for name, (model, _) in models.items():
        batch = batch_of(examples, model, options)
        steps[name] = lambda model=model, batch=batch: train(model, batch)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(1 if options.rehearse else ROUNDS):
        for name, step in steps.items():
            times[name].append(1e3 * seconds(step, options.device)["wall"])
    plain = statistics.median(times["BERT"])
    memory = {
        name: peak_bytes(step, options.device) if options.on_gpu else None
        for name, step in steps.items()
    }
    for name, step in steps.items():
        model = models[name][0]
        spent, inside = statistics.median(times[name]), profiled(step, options.device)
        own = memory["BERT"]
        record.add(
            "steps",
            {
                "size": size,
                "model": name,
                "examples": examples,
                "ms": spent,
                "of BERT": spent / plain,
                "kernel ms": inside["kernel us"] / 1e3,
                "launches": inside["launches"],
                "syncs": inside["syncs"],
                "bytes": memory[name],
                "memory of BERT": memory[name] / own if own and memory[name] else None,
                **counted(model),
                "dearest": inside["dearest"],
            },
        )


def built(shape: dict[str, int], options: Choices) -> dict[str, Any]:
    """BERT, IM-BERT, and IM-BERT with F compiled, of equal random weights, each with its
    optimiser.
    """
    transformers.set_seed(0)
    plain = transformers.BertForSequenceClassification(BertConfig(**shape))
    layers = list(range(plain.config.num_hidden_layers))[-STEPPING:]
    chosen: dict[str, Any] = {
        "implicit_layers": layers,
        "field": "increment",
        "solver": SOLVER,
        "adjoint": ADJOINT,
    }
    models: dict[str, Any] = {"BERT": plain}
    for name in ("IM-BERT", "IM-BERT, compiled"):
        models[name] = ImBertForSequenceClassification(ImBertConfig(**shape, **chosen))
        models[name].load_state_dict(plain.state_dict())
    for layer in imbert.implicit_layers(models["IM-BERT, compiled"]):
        layer.compile_layer(**({} if options.on_gpu else {"backend": "eager"}))
    for model in models.values():
        model.to(options.device).train()
        model.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=options.on_gpu)
    return models


def batch_of(examples: int, model: Any, options: Choices) -> dict[str, Tensor]:
    """Random tokens, all of them real."""
    generator = torch.Generator().manual_seed(0)
    tokens = 8 if options.rehearse else TOKENS
    ids = torch.randint(1000, model.config.vocab_size, (examples, tokens), generator=generator)
    labels = torch.arange(examples) % 2
    return {
        name: value.to(options.device)
        for name, value in {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "labels": labels,
        }.items()
    }


def train(model: Any, batch: dict[str, Tensor]) -> None:
    """One step of the optimiser; dropout draws the same numbers each time."""
    torch.manual_seed(0)
    model.optimizer.zero_grad()
    with torch.autocast(batch["input_ids"].device.type, torch.bfloat16):
        loss = model(**batch).loss
    loss.backward()
    model.optimizer.step()


def counted(model: Any) -> dict[str, Any]:
    """Of the last step: the most evaluations and products of a layer's examples, summed over
    layers, and what did not converge.
    """
    if not hasattr(model, "solver_statistics"):
        return {}
    found = model.solver_statistics()
    adjoints = [layer["adjoint"] for layer in found if layer["adjoint"]]
    return {
        "evaluations": sum(layer["evaluations_max"] for layer in found),
        "products": sum(adjoint["evaluations_max"] for adjoint in adjoints),
        "unconverged": sum(
            one["examples"] - one["statuses"].get("CONVERGED", 0) for one in [*found, *adjoints]
        ),
    }


if __name__ == "__main__":
    main(choices())
