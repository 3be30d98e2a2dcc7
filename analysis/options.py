"""Arguments of the `odestab` command: their types, and the options that several commands share."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.config import DTYPES, FIELDS, Pair, StudyConfig
from analysis.ground.commands import Parser, a_name, a_path, a_seed, a_shard, positive, say
from analysis.ground.embedded_model import DEFAULT_MODEL
from analysis.ground.plain_numbers import decimal_number, whole_number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analysis.record import Cell

MOST_WORKERS = 1024


def a_step_size(text: str) -> float:
    """A number; one that is not finite is refused with the range of step sizes."""
    if text.lstrip("+-").lower() in ("nan", "inf", "infinity"):
        return float(text)
    try:
        return decimal_number(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"step size must be a number, got {text!r}") from None


def layer_list(text: str) -> tuple[int, ...]:
    """Indices separated by commas."""
    try:
        layers = tuple(whole_number(part) for part in text.split(","))
    except ValueError:
        layers = (-1,)
    if min(layers) < 0:
        raise argparse.ArgumentTypeError(
            f"layers must be indices from 0 separated by commas, like 0,3, got {text!r}"
        )
    return layers


def a_worker_count(text: str) -> int:
    """A number of processes."""
    if (workers := positive(text)) > MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"expected at most {MOST_WORKERS} processes, got {text}")
    return workers


def require_figure(path: Path) -> None:
    """Tell before the measurement, not after it, that its figure cannot be written."""
    suffixes = (".svg", ".pdf", ".png")
    if path.suffix not in suffixes:
        raise ValueError(f"--out must end in one of {', '.join(suffixes)}, got {path.name}")
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise ValueError(
            f"--out must be a file in a folder that exists and can be written, got {path}"
        )


def model_argument(parser: argparse.ArgumentParser) -> None:
    """The encoder that a command measures."""
    parser.add_argument(
        "model",
        nargs="?",
        type=a_name,
        metavar="MODEL",
        help=f"hub id or folder (default: the embedded {DEFAULT_MODEL})",
    )


def run_options(parser: argparse.ArgumentParser, out: str) -> None:
    """Options of the commands that measure many texts into a run folder, at some step sizes."""
    model_argument(parser)
    parser.add_argument(
        "--step-size",
        type=a_step_size,
        nargs="+",
        default=[1.0],
        metavar="H",
        help="step sizes h (default: 1)",
    )
    folder_options(parser, out)


def folder_options(parser: argparse.ArgumentParser, out: str) -> None:
    """Options of the commands that measure many texts into a run folder."""
    parser.add_argument(
        "--texts",
        type=a_path,
        metavar="FILE",
        help="one text a line, or original<TAB>edited pairs (default: built in)",
    )
    parser.add_argument(
        "--limit", type=positive, metavar="N", help="use the first N texts and pairs"
    )
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    workers = max(1, min(cores, 4) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    parser.add_argument(
        "--workers",
        type=a_worker_count,
        default=workers,
        metavar="N",
        help="processes (default: one a core, up to 4)",
    )
    torchrun = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    parser.add_argument(
        "--shard",
        type=a_shard,
        default=torchrun,
        metavar="R/W",
        help="this rank's share of the cells (default: torchrun's)",
    )
    parser.add_argument(
        "--out", type=a_path, default=Path(out), metavar="RUN", help=f"run folder (default: {out})"
    )


def study_options() -> Parser:
    """Options of the commands that measure layers of a model as they choose."""
    options = Parser(add_help=False, parents=[measuring_options()])
    options.add_argument(
        "--field",
        choices=FIELDS,
        default="increment",
        help="f = F - id, or f = F, for a layer F (default: increment)",
    )
    options.add_argument(
        "--layers", type=layer_list, metavar="L,L", help="layers by index from 0 (default: all)"
    )
    options.add_argument(
        "--dense-limit",
        type=positive,
        default=1600,
        metavar="N",
        help="full spectrum up to this dimension n·H (default: 1600)",
    )
    return options


def measuring_options() -> Parser:
    """Options that do not depend on what is measured."""
    options = Parser(add_help=False)
    options.add_argument("--device", default="cpu", help="torch device (default: cpu)")
    options.add_argument(
        "--dtype", choices=DTYPES, default="float64", help="precision (default: float64)"
    )
    options.add_argument(
        "--propagated",
        type=positive,
        default=16,
        metavar="N",
        help="follow perturbations of the first N texts through depth (default: 16)",
    )
    options.add_argument(
        "--seed", type=a_seed, default=0, help="of every random vector (default: 0)"
    )
    return options


def study_config(
    options: argparse.Namespace,
    texts: tuple[str, ...],
    pairs: tuple[Pair, ...],
    step_sizes: tuple[float, ...],
) -> StudyConfig:
    """The configuration that the options of a command describe."""
    return StudyConfig(
        model=options.model,
        texts=texts,
        pairs=pairs,
        field=options.field,
        step_sizes=tuple(sorted(step_sizes)),
        layers=options.layers,
        device=options.device,
        dtype=options.dtype,
        depth=options.depth,
        seed=options.seed,
        propagated=options.propagated,
        dense_limit=options.dense_limit,
    )


def warn(line: str) -> None:
    """One line on stderr."""
    say(f"odestab: warning: {line}")


def progress(cells: "Iterable[Cell]", total: int) -> "Iterable[Cell]":
    """The cells, with a bar on stderr."""
    from tqdm import tqdm

    return tqdm(
        cells, desc="measuring", unit="cell", total=total, file=sys.stderr, disable=total == 0
    )
