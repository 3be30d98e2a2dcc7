"""Commands of `odestab` that read records and need no model: confirm, recalibrate, report, export.

Heavy imports stand inside the command bodies, so that --help answers at once.
"""

import argparse
from pathlib import Path
from typing import Any

from analysis.ground.commands import one_line
from analysis.ground.json_records import finite
from analysis.ground.terminal import show, show_next
from analysis.options import warn
from analysis.options_on_records import require_of_its_kind


def confirm(options: argparse.Namespace) -> None:
    """Hold a prediction against the runs that name it, or conditions of inputs against attacks, as
    the first file says.
    """
    from analysis.flips.reading import kind_of

    if kind_of(options.files[0]) == "prediction":
        _confirm_prediction(options)
    else:
        _confirm_conditions(options)


def _confirm_prediction(options: argparse.Namespace) -> None:
    from analysis.confirmation import confirm as confirmed
    from analysis.record import write_record
    from figures.confirmation import draw
    from figures.records import Confirmation, read
    from figures.style import save

    require_of_its_kind(options, ("edits", "format"), "a prediction")
    if len(options.files) != 2:
        raise ValueError(
            "expected a prediction and the folder of one study, "
            f"got {len(options.files)} paths: {' '.join(map(str, options.files))}"
        )
    prediction, study = options.files
    attack = options.attack or "characters"
    found = confirmed(prediction, study, attack, options.seed, options.seed_sd)
    out = options.out or Path("runs/confirmation")
    out.mkdir(parents=True, exist_ok=True)
    path = out / "confirmation.json"
    write_record(path, found.record())
    figure = save(draw(read(path, Confirmation)), out, "confirmation")["svg"]
    for layers in found.meta["unpredicted"]:
        warn(f"implicit layers {layers}: run, but no placement of the prediction; left out")
    show([found.sentence, found.power])
    print(f"record: {path}\nfigure: {figure}")
    # the folder of a prediction is the run that it was made from, unless it was moved
    if not (prediction.parent / "config.json").is_file():
        show_next("look at the figure")
        return
    told = ["--prediction", prediction, "--confirmation", path]
    show_next(
        "look at the figure, or write one page about the prediction and its test:",
        ["odestab", "report", prediction.parent, *told],
    )


def _confirm_conditions(options: argparse.Namespace) -> None:
    from analysis.flips import judge, read_files
    from analysis.flips.tables import write_tables
    from analysis.flips.telling import told
    from analysis.ground.json_records import write_record

    require_of_its_kind(options, ("attack", "seed_sd"), "conditions")
    require_drawing()
    record = judge(read_files(options.files, options.edits or ()), options.seed)
    out = options.out or Path("runs/flips")
    out.mkdir(parents=True, exist_ok=True)
    write_record(out / "flips.json", finite(record))
    tables = write_tables(record, out, options.format or "csv")
    print("\n".join([*told(record), "", f"record: {out / 'flips.json'}"]))
    print("\n".join(f"table: {path}" for path in tables))
    from figures.flips_page import write_page

    print(f"page: {write_page(record, out)}")
    show_next("open the page in a browser")


def recalibrate(options: argparse.Namespace) -> None:
    """The fits, tests and figure of a calibration again from the growth that its record holds,
    without its models.
    """
    from analysis.calibration import again
    from analysis.ground.json_records import read_json

    tell_calibration(again(read_json(options.record), options.seed).record(), options.out)


def tell_calibration(record: dict[str, Any], out: Path, run: Path | None = None) -> None:
    """Write a calibration with its figure, and print what it says.

    Args:
        record: of the calibration.
        out: folder of the record and the figure.
        run: the run folder whose report may tell of it; None where there is none.
    """
    from analysis.calibration.telling import told
    from analysis.record import write_record
    from figures.calibration import draw
    from figures.records import Calibration, read
    from figures.style import save

    out.mkdir(parents=True, exist_ok=True)
    path = out / "calibration.json"
    write_record(path, record)
    figure = save(draw(read(path, Calibration)), out, "calibration")["svg"]
    print("\n".join([*told(record), f"record: {path}", f"figure: {figure}"]))
    if run is None:
        show_next("look at the figure")
        return
    show_next(
        "look at the figure, or write a report of the fine-tuned model that tells of it:",
        ["odestab", "report", run, "--calibration", path],
    )


def report(options: argparse.Namespace) -> None:
    """Figures and report again from a run folder alone."""
    from analysis.run import read_measurements, write_summary
    from figures.report import write_report
    from figures.story import KEYS, read_story

    told = read_story(**{name: getattr(options, name) for name in KEYS})
    found = read_measurements(options.run)
    write_summary(options.run, found, warn)
    print(f"report: {write_report(found, options.run, told=told)}")
    show_next("open the report in a browser")


def export(options: argparse.Namespace) -> None:
    """Every table of a run folder as a file of its own."""
    from analysis.run import export as exported
    from analysis.run import read_measurements

    out = options.out or options.run / "tables"
    for path in exported(read_measurements(options.run), out, options.format):
        print(f"table: {path}")
    show_next(
        f"open a table in a spreadsheet, or the whole run in Python: open_run({str(options.run)!r})"
    )


def require_drawing() -> None:
    """Tell before the measurement, not after it, that matplotlib cannot be loaded: its backend may
    not exist.
    """
    try:
        import figures.style  # noqa: F401
    except (ImportError, ValueError) as error:
        raise ValueError(f"matplotlib cannot draw (see MPLBACKEND): {one_line(error)}") from None
