"""What do a training step and a prediction of IM-BERT cost beside BERT's, and how near is that to
what its evaluations must cost?

The embedded model with its last layers implicit, all alternatives in turns in one run: solver,
forward tolerance, adjoint and its tolerance, number of implicit layers, and the published
connection (field `outer`, five steps of gradient descent, unrolled). Evaluations of the layer are
counted in whole batches, those of a part of the batch as that part. The floor is BERT's time plus
what these evaluations and the adjoint's products take when they are run bare. Times are CPU seconds
on a processor, which a busy machine disturbs less, wall-clock seconds on a GPU.
"""

import argparse
import functools
import math
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import torch
import transformers
from side_by_side import arguments, in_turns, passages, peak_bytes, publish, table
from torch import Tensor
from transformers.models.bert.modeling_bert import BertLayer
from transformers.utils import logging as messages

import imbert
import odestab as od
from analysis.config import default_model_folder
from imbert.model.frozen_dropout import FrozenDropout

EVALUATIONS = 4  # bare ones timed together
ROUND = 2.0  # seconds that each alternative runs in a round, at least once
PUBLISHED: dict[str, Any] = {
    "field": "outer",
    "solver": {"name": "GradientDescent", "steps": 5, "step_size": 0.1},
    "adjoint": {"name": "UnrolledAdjoint"},
}


class Setting(NamedTuple):
    """An alternative: how many of the last layers are implicit, and the options that differ from
    the defaults; no layer is BERT.
    """

    layers: int
    options: dict[str, Any]


class Units(NamedTuple):
    """Seconds of one bare evaluation, one cached product with the transpose, one layer of BERT, and
    one with its masks kept, both ways.
    """

    evaluation: float
    product: float
    plain: float
    attached: float


def main() -> None:
    """Time every alternative in training and in prediction, print the tables, write the JSON
    file.
    """
    options = arguments(
        __doc__.split("\n")[0],
        examples=16,
        tokens=64,
        rounds=3,
        layers=[1, 3, 6],
        rtol=[1e-1, 1e-2, 1e-3],
        adjoint_rtol=[1e-1, 1e-2],
        seed=0,
    )
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as apart:
        memory = apart.submit(measure_memory, options).result()
    batch, models = tokens_of(options), models_of(options)
    result: dict[str, Any] = {"examples": options.examples, "tokens": options.tokens}
    for kind in KINDS:
        result[kind] = rows(models, batch, options, kind)
        for row in result[kind]:
            row["memory of BERT"] = (
                None if not memory[kind]["BERT"] else memory[kind][row[""]] / memory[kind]["BERT"]
            )
    for name in KINDS:
        print(
            f"{name}: {options.examples} examples of "
            f"{options.tokens} tokens\n{table(result[name])}\n"
        )
    print(publish("training_cost", result, options))


def settings(options: argparse.Namespace) -> dict[str, Setting]:
    """BERT, then tolerances with the default solver, then other solvers and adjoints at one
    tolerance, then the published connection.
    """
    found = {"BERT": Setting(0, {})}
    some, loose = 3 if 3 in options.layers else options.layers[0], options.adjoint_rtol[0]
    for layers in options.layers:
        for rtol in options.rtol:
            for adjoint_rtol in options.adjoint_rtol if layers == some else [loose]:
                name = f"{layers} layers, {rtol:g}, adjoint {adjoint_rtol:g}"
                found[name] = Setting(
                    layers,
                    {
                        "solver": _anderson(rtol),
                        "adjoint": {"name": "ImplicitAdjoint", "rtol": adjoint_rtol},
                    },
                )
    middle = 1e-2 if 1e-2 in options.rtol else options.rtol[0]
    adjoint = {"name": "ImplicitAdjoint", "rtol": loose}
    for solver in ("Auto", "FixedPoint"):
        found[f"{solver}, {middle:g}, adjoint {loose:g}"] = Setting(
            some,
            {"solver": {"name": solver, "rtol": middle, "compaction": True}, "adjoint": adjoint},
        )
    for name in ("OneStepAdjoint", "UnrolledAdjoint"):
        found[f"{some} layers, {middle:g}, {name}"] = Setting(
            some, {"solver": _anderson(middle), "adjoint": {"name": name}}
        )
    return found | {"published connection, k = 5": Setting(some, PUBLISHED)}


def _anderson(rtol: float) -> dict[str, Any]:
    return {"name": "Anderson", "rtol": rtol, "max_iterations": 100, "compaction": True}


def model_of(setting: Setting, options: argparse.Namespace) -> Any:
    """A classifier of the embedded model's weights."""
    torch.manual_seed(options.seed)
    folder, shared = default_model_folder(), {"num_labels": 2, "dtype": torch.float32}
    if setting.layers == 0:
        model = transformers.BertForSequenceClassification.from_pretrained(folder, **shared)
    else:
        depth = transformers.AutoConfig.from_pretrained(folder).num_hidden_layers
        chosen = list(range(depth - setting.layers, depth))
        model = imbert.ImBertForSequenceClassification.from_pretrained(
            folder, implicit_layers=chosen, **setting.options, **shared
        )
    return model.to(options.device)


def tokens_of(options: argparse.Namespace) -> dict[str, Tensor]:
    """A batch of passages with labels."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(default_model_folder())
    texts = passages(tokenizer, options.examples, options.tokens)
    batch = tokenizer(texts, truncation=True, max_length=options.tokens, return_tensors="pt").to(
        options.device
    )
    return {**batch, "labels": torch.arange(options.examples, device=options.device) % 2}


def train_step(model: Any, batch: dict[str, Tensor], seed: int) -> None:
    """Forward and backward."""
    model.zero_grad()
    torch.manual_seed(seed)
    model(**batch).loss.backward()


def predict(model: Any, batch: dict[str, Tensor], seed: int) -> None:
    """Forward alone."""
    with torch.no_grad():
        model(**batch)


KINDS: dict[str, Callable[..., None]] = {"training": train_step, "inference": predict}


def models_of(options: argparse.Namespace) -> dict[str, Any]:
    """The model of every setting, by its name."""
    messages.set_verbosity_error()
    messages.disable_progress_bar()
    return {name: model_of(setting, options) for name, setting in settings(options).items()}


def runs_of(
    models: dict[str, Any], batch: dict[str, Tensor], options: argparse.Namespace, kind: str
) -> dict[str, Callable[[], None]]:
    """The alternatives, each ready to run; in inference, which uses no adjoint, those of the first
    one.
    """
    for model in models.values():
        model.train(kind == "training")
    others = tuple(f"adjoint {rtol:g}" for rtol in options.adjoint_rtol[1:])
    chosen = [
        name for name in models if kind == "training" or not name.endswith(("Adjoint", *others))
    ]
    return {
        name: functools.partial(KINDS[kind], models[name], batch, options.seed) for name in chosen
    }


def rows(
    models: dict[str, Any], batch: dict[str, Tensor], options: argparse.Namespace, kind: str
) -> list[Any]:
    """Every alternative with its time over BERT's, its evaluations, and the floor that they
    imply.
    """
    runs = runs_of(models, batch, options, kind)
    times = in_turns(runs, options.rounds, options.device, ROUND)
    units = measure_units(models["BERT"], batch, options, kind == "training")
    clock = "cpu" if options.device == "cpu" else "wall"
    own, found = times["BERT"][clock], []
    for name, run in runs.items():
        spent, counted = times[name][clock], count(models[name], run, options.examples)
        floor = own + counted["bare"] * units.evaluation + counted["products"] * units.product
        floor += counted["layers"] * (
            units.attached - units.plain if kind == "training" else -units.evaluation
        )
        floor = floor if counted["known"] else math.nan
        share = {
            "s": times[name]["wall"],
            "CPU s": times[name]["cpu"],
            "of BERT": spent / own,
            "floor of BERT": floor / own,
            "above floor": spent / floor - 1,
        }
        found.append(
            {
                "": name,
                **share,
                **{key: counted[key] for key in ("bare", "products", "unconverged")},
            }
        )
    return found


def measure_memory(options: argparse.Namespace) -> dict[str, dict[str, int | None]]:
    """The most bytes that each alternative holds beyond the models, for a process of its own."""
    torch.set_num_threads(options.threads)
    peak_bytes(lambda: None, options.device)  # before there is anything that could be used again
    models, batch, found = (
        models_of(options),
        tokens_of(options),
        dict[str, dict[str, int | None]](),
    )
    for kind in KINDS:
        runs = runs_of(models, batch, options, kind)
        found[kind] = {
            name: peak_bytes(run, options.device) for name, run in (*runs.items(), *runs.items())
        }  # gradients come to be at first
    return found


def count(model: Any, run: Callable[[], None], examples: int) -> dict[str, Any]:
    """Evaluations without graph in whole batches, products of the adjoint and what did not
    converge, over the layers of one run.
    """
    layers: list[Any] = imbert.implicit_layers(model)
    bare = [0.0]

    def keep(module: Any, inputs: Any, output: Any) -> None:
        if not torch.is_grad_enabled():
            bare[0] += inputs[0].shape[0] / examples

    handles = [layer.attention.register_forward_hook(keep) for layer in layers]
    run()
    for handle in handles:
        handle.remove()
    found = model.solver_statistics() if layers else []
    adjoints = [one["adjoint"] for one in found if one["adjoint"]] if model.training else []
    known = not layers or not model.training or len(adjoints) == len(layers)
    lost = sum(one["examples"] - one["statuses"].get("CONVERGED", 0) for one in [*found, *adjoints])
    # at these tolerances the residual is not computed once more at the end
    products = sum(one["evaluations_max"] for one in adjoints)
    solver = layers[0].method.solver if layers else None
    known = known and not isinstance(
        solver, od.GradientDescent
    )  # its products with the transpose are of another price
    return {
        "layers": len(layers),
        "bare": bare[0],
        "products": products,
        "unconverged": lost,
        "known": known,
    }


def measure_units(
    bert: Any, batch: dict[str, Tensor], options: argparse.Namespace, training: bool
) -> Units:
    """What one layer takes, at the state that enters the last but two."""
    place = max(len(bert.bert.encoder.layer) - 3, 0)
    with torch.no_grad():
        state = bert(**batch, output_hidden_states=True).hidden_states[place].clone()
    layer = bert.bert.encoder.layer[place]
    field: Any = od.LayerVectorField(lambda x: BertLayer.forward(layer, x))
    kept = FrozenDropout.draw(field) if training and options.device == "cpu" else field
    y = state.clone().requires_grad_()
    image, parameters = kept.unsplit(y), [*layer.parameters()]

    def evaluate() -> None:
        with torch.no_grad():
            for _ in range(EVALUATIONS):
                kept.unsplit(state)

    def pull() -> None:
        for _ in range(EVALUATIONS):
            torch.autograd.grad(image, y, state, retain_graph=True)

    def both(of: Any) -> None:
        for _ in range(EVALUATIONS):
            torch.autograd.grad(of.unsplit(y), [y, *parameters], state)

    alternatives = {
        "evaluation": evaluate,
        "product": pull,
        "plain": functools.partial(both, field),
        "attached": functools.partial(both, kept),
    }
    times = in_turns(alternatives, options.rounds, options.device, ROUND)
    clock = "cpu" if options.device == "cpu" else "wall"
    return Units(**{name: found[clock] / EVALUATIONS for name, found in times.items()})


if __name__ == "__main__":
    main()
