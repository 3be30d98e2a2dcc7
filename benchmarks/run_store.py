"""What is a large run on the disk, in files of its own for each cell, and in packs with a store?

One cell of a layer of the embedded model is measured and stands for all: it is written again for
each chunk of texts and each layer. Counted are files and bytes; timed are reading all cells into
one dataset, and opening the store and taking one layer of one variable from it.
"""

import argparse
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from side_by_side import arguments, publish, seconds, table

from analysis import open_run
from analysis.config import StudyConfig, default_texts
from analysis.measure import measure
from analysis.packs import PACKED, pack
from analysis.record import Cell, write_cell, write_config
from analysis.run import read_measurements, write_whole
from analysis.sweep import Sweep, prepare

CHUNK = 8  # texts of a cell


def main() -> None:
    """Write both, print the table, write the JSON file."""
    options = arguments(__doc__.split("\n")[0], cells=3000)
    with tempfile.TemporaryDirectory() as folder:
        rows = rows_of(Path(folder), options)
    print(table(rows))
    print(publish("run_store", {"rows": rows, "cells": options.cells}, options))


def rows_of(out: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for the files, and one for packs and store of the same cells."""
    sentences, _ = default_texts()
    sweep = prepare(StudyConfig(texts=sentences[:CHUNK], device=options.device), print)
    names = write_cells(out, sweep, options.cells)
    as_files = described(out, "files", options)
    for first in range(0, len(names), PACKED):
        pack(out / "cells", {*names[first : first + PACKED]})
    found = read_measurements(out)
    written = seconds(lambda: write_whole(out, found), options.device)
    as_store = described(out, "packs and a store", options)
    return [
        {**as_files, "write the store, CPU s": 0.0},
        {**as_store, "write the store, CPU s": written["cpu"]},
    ]


def write_cells(out: Path, sweep: Sweep, count: int) -> list[str]:
    """A run folder of so many cells; their names."""
    plan = next(cell for cell in sweep.cells if cell.kind == "layer")
    measured = measure(sweep.study, plan)
    layers = sweep.resolved["layers"]
    (out / "cells").mkdir()
    names = []
    for cell in copies(measured, layers, count):
        write_cell(out / "cells", cell)
        names.append(cell.name)
    texts = CHUNK * -(-count // len(layers))
    sentence = sweep.study.config.texts[0]
    write_config(
        out,
        {
            **sweep.resolved,
            "texts": [f"{i}. {sentence}" for i in range(texts)],
            "tokens": texts * sweep.resolved["tokens"][:1],
            "cells": names,
        },
    )
    return names


def copies(cell: Cell, layers: list[int], count: int) -> Iterator[Cell]:
    """The same numbers for every layer of one chunk of texts after the other."""
    for number in range(count):
        chunk, place = divmod(number, len(layers))
        texts = [CHUNK * chunk + i for i in range(CHUNK)]
        header = {**cell.header, "layer": layers[place], "texts": texts}
        yield dataclasses.replace(cell, name=f"layer-{number:07d}", header=header)


def described(out: Path, name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Files, bytes and seconds of a run folder as it is."""
    files = [path for path in out.rglob("*") if path.is_file()]
    opened = seconds(lambda: open_run(out), options.device)
    one_layer = seconds(
        lambda: open_run(out)["worst_growth"].sel(scheme="implicit", layer=1).load(),
        options.device,
    )
    return {
        "": name,
        "files": len(files),
        "MB": sum(path.stat().st_size for path in files) / 1e6,
        "open_run, CPU s": opened["cpu"],
        "and one layer of worst growth, CPU s": one_layer["cpu"],
    }


if __name__ == "__main__":
    main()
