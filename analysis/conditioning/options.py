"""Options of `odestab condition`."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.conditioning.config import DTYPES, FAMILIES, ConditionConfig
from analysis.ground.commands import a_name, a_path, a_seed, column_options, positive
from analysis.ground.write_tables import FORMATS
from analysis.options import workers_option

if TYPE_CHECKING:
    from analysis.conditioning.records import Input

OUT = Path("runs/condition")


def condition_options(parser: argparse.ArgumentParser) -> None:
    """Options of `odestab condition`."""
    parser.add_argument(
        "model", type=a_name, metavar="MODEL", help="a sequence classifier: hub id or folder"
    )
    parser.add_argument(
        "--data",
        type=a_path,
        required=True,
        metavar="FILE",
        help="your texts: .tsv, .csv, .jsonl or .parquet with named columns, also .gz",
    )
    column_options(parser, "; without one, what is predicted")
    parser.add_argument(
        "--families",
        nargs="+",
        choices=FAMILIES,
        default=list(FAMILIES),
        help="of random drafts (default: both)",
    )
    parser.add_argument(
        "--drafts", type=positive, default=10, metavar="K", help="of each family (default: 10)"
    )
    parser.add_argument(
        "--max-edits",
        type=positive,
        default=3,
        metavar="N",
        help="words that a draft changes at most (default: 3)",
    )
    parser.add_argument(
        "--synonyms",
        type=a_path,
        metavar="FILE",
        help="JSON of words and what may stand for them (default: near neighbours in the model's "
        "own word embeddings)",
    )
    parser.add_argument(
        "--antonyms", type=a_path, metavar="FILE", help="pairs of words that are no synonyms"
    )
    parser.add_argument(
        "--max-tokens",
        type=positive,
        metavar="N",
        help="after which texts are cut, as in training (default: as many as the model takes)",
    )
    parser.add_argument("--seed", type=a_seed, default=0, help="of the drafts (default: 0)")
    parser.add_argument("--device", default="cpu", help="torch device (default: cpu)")
    parser.add_argument(
        "--dtype", choices=DTYPES, default=DTYPES[0], help=f"precision (default: {DTYPES[0]})"
    )
    workers_option(parser)
    parser.add_argument(
        "--format", choices=FORMATS, default=FORMATS[0], help="of the table (default: csv)"
    )
    parser.add_argument(
        "--out", type=a_path, default=OUT, metavar="DIR", help=f"folder (default: {OUT})"
    )


def condition_config(options: argparse.Namespace) -> ConditionConfig:
    """The choices that the options make."""
    return ConditionConfig(
        model=options.model,
        data=options.data,
        text_column=options.text_column,
        pair_column=options.pair_column,
        label_column=options.label_column,
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
    from tqdm import tqdm

    with tqdm(desc="measuring", unit="text", total=total, file=sys.stderr) as bar:
        for chunk in chunks:
            yield chunk
            bar.update(len(chunk))
