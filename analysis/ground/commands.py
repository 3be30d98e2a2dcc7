"""Arguments of the `odestab` command: their types, and the options that several commands share."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from analysis.config import DEFAULT_MODEL, DTYPES, FIELDS, Pair, StudyConfig
from analysis.ground.plain_numbers import decimal_number, whole_number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analysis.record import Cell

LARGEST = 10**9  # of what is counted: texts, dimensions
MOST_WORKERS = 1024


def a_text(text: str) -> str:
    """A text that is not empty."""
    if not text.strip():
        raise argparse.ArgumentTypeError("expected a text, got an empty one")
    return a_name(text)


def a_name(text: str) -> str:
    """Anything that is Unicode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"expected UTF-8, got {text!r}") from None
    return text


def a_path(text: str) -> Path:
    """A path."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected a path, got {text!r}")
    return Path(text)


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


def positive(text: str) -> int:
    """A whole number from 1."""
    if not (text.isascii() and text.isdecimal()) or not text.strip("0"):
        raise argparse.ArgumentTypeError(f"expected a whole number >= 1, got {text[:30]!r}")
    if len(text) > len(str(LARGEST)) or int(text) > LARGEST:
        raise argparse.ArgumentTypeError(f"expected at most {LARGEST}, got {text[:30]}")
    return int(text)


def a_seed(text: str) -> int:
    """A whole number from 0."""
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(
            f"invalid int value: {text!r}, expected a whole number >= 0"
        )
    return whole_number(text)


def a_worker_count(text: str) -> int:
    """A number of processes."""
    if (workers := positive(text)) > MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"expected at most {MOST_WORKERS} processes, got {text}")
    return workers


def a_shard(text: str) -> tuple[int, int]:
    """Rank/ranks."""
    rank, _, ranks = text.partition("/")
    if not (
        text.isascii()
        and rank.isdecimal()
        and ranks.isdecimal()
        and whole_number(rank) < whole_number(ranks)
    ):
        raise argparse.ArgumentTypeError(f"expected rank/ranks like 0/2, got {text!r}")
    return whole_number(rank), whole_number(ranks)


class Parser(argparse.ArgumentParser):
    """Wrong usage is a ValueError, one line like any other wrong input; options are not
    abbreviated.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see {self.prog} --help)")


def require_figure(path: Path) -> None:
    """Tell before the measurement, not after it, that its figure cannot be written."""
    suffixes = (".svg", ".pdf", ".png")
    if path.suffix not in suffixes:
        raise ValueError(f"--out must end in one of {', '.join(suffixes)}, got {path.name}")
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise ValueError(
            f"--out must be a file in a folder that exists and can be written, got {path}"
        )


def one_line(error: BaseException) -> str:
    """What an error says, on one line, with the file that it is about."""
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    return " ".join(text.split())


def ready_streams() -> None:
    """Give stdout and stderr somewhere to write, and a way to show names that the terminal has no
    letters for.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed before the start
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 -- for the life of the process
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def run_options(parser: argparse.ArgumentParser, out: str) -> None:
    """Options of the commands that measure many texts into a run folder, at some step sizes."""
    parser.add_argument(
        "model",
        nargs="?",
        type=a_name,
        metavar="MODEL",
        help=f"hub id or folder (default: the embedded {DEFAULT_MODEL})",
    )
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
    print(f"odestab: warning: {line}", file=sys.stderr)


def progress(cells: "Iterable[Cell]", total: int) -> "Iterable[Cell]":
    """The cells, with a bar on stderr."""
    from tqdm import tqdm

    return tqdm(
        cells, desc="measuring", unit="cell", total=total, file=sys.stderr, disable=total == 0
    )
