"""Arguments of the `odestab` command: their types, and the options that several commands share."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from analysis.config import DEPTHS, DTYPES, FIELDS, Pair, StudyConfig
from analysis.ground.commands import (
    Parser,
    a_name,
    a_number,
    a_path,
    a_seed,
    a_shard,
    a_text,
    column_options,
    positive,
    say,
)
from analysis.ground.embedded_model import DEFAULT_MODEL
from analysis.ground.plain_numbers import decimal_number, whole_number
from analysis.ground.schedulers import scheduler_option
from analysis.ground.write_tables import FORMATS
from analysis.packs import STORES

if TYPE_CHECKING:
    from collections.abc import Iterable

Item = TypeVar("Item")
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


def analyze_options(parser: argparse.ArgumentParser) -> None:
    """Options of `odestab analyze`."""
    run_options(parser, "runs/analysis")
    parser.add_argument(
        "--depth",
        choices=DEPTHS,
        default="quick",
        help="full adds pseudospectra and more, in minutes (default: quick)",
    )


def predict_options(parser: argparse.ArgumentParser) -> None:
    """Options of `odestab predict`."""
    run_options(parser, "runs/prediction")


def confirm_options(parser: argparse.ArgumentParser) -> None:
    """Options of `odestab confirm`."""
    parser.add_argument(
        "files",
        type=a_path,
        nargs="+",
        metavar="FILE",
        help="PREDICTION.json and the folder of an imbert study whose runs name it; or, in any "
        "order, condition.json of one or more models, attacks/NAME.json on them, edits.json, "
        "result.json of their runs (task, kind of model, seed) and the study's plan.json",
    )
    _seed_option(parser)
    parser.add_argument(
        "--out",
        type=a_path,
        metavar="DIR",
        help="(default: runs/confirmation of a prediction, runs/flips of conditions)",
    )
    of_prediction = parser.add_argument_group("of a prediction")
    of_prediction.add_argument(
        "--attack",
        metavar="NAME",
        help="by which robustness is measured (default: characters)",
    )
    of_prediction.add_argument(
        "--seed-sd",
        type=a_number,
        metavar="SHARE",
        help="of one model's flips over seeds, for a study of one seed",
    )
    of_conditions = parser.add_argument_group("of conditions")
    of_conditions.add_argument(
        "--edits",
        type=a_path,
        nargs="+",
        metavar="EDITS.json",
        help="of `odestab edits`: when is the fate of an edit decided?",
    )
    of_conditions.add_argument("--format", choices=FORMATS, help="of the tables (default: csv)")


def require_of_its_kind(options: argparse.Namespace, names: tuple[str, ...], of: str) -> None:
    """Refuse options of `odestab confirm` that say nothing about what the first file is."""
    for name in names:
        if getattr(options, name) is not None:
            option = "--" + name.replace("_", "-")
            raise ValueError(f"{option} is not an option of {of}, got it with {options.files[0]}")


def calibrate_options(parser: argparse.ArgumentParser) -> None:
    """Options of `odestab calibrate`."""
    parser.add_argument(
        "checkpoint", type=a_text, metavar="CHECKPOINT", help="fine-tuned, plain or IM-BERT"
    )
    parser.add_argument(
        "--pretrained",
        type=a_text,
        metavar="MODEL",
        help=f"that it came from (default: the embedded {DEFAULT_MODEL})",
    )
    folder_options(parser, "runs/calibration")
    parser.add_argument(
        "--directions",
        type=a_text,
        metavar="FILE",
        help="perturbations of texts, as `imbert perturbations` writes them",
    )
    parser.add_argument(
        "--margins",
        type=a_path,
        metavar="FILE",
        help="of the originals of pairs, as `imbert perturbations` writes them",
    )


def recalibrate_options(parser: argparse.ArgumentParser) -> None:
    """Options of `odestab recalibrate`."""
    parser.add_argument("record", type=a_path, metavar="CALIBRATION.json")
    _seed_option(parser)
    parser.add_argument("--out", type=a_path, required=True, metavar="DIR")


def one_figure_options(parser: argparse.ArgumentParser, name: str) -> None:
    """Options of the commands that draw one figure of one text."""
    model_argument(parser)
    parser.add_argument("--text", type=a_text, required=True, help="the text")
    parser.add_argument(
        "--step-size",
        type=a_step_size,
        default=1.0,
        metavar="H",
        help="step size h (default: 1)",
    )
    parser.add_argument(
        "--out",
        type=a_path,
        default=Path(f"{name}.svg"),
        metavar="FILE",
        help="a .svg, .pdf or .png file",
    )


def propagate_options(parser: argparse.ArgumentParser) -> None:
    """Options of `odestab propagate`."""
    one_figure_options(parser, "propagate")
    parser.add_argument("--edited", type=a_text, help="an edit of the text, to follow as well")


def regions_options(parser: argparse.ArgumentParser) -> None:
    """Options of `odestab regions`."""
    one_figure_options(parser, "regions")
    parser.add_argument("--edited", type=a_text, help="an edit of the text, to show its secants")


def report_options(parser: argparse.ArgumentParser) -> None:
    """Options of `odestab report`."""
    parser.add_argument("run", type=a_path, metavar="RUN")
    for name in ("prediction", "study", "confirmation", "calibration", "flips"):
        parser.add_argument(
            f"--{name}", type=a_path, metavar="FILE", help=f"a {name}.json to tell of in the report"
        )


def export_options(parser: argparse.ArgumentParser) -> None:
    """Options of `odestab export`."""
    parser.add_argument("run", type=a_path, metavar="RUN")
    parser.add_argument("--format", choices=FORMATS, default="csv", help="(default: csv)")
    parser.add_argument("--out", type=a_path, metavar="FOLDER", help="(default: RUN/tables)")


def _seed_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seed", type=a_seed, default=0, help="of resamples and permutations (default: 0)"
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
        help="one text a line, or original<TAB>edited pairs, or a table with a header (.tsv, "
        ".csv, .jsonl, .parquet) (default: built in)",
    )
    column_options(parser, "; not measured")
    parser.add_argument(
        "--limit", type=positive, metavar="N", help="use the first N texts and pairs"
    )
    workers_option(parser)
    torchrun = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    parser.add_argument(
        "--shard",
        type=a_shard,
        default=torchrun,
        metavar="R/W",
        help="this rank's share of the cells (default: torchrun's)",
    )
    scheduler_option(parser, "cells")
    parser.add_argument(
        "--store",
        choices=STORES,
        default=STORES[0],
        help="a file a cell, or packs of cells and one Zarr store (default: by their number)",
    )
    parser.add_argument(
        "--out", type=a_path, default=Path(out), metavar="RUN", help=f"run folder (default: {out})"
    )


def workers_option(parser: argparse.ArgumentParser) -> None:
    """How many processes measure."""
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
    tell(f"warning: {line}")


def tell(line: str) -> None:
    """The same of what is no fault."""
    say(f"odestab: {line}")


def progress(items: "Iterable[Item]", total: int, unit: str = "cell") -> "Iterable[Item]":
    """The items, with a bar on stderr."""
    from tqdm import tqdm

    return tqdm(
        items, desc="measuring", unit=unit, total=total, file=sys.stderr, disable=total == 0
    )
