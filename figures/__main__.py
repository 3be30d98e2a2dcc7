"""`python -m figures RUN`: draw the figures and the report of a run folder again."""

import argparse
from pathlib import Path

from analysis.ground.plain_numbers import decimal_number
from analysis.run import read_measurements
from figures.report import write_report


def main(arguments: list[str] | None = None) -> None:
    """Read a run folder, write its figures and its report, print the report's path."""
    parser = argparse.ArgumentParser(
        prog="python -m figures",
        description="Draw the figures and the report of a run folder again.",
    )
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="a folder that `odestab analyze` wrote"
    )
    meaning = "step size of the figures (default: 1, or the largest measured)"
    parser.add_argument("--step-size", type=decimal_number, metavar="H", help=meaning)
    chosen = parser.parse_args(arguments)
    try:
        print(write_report(read_measurements(chosen.run), chosen.run, chosen.step_size))
    except (ValueError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
