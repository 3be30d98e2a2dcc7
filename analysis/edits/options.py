"""Options of `odestab edits`."""

import argparse
from pathlib import Path

from analysis.config import DTYPES, Pair
from analysis.ground.commands import a_path, a_seed, a_text, column_names, column_options
from analysis.ground.write_tables import FORMATS
from analysis.options import a_step_size, model_argument


def edits_options(parser: argparse.ArgumentParser) -> None:
    """Options of `odestab edits`."""
    model_argument(parser)
    parser.add_argument("--text", type=a_text, help="a text, with --edited")
    parser.add_argument("--edited", type=a_text, help="an edit of it, of any length")
    parser.add_argument(
        "--texts",
        type=a_path,
        metavar="FILE",
        help="many pairs, original<TAB>edited or kind<TAB>original<TAB>edited a line, or a table "
        "(.tsv, .csv, .jsonl, .parquet) with these columns or those named",
    )
    column_options(parser, pair="their edits")
    parser.add_argument(
        "--step-size",
        type=a_step_size,
        default=1.0,
        metavar="H",
        help="step size h of a layer (default: 1)",
    )
    parser.add_argument("--device", default="cpu", help="torch device (default: cpu)")
    parser.add_argument(
        "--dtype", choices=DTYPES, default="float64", help="precision (default: float64)"
    )
    parser.add_argument("--seed", type=a_seed, default=0, help="of resamples (default: 0)")
    parser.add_argument(
        "--format", choices=FORMATS, default="csv", help="of the tables (default: csv)"
    )
    parser.add_argument(
        "--out",
        type=a_path,
        default=Path("runs/edits"),
        metavar="DIR",
        help="folder of the page, the record and the tables (default: runs/edits)",
    )


def pairs_of(options: argparse.Namespace) -> tuple[Pair, ...]:
    """The one pair or the file of pairs that the options name.

    Raises:
        ValueError: if they name neither or both, or the file has no pairs.
        OSError: if it cannot be read.
    """
    from analysis.edits.pairs import read_pairs

    names = column_names(options)
    single = [name for name in ("text", "edited") if getattr(options, name) is not None]
    if options.texts is None and single == ["text", "edited"]:
        return (Pair("edit", options.text, options.edited),)
    if options.texts is None or single:
        given = [f"--{name}" for name in (*single, *(["texts"] if options.texts else []))]
        raise ValueError(
            f"expected --text with --edited, or --texts, got {' and '.join(given) or 'neither'}"
        )
    return read_pairs(options.texts, names)
