"""Options of the `odestab` commands that read records: confirm, recalibrate, report, export."""

import argparse

from analysis.ground.commands import Parser, a_number, a_path, a_seed
from analysis.ground.write_tables import FORMATS


def confirm_options(parser: Parser) -> None:
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
        help="folder (default: runs/confirmation of a prediction, runs/flips of conditions)",
    )
    of_prediction = parser.group("only of a prediction")
    of_prediction.add_argument(
        "--attack",
        metavar="NAME",
        help="attack by which robustness is measured (default: characters)",
    )
    of_prediction.add_argument(
        "--seed-sd",
        type=a_number,
        metavar="SHARE",
        help="standard deviation of one model's flips over seeds, for a study of one seed",
    )
    of_conditions = parser.group("only of conditions")
    of_conditions.add_argument(
        "--edits",
        type=a_path,
        nargs="+",
        metavar="EDITS.json",
        help="records of `odestab edits`, which show when the fate of an edit is decided",
    )
    of_conditions.add_argument(
        "--format", choices=FORMATS, help="file format of the tables (default: csv)"
    )


def require_of_its_kind(options: argparse.Namespace, names: tuple[str, ...], of: str) -> None:
    """Refuse options of `odestab confirm` that say nothing about what the first file is."""
    for name in names:
        if getattr(options, name) is not None:
            option = "--" + name.replace("_", "-")
            raise ValueError(f"{option} is not an option of {of}, got it with {options.files[0]}")


def recalibrate_options(parser: Parser) -> None:
    """Options of `odestab recalibrate`."""
    parser.add_argument(
        "record",
        type=a_path,
        metavar="CALIBRATION.json",
        help="the record that `odestab calibrate` wrote",
    )
    _seed_option(parser)
    parser.add_argument(
        "--out", type=a_path, required=True, metavar="DIR", help="folder of the new record"
    )


def report_options(parser: Parser) -> None:
    """Options of `odestab report`."""
    _run_option(parser)
    for name in ("prediction", "study", "confirmation", "calibration", "flips"):
        parser.add_argument(
            f"--{name}", type=a_path, metavar="FILE", help=f"tell of this {name}.json in the report"
        )


def export_options(parser: Parser) -> None:
    """Options of `odestab export`."""
    _run_option(parser)
    parser.add_argument(
        "--format", choices=FORMATS, default="csv", help="file format of the tables (default: csv)"
    )
    parser.add_argument(
        "--out", type=a_path, metavar="FOLDER", help="folder of the tables (default: RUN/tables)"
    )


def _run_option(parser: Parser) -> None:
    parser.add_argument(
        "run", type=a_path, metavar="RUN", help="a folder that `odestab analyze` wrote"
    )


def _seed_option(parser: Parser) -> None:
    parser.add_argument(
        "--seed", type=a_seed, default=0, help="seed of resamples and permutations (default: 0)"
    )
