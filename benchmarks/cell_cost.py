"""What does each kind of cell of a study cost, in CPU seconds, in evaluations of a layer, and in
bytes written?

One chunk of texts of each kind of cell that `odestab analyze`, `predict` and `calibrate` measure,
in float64; cells of a stack go through all layers. The seconds divided by those of one bare
evaluation of one layer on the same texts say what a cell costs on another model or machine.
"""

import argparse
import time
from typing import Any

from safetensors.numpy import save
from side_by_side import arguments, in_turns, publish, table

from analysis.cells import CellPlan
from analysis.config import CALIBRATION, PREDICTION, StudyConfig, default_texts
from analysis.measure import measure
from analysis.sweep import Sweep, prepare

ONE_TEXT = ("dense", "nonnormality")  # of the shortest text, and of all that are short enough
EVALUATIONS = 8


def main() -> None:
    """Measure a cell of every kind, print the table, write the JSON file."""
    options = arguments(__doc__.split("\n")[0], texts=8, layer=2, dense_limit=1600, rounds=3)
    rows = [row for depth in ("full", PREDICTION, CALIBRATION) for row in rows_of(depth, options)]
    print(table(rows))
    print(
        publish(
            "cell_cost", {"rows": rows, "texts": options.texts, "layer": options.layer}, options
        )
    )


def rows_of(depth: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The kinds of cell of a study of one depth."""
    texts, pairs = default_texts()
    config = StudyConfig(
        texts=texts[: options.texts],
        pairs=pairs[:2],
        depth=depth,
        chunk=options.texts,
        propagated=options.texts,
        dense_limit=options.dense_limit,
        layers=(options.layer,),
    )
    sweep = prepare(config, print)
    chosen: dict[str, CellPlan] = {}
    for cell in sweep.cells:
        name = (
            f"{cell.kind}, {cell.perturbation}"
            if cell.perturbation in ("gaussian", "worst")
            else cell.kind
        )
        if len(cell.texts) == options.texts or cell.kind in ONE_TEXT or not cell.texts:
            chosen.setdefault(name, cell)
    return [row_of(depth, name, sweep, cell, options) for name, cell in chosen.items()]


def row_of(
    depth: str, name: str, sweep: Sweep, cell: CellPlan, options: argparse.Namespace
) -> dict[str, Any]:
    """One cell, its path or linearisations made anew."""
    study = sweep.study
    begun = time.process_time()
    found = measure(study, cell)
    spent = time.process_time() - begun
    row: dict[str, Any] = {
        "": name,
        "depth": depth,
        "of": "stack" if cell.layer is None else "layer",
        "texts": len(cell.texts),
        "CPU s": spent,
    }
    if not cell.texts:
        return row | {
            "evaluations a text": float("nan"),
            "tokens": 0,
            "kB": len(save(found.arrays)) / 1000,
        }
    trajectory = study.trace(tuple(study.config.texts[i] for i in cell.texts))
    field, x = trajectory.fields[options.layer], trajectory.states[options.layer]
    evaluated = (
        in_turns(
            {"": lambda: [field.unsplit(x) for _ in range(EVALUATIONS)]}, options.rounds, "cpu"
        )[""]["cpu"]
        / EVALUATIONS
    )
    return row | {
        "evaluations a text": spent / evaluated,
        "tokens": sum(trajectory.tokens),
        "kB": len(save(found.arrays)) / 1000,
    }


if __name__ == "__main__":
    main()
