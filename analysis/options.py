"""Arguments of the `odestab` command: their types, and the options that several commands share."""

import argparse
import os
from pathlib import Path

from analysis.config import DEPTHS, DTYPES, FIELDS, Pair, StudyConfig
from analysis.ground.commands import (
    Options,
    Parser,
    a_name,
    a_path,
    a_seed,
    a_shard,
    a_text,
    column_options,
    positive,
)
from analysis.ground.embedded_model import DEFAULT_MODEL
from analysis.ground.plain_numbers import decimal_number, whole_number
from analysis.ground.schedulers import scheduler_option
from analysis.ground.terminal import say
from analysis.packs import STORES

MOST_WORKERS = 1024
MEASURED = "what is measured"  # titles of groups of options
OUTPUT = "output"


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


def analyze_options(parser: Parser) -> None:
    """Options of `odestab analyze`."""
    run_options(parser, "runs/analysis")
    parser.group(MEASURED).add_argument(
        "--depth",
        choices=DEPTHS,
        default="quick",
        help="full adds pseudospectra and more, and takes minutes (default: quick)",
    )


def predict_options(parser: Parser) -> None:
    """Options of `odestab predict`."""
    run_options(parser, "runs/prediction")


def calibrate_options(parser: Parser) -> None:
    """Options of `odestab calibrate`."""
    parser.add_argument(
        "checkpoint",
        type=a_text,
        metavar="CHECKPOINT",
        help="a fine-tuned model, plain or IM-BERT: hub id or folder",
    )
    parser.add_argument(
        "--pretrained",
        type=a_text,
        metavar="MODEL",
        help=f"the model that it was fine-tuned from (default: the embedded {DEFAULT_MODEL})",
    )
    folder_options(parser, "runs/calibration")
    measured = parser.group(MEASURED)
    measured.add_argument(
        "--directions",
        type=a_text,
        metavar="FILE",
        help="perturbations of texts, as `imbert perturbations` writes them",
    )
    measured.add_argument(
        "--margins",
        type=a_path,
        metavar="FILE",
        help="margins of the originals of pairs, as `imbert perturbations` writes them",
    )


def one_figure_options(parser: Parser, name: str) -> None:
    """Options of the commands that draw one figure of one text."""
    model_argument(parser)
    measured = parser.group(MEASURED)
    measured.add_argument("--text", type=a_text, required=True, help="the text that is measured")
    measured.add_argument(
        "--step-size",
        type=a_step_size,
        default=1.0,
        metavar="H",
        help="step size h of a layer (default: 1)",
    )
    parser.group(OUTPUT).add_argument(
        "--out",
        type=a_path,
        default=Path(f"{name}.svg"),
        metavar="FILE",
        help=f"a .svg, .pdf or .png file (default: {name}.svg)",
    )
    measuring_options(parser)
    study_options(measured)


def propagate_options(parser: Parser) -> None:
    """Options of `odestab propagate`."""
    one_figure_options(parser, "propagate")
    parser.group(MEASURED).add_argument(
        "--edited", type=a_text, help="an edit of the text, which is followed as well"
    )


def regions_options(parser: Parser) -> None:
    """Options of `odestab regions`."""
    one_figure_options(parser, "regions")
    parser.group(MEASURED).add_argument(
        "--edited", type=a_text, help="an edit of the text, whose secants are drawn as well"
    )


def model_argument(options: Options) -> None:
    """The encoder that a command measures."""
    options.add_argument(
        "model",
        nargs="?",
        type=a_name,
        metavar="MODEL",
        help=f"the model: hub id or folder (default: the embedded {DEFAULT_MODEL})",
    )


def run_options(parser: Parser, out: str) -> None:
    """Options of the commands that measure many texts into a run folder, at some step sizes."""
    model_argument(parser)
    folder_options(parser, out)
    parser.group(MEASURED).add_argument(
        "--step-size",
        type=a_step_size,
        nargs="+",
        default=[1.0],
        metavar="H",
        help="one or more step sizes h of a layer (default: 1)",
    )
    study_options(parser.group(MEASURED))


def folder_options(parser: Parser, out: str) -> None:
    """Options of the commands that measure many texts into a run folder."""
    measured = parser.group(MEASURED)
    measured.add_argument(
        "--texts",
        type=a_path,
        metavar="FILE",
        help="one text a line, or original<TAB>edited pairs, or a table with a header (.tsv, "
        ".csv, .jsonl, .parquet) (default: built in)",
    )
    column_options(measured, "; not measured")
    measured.add_argument(
        "--limit", type=positive, metavar="N", help="use the first N texts and pairs (default: all)"
    )
    parser.group(OUTPUT).add_argument(
        "--out", type=a_path, default=Path(out), metavar="RUN", help=f"run folder (default: {out})"
    )
    measuring_options(parser)
    _sharing_options(parser.group("processes and files"))


def _sharing_options(options: Options) -> None:
    workers_option(options)
    torchrun = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    options.add_argument(
        "--shard",
        type=a_shard,
        default=torchrun,
        metavar="R/W",
        help="measure the share of rank R of W ranks (default: torchrun's)",
    )
    scheduler_option(options, "cells")
    options.add_argument(
        "--store",
        choices=STORES,
        default=STORES[0],
        help="keep a file a cell, or packs of cells and one Zarr store (default: by their number)",
    )


def workers_option(options: Options) -> None:
    """How many processes measure."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    workers = max(1, min(cores, 4) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    options.add_argument(
        "--workers",
        type=a_worker_count,
        default=workers,
        metavar="N",
        help="processes that measure (default: one a core, up to 4)",
    )


def study_options(measured: Options) -> None:
    """Options of the commands that measure layers of a model as they choose."""
    measured.add_argument(
        "--field",
        choices=FIELDS,
        default="increment",
        help="take f = F - id or f = F of a layer F as its vector field (default: increment)",
    )
    measured.add_argument(
        "--layers",
        type=layer_list,
        metavar="L,L",
        help="indices of layers from 0, separated by commas (default: all)",
    )
    measured.add_argument(
        "--dense-limit",
        type=positive,
        default=1600,
        metavar="N",
        help="compute full spectra up to the dimension N of tokens x hidden size (default: 1600)",
    )


def measuring_options(parser: Parser) -> None:
    """Options of the commands that measure into a run folder or for one figure."""
    computing_options(parser.group("numbers"), "seed of every random vector")
    parser.group(MEASURED).add_argument(
        "--propagated",
        type=positive,
        default=16,
        metavar="N",
        help="follow perturbations of the first N texts through depth (default: 16)",
    )


def computing_options(options: Options, seed: str) -> None:
    """Where and how precisely numbers are computed.

    Args:
        options: of a command.
        seed: what the seed is of.
    """
    options.add_argument(
        "--device", default="cpu", help="torch device that computes (default: cpu)"
    )
    options.add_argument(
        "--dtype",
        choices=DTYPES,
        default="float64",
        help="precision of the computation (default: float64)",
    )
    options.add_argument("--seed", type=a_seed, default=0, help=f"{seed} (default: 0)")


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
    tell(f"warning: {line}")


def tell(line: str) -> None:
    """The same of what is no fault."""
    say(f"odestab: {line}")
