"""Options of `odestab edits`."""

import argparse
from pathlib import Path

from analysis.config import Pair
from analysis.ground.commands import Parser, a_path, a_text, column_names, column_options
from analysis.ground.write_tables import FORMATS
from analysis.options import a_step_size, computing_options, model_argument


def edits_options(parser: Parser) -> None:
    """Options of `odestab edits`."""
    model_argument(parser)
    pairs = parser.group("edits")
    pairs.add_argument("--text", type=a_text, help="one text, with its edit in --edited")
    pairs.add_argument("--edited", type=a_text, help="an edit of the text, of any length")
    pairs.add_argument(
        "--texts",
        type=a_path,
        metavar="FILE",
        help="many pairs, original<TAB>edited or kind<TAB>original<TAB>edited a line, or a table "
        "(.tsv, .csv, .jsonl, .parquet) with these columns or those named",
    )
    column_options(pairs, pair="their edits")
    numbers = parser.group("numbers")
    numbers.add_argument(
        "--step-size",
        type=a_step_size,
        default=1.0,
        metavar="H",
        help="step size h of a layer (default: 1)",
    )
    computing_options(numbers, "seed of resamples")
    output = parser.group("output")
    output.add_argument(
        "--out",
        type=a_path,
        default=Path("runs/edits"),
        metavar="DIR",
        help="folder of the page, the record and the tables (default: runs/edits)",
    )
    output.add_argument(
        "--format", choices=FORMATS, default="csv", help="file format of the tables (default: csv)"
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
