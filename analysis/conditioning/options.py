"""Options of `odestab condition`."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.conditioning.config import DTYPES, FAMILIES, ConditionConfig
from analysis.ground.commands import (
    Options,
    Parser,
    a_name,
    a_path,
    a_seed,
    column_options,
    positive,
)
from analysis.ground.terminal import progress
from analysis.ground.write_tables import FORMATS
from analysis.options import workers_option

if TYPE_CHECKING:
    from analysis.conditioning.records import Input

OUT = Path("runs/condition")


def condition_options(parser: Parser) -> None:
    """Options of `odestab condition`."""
    parser.add_argument(
        "model", type=a_name, metavar="MODEL", help="a sequence classifier: hub id or folder"
    )
    _inputs(parser.group("inputs"))
    _drafts(parser.group("random drafts"))
    parser.group("output").add_argument(
        "--out", type=a_path, default=OUT, metavar="DIR", help=f"folder (default: {OUT})"
    )
    parser.group("output").add_argument(
        "--format",
        choices=FORMATS,
        default=FORMATS[0],
        help=f"file format of the table (default: {FORMATS[0]})",
    )
    numbers = parser.group("numbers and processes")
    numbers.add_argument("--seed", type=a_seed, default=0, help="seed of the drafts (default: 0)")
    numbers.add_argument(
        "--device", default="cpu", help="torch device that computes (default: cpu)"
    )
    numbers.add_argument(
        "--dtype",
        choices=DTYPES,
        default=DTYPES[0],
        help=f"precision of the computation (default: {DTYPES[0]})",
    )
    workers_option(numbers)


def _inputs(options: Options) -> None:
    options.add_argument(
        "--data",
        type=a_path,
        required=True,
        metavar="FILE",
        help="your texts: .tsv, .csv, .jsonl or .parquet with named columns, also .gz",
    )
    column_options(options, "; without one, what is predicted")
    options.add_argument(
        "--labels",
        nargs="+",
        action="extend",
        type=_meaning,
        default=[],
        metavar="LABEL=OUTPUT",
        help="what the file's labels mean, each an output of the model by number or name "
        "(default: they are the model's own); one that begins with a dash as --labels=-1=0",
    )
    options.add_argument(
        "--max-tokens",
        type=positive,
        metavar="N",
        help="cut texts after N tokens, as in training (default: as many as the model takes)",
    )


def _meaning(text: str) -> tuple[str, str]:
    """A label of the file and the output of the model that it means."""
    label, _, output = (part.strip() for part in a_name(text).rpartition("="))
    if not label or not output:
        raise argparse.ArgumentTypeError(
            f"expected LABEL=OUTPUT, a label of the file and an output of the model, got {text!r}"
        )
    return label, output


def _drafts(options: Options) -> None:
    options.add_argument(
        "--families",
        nargs="+",
        choices=FAMILIES,
        metavar="FAMILY",
        default=[],
        help=f"kinds of random edits: {', '.join(FAMILIES)} (default: characters, and words where "
        "there are --synonyms)",
    )
    options.add_argument(
        "--drafts",
        type=positive,
        default=10,
        metavar="K",
        help="drafts of each input from each family (default: 10)",
    )
    options.add_argument(
        "--max-edits",
        type=positive,
        default=3,
        metavar="N",
        help="words that a draft changes at most (default: 3)",
    )
    options.add_argument(
        "--synonyms",
        type=a_path,
        metavar="FILE",
        help="JSON table of words and what may stand for them; words without it take near "
        "neighbours in the model's own word embeddings, which can be opposites",
    )
    options.add_argument(
        "--antonyms",
        type=a_path,
        metavar="FILE",
        help="pairs of words that never stand for each other",
    )


def condition_config(options: argparse.Namespace) -> ConditionConfig:
    """The choices that the options make."""
    return ConditionConfig(
        model=options.model,
        data=options.data,
        text_column=options.text_column,
        pair_column=options.pair_column,
        label_column=options.label_column,
        labels=tuple(options.labels),
        families=tuple(options.families),
        drafts=options.drafts,
        max_edits=options.max_edits,
        synonyms=options.synonyms,
        antonyms=options.antonyms,
        seed=options.seed,
        device=options.device,
        dtype=options.dtype,
        max_tokens=options.max_tokens,
    )


def text_progress(chunks: "Iterable[list[Input]]", total: int) -> "Iterator[list[Input]]":
    """The chunks, with a bar on stderr that counts their texts."""
    return progress(chunks, total, unit="text", size=len)
