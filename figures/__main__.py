"""`python -m figures RUN`: draw the figures and the report of a run folder again."""

import argparse
import sys
from collections.abc import Sequence

from analysis.ground.commands import Parser, a_number, a_path, run_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; wrong input is one line on stderr and exit code 2."""
    return run_command(_parser, arguments)


def draw_again(options: argparse.Namespace) -> None:
    """Read a run folder, write its figures and its report, print the report's path."""
    from analysis.run import read_measurements  # late: `--help` waits for neither
    from figures.report import write_report

    measured = read_measurements(options.run)
    print(write_report(measured, options.run, options.step_size))


def _parser() -> Parser:
    parser = Parser(
        prog="python -m figures",
        description="Draw the figures and the report of a run folder again.",
    )
    parser.add_argument(
        "run", type=a_path, metavar="RUN", help="a folder that `odestab analyze` wrote"
    )
    meaning = "step size of the figures (default: 1, or the largest measured)"
    parser.add_argument("--step-size", type=a_number, metavar="H", help=meaning)
    parser.set_defaults(command=draw_again)
    return parser


if __name__ == "__main__":
    sys.exit(main())
