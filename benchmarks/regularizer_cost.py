"""What does a training step cost with each regularizer, beside the plain step of BERT?

The embedded model on one batch of passages, in training mode, all alternatives in turns in one run:
forward, penalty, backward, without the optimiser, which is the same for all. Times are CPU seconds.
IM-BERT's last layers are implicit with the defaults; for `margin-gradient`, which differentiates
twice, they are unrolled.
"""

import argparse
import functools
from typing import Any

import numpy as np
import torch
import transformers
from side_by_side import arguments, in_turns, passages, publish, table
from transformers.utils import logging as messages

import imbert
from analysis.config import default_model_folder
from imbert.data.tasks import Examples, task
from imbert.training.batches import Padding, Rows
from imbert.training.regularizers.choice import RegularizerChoice
from imbert.training.regularizers.registry import NEEDED, REGULARIZERS
from imbert.training.regularizers.regularization import Regularization

ROUND = 2.0  # seconds that each alternative runs in a round, at least once
UNROLLED = {
    "solver": {"name": "Anderson", "rtol": 1e-3, "max_iterations": 100},
    "adjoint": {"name": "UnrolledAdjoint"},
}


def main() -> None:
    """Time every alternative, print the table, write the JSON file."""
    options = arguments(
        __doc__.split("\n")[0], examples=16, tokens=32, rounds=3, implicit_layers=3, seed=0
    )
    messages.set_verbosity_error()
    messages.disable_progress_bar()
    rows = rows_of(options)
    runs = {}
    for layers in (0, options.implicit_layers):
        name = f"IM-BERT, {layers} layers" if layers else "BERT"
        model = model_of(layers, options)
        runs[name] = functools.partial(step, model, rows, None)
        for kind, described in REGULARIZERS.items():
            twice = layers and kind == "margin-gradient"
            used = model_of(layers, options, **UNROLLED) if twice else model
            needed = {"strength": 0.1} if described.options.get("strength") is NEEDED else {}
            regularizer = RegularizerChoice(kind, **needed).regularizer()
            regularizer.require(used)
            working = Regularization(regularizer, rows, options.seed)
            runs[f"{name}, {kind}"] = functools.partial(step, used, rows, working)
    times = in_turns(runs, options.rounds, options.device, ROUND)
    own = times["BERT"]["cpu"]
    result = [
        {"": name, "CPU s": spent["cpu"], "of BERT": spent["cpu"] / own}
        for name, spent in times.items()
    ]
    print(table(result))
    shape = {"examples": options.examples, "tokens": options.tokens}
    print(publish("regularizer_cost", {**shape, "training": result}, options))


def rows_of(options: argparse.Namespace) -> Rows:
    """Passages with labels."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(default_model_folder())
    texts = tuple((text,) for text in passages(tokenizer, options.examples, options.tokens))
    labels = np.arange(options.examples) % 2
    ids = tuple(map(str, range(options.examples)))
    return Rows(Examples(task("sst2"), texts, labels, ids, "made"), tokenizer, options.tokens)


def model_of(layers: int, options: argparse.Namespace, **steps: Any) -> Any:
    """A classifier of the embedded model's weights, its last layers implicit."""
    torch.manual_seed(options.seed)
    folder, shared = default_model_folder(), {"num_labels": 2, "dtype": torch.float32}
    if not layers:
        model = transformers.BertForSequenceClassification.from_pretrained(folder, **shared)
    else:
        depth = transformers.AutoConfig.from_pretrained(folder).num_hidden_layers
        model = imbert.ImBertForSequenceClassification.from_pretrained(
            folder, implicit_layers=list(range(depth - layers, depth)), **steps, **shared
        )
    return model.to(options.device).train()


def step(model: Any, rows: Rows, working: Regularization | None) -> None:
    """Forward, penalty and backward of one batch of all rows."""
    model.zero_grad()
    torch.manual_seed(0)
    indices = list(range(len(rows)))
    batch = Padding(rows.tokenizer)([rows[index] for index in indices])
    inputs = {name: value.to(model.device) for name, value in batch.items() if name != "index"}
    if working is None:
        loss = model(**inputs).loss
    else:
        loss = working.loss(
            model, inputs, indices, 0, lambda part: part.backward(), lambda solves: None
        )
    loss.backward()


if __name__ == "__main__":
    main()
