"""The `odestab` command.

Heavy imports stand inside the command bodies, so that --help answers at once.
"""

import argparse
import contextlib
import functools
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.command_words import DESCRIPTION, EPILOG, WORDS
from analysis.conditioning.options import condition_config, condition_options, text_progress
from analysis.config import (
    CALIBRATION,
    PREDICTION,
    Pair,
    StudyConfig,
    checkpoint_digest,
    default_texts,
    read_texts,
)
from analysis.edits.options import edits_options, pairs_of
from analysis.ground.commands import Parser, column_names, run_command
from analysis.ground.json_records import finite
from analysis.ground.schedulers import require_no_shard, scheduled
from analysis.ground.terminal import progress, show, show_next
from analysis.on_records import (
    confirm,
    export,
    recalibrate,
    report,
    require_drawing,
    tell_calibration,
)
from analysis.options import (
    analyze_options,
    calibrate_options,
    predict_options,
    propagate_options,
    regions_options,
    require_figure,
    study_config,
    tell,
    warn,
)
from analysis.options_on_records import (
    confirm_options,
    export_options,
    recalibrate_options,
    report_options,
)

if TYPE_CHECKING:
    from analysis.prediction import PlanData, Prediction
    from analysis.run import Measurements
    from analysis.sweep import Sweep

FIRST = ("odestab", "analyze", "--limit", "1", "--layers", "3")
WAITING = (
    "this rank is done; the rank that comes last writes the rest, as does the same command again"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what is wrong is one line on stderr, with the exit code of `run_command`."""
    warnings.filterwarnings("ignore", "Attempted to insert a get_attr Node", UserWarning)
    return run_command(_parser, arguments)


def analyze(options: argparse.Namespace) -> None:
    """Spectra, stability and propagation of every layer into a run folder, with figures and a
    report.
    """
    from analysis.sweep import prepare

    config = study_config(options, *_texts(options), tuple(options.step_size))
    with _measuring(options) as measured:
        summary = measured(prepare(config, warn), options.out)
    if summary is None:
        show(WAITING)
        return
    from figures.answers import answers
    from figures.report import write_report

    page = write_report(summary, options.out)
    show(line for each in answers(summary) for line in each.lines)
    print(f"report: {page}")
    show_next(
        "open the report in a browser, or write its tables for a spreadsheet:",
        ["odestab", "export", options.out],
    )


def predict(options: argparse.Namespace) -> None:
    """Which layers should take an implicit step, from single steps on unlabelled texts, with a run
    that tests it.
    """
    from analysis.prediction import plan_data
    from analysis.prediction import predict as predicted
    from analysis.sweep import prepare

    texts, _ = _texts(options)
    if len(texts) < 2:
        raise ValueError(
            f"texts: a prediction needs at least 2 to say how sure it is, got {len(texts)}"
        )
    data = plan_data(options.texts, column_names(options))
    config = study_config(options, texts, (), tuple(options.step_size))
    sweep = prepare(config, warn)
    family = sweep.study.encoder.config.model_type
    with _measuring(options) as measured:
        summary = measured(sweep, options.out)
    if summary is None:
        show(WAITING)
        return
    if (checkpoint := checkpoint_digest(options.model)) is None:
        warn(
            f"the weights of {options.model} have no digest here, so "
            "that no run can be held against this prediction"
        )
    found = predicted(summary, options.seed, checkpoint)
    _write_prediction(found, options.out, data, family)


def _write_prediction(found: "Prediction", out: Path, data: "PlanData", family: str) -> None:
    """Write a prediction, its plans and its figure, and tell it."""
    import hashlib

    from analysis.prediction import no_study, run_toml, study_toml
    from analysis.record import write_bytes, write_record

    path = out / "prediction.json"
    write_record(path, found.record())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    plans = {"run.toml": run_toml, "study.toml": study_toml}
    for name, plan in plans.items():
        write_bytes(out / name, plan(found, digest, data, family).encode())
    from figures import records
    from figures.prediction import draw
    from figures.style import save

    figure = save(draw(records.read(path, records.Prediction)), out, "prediction")["svg"]
    show(found.recommendation.sentences)
    print(f"prediction: {path}\nsha256: {digest}\nfigure: {figure}")
    reason = no_study(found, family)
    if reason is not None:
        show(f"no study can test it: {reason}")
        show_next(f"look at the figure {figure}")
        return
    print("\n".join(f"plan: {out / name}" for name in plans))
    show_next(
        "nothing measured so far is a reason to train by it. To test it, this trains a model for "
        f"each placement on {data.told}, which odestab confirm judges:",
        ["imbert", "study", out / "study.toml", "--out", out / "placements"],
    )


def calibrate(options: argparse.Namespace) -> None:
    """Growth through a fine-tuned model: measured, and predicted from its linearisation and from
    that of the checkpoint it came from.
    """
    from analysis.calibration import calibrate as calibrated
    from analysis.ground.json_records import read_json
    from analysis.record import read_run
    from analysis.sweep import lacking_cells, prepare

    texts, pairs = _texts(options)
    shared = {
        "texts": texts,
        "pairs": pairs,
        "depth": CALIBRATION,
        "propagated": options.propagated,
    }
    shared |= {
        "device": options.device,
        "dtype": options.dtype,
        "seed": options.seed,
        "directions": options.directions,
    }
    folders = {"fine-tuned": options.checkpoint, "pretrained": options.pretrained}
    sweeps = {
        name: prepare(StudyConfig(model=model, steps=options.checkpoint, **shared), warn)
        for name, model in folders.items()
    }
    with _measuring(options) as measured:
        found = {name: measured(sweep, options.out / name) for name, sweep in sweeps.items()}
    if any(
        whole is None and lacking_cells(sweeps[name], options.out / name, warn)
        for name, whole in found.items()
    ):
        show(WAITING)
        return
    tuned, pretrained = (read_run(options.out / name) for name in folders)
    margins = read_json(options.margins) if options.margins else None
    record = calibrated(tuned, pretrained, options.seed, margins).record()
    tell_calibration(record, options.out, options.out / "fine-tuned")


def condition(options: argparse.Namespace) -> None:
    """Which of a classifier's inputs an edit flips most easily: margins, their conditioning, and
    what random drafts of each input do.
    """
    require_drawing()
    from analysis.conditioning.condition import RECORD, run
    from analysis.conditioning.drafts import weakest_of
    from analysis.conditioning.prepare import prepare
    from analysis.conditioning.tables import write_table
    from analysis.conditioning.telling import told

    prepared = prepare(condition_config(options), warn)
    record = run(prepared, options.out, warn, text_progress, options.workers)
    texts = prepared.data.texts
    families = prepared.classifier.families
    drafts = [
        weakest_of(row, own, families, record.seed)
        for row, own in zip(record.inputs, texts, strict=True)
    ]
    table = write_table(record, texts, drafts, options.out, options.format)
    from figures.condition_page import write_page

    page = write_page(record, texts, options.out, table.name, drafts)
    print("\n".join(told(record, texts)))
    print(f"record: {options.out / RECORD}\ntable: {table}\npage: {page}")
    show_next(
        "open the page in a browser; once imbert attack has attacked the same rows, hold the "
        "scores against it:",
        ["odestab", "confirm", options.out / RECORD, "ATTACK.json"],
    )


def propagate(options: argparse.Namespace) -> None:
    """One figure: growth of a perturbation through depth on a text, and of an edit of it if one is
    given.
    """
    pairs = (Pair("edit", options.text, options.edited),) if options.edited is not None else ()
    _one_figure(options, pairs, {"propagation"})


def edits(options: argparse.Namespace) -> None:
    """What every step does to real edits of any size: one page, one record and its tables."""
    pairs = pairs_of(options)
    require_drawing()
    config = StudyConfig(
        model=options.model,
        texts=tuple(dict.fromkeys(pair.original for pair in pairs)),
        pairs=pairs,
        step_sizes=(options.step_size,),
        device=options.device,
        dtype=options.dtype,
        seed=options.seed,
    )
    from analysis.edits.run import measure_edits
    from analysis.edits.tables import write_tables
    from analysis.edits.telling import cautions, told
    from analysis.ground.files import folder_lock
    from analysis.record import write_record

    measured = measure_edits(config, warn, functools.partial(progress, unit="batch"))
    path = options.out / "edits.json"
    record = measured.record
    from figures.edits import write_page

    with folder_lock(options.out):
        write_record(path, finite(record))
        write_tables(record, options.out / "tables", options.format)
        beside = {edit.index: cautions(record, edit) for edit in record.edits}
        page = write_page(record, measured.words, beside, options.out)
    print("\n".join([*told(record), f"record: {path}", f"page: {page}"]))
    show_next(f"open the page in a browser; its numbers are tables in {options.out / 'tables'}")


def regions(options: argparse.Namespace) -> None:
    """One figure: each layer's spectrum on a text over the stability regions, with the secants of
    an edit of it if one is given.
    """
    pairs = (Pair("edit", options.text, options.edited),) if options.edited is not None else ()
    _one_figure(options, pairs, {"layer", "dense", "regions", "secants", "relative_graph"})


def info(options: argparse.Namespace) -> None:
    """Versions, devices, and which kernels are usable."""
    from analysis.installed import in_lines, installed

    rows = installed()
    print("\n".join(in_lines(rows)))
    # what is said of a model that is missing ends with the command that gets it
    _, _, get = rows["default model"].partition("get it with: ")
    if get:
        show_next("get the default model:", get.split())
    else:
        show_next("measure a layer on one text, in a minute:", FIRST)


def _one_figure(options: argparse.Namespace, pairs: tuple[Pair, ...], kinds: set[str]) -> None:
    """Measure the cells of one text that a figure needs, draw it and write it."""
    from analysis.sweep import measure_in_memory, prepare

    require_figure(options.out)
    require_drawing()
    config = study_config(options, (options.text,), pairs, (options.step_size,))
    sweep = prepare(config, warn)
    summary = measure_in_memory(sweep, [cell for cell in sweep.cells if cell.kind in kinds])
    from figures import propagation, spectra
    from figures.style import write

    write((propagation if "propagation" in kinds else spectra).draw(summary), options.out)
    print(f"figure: {options.out}")
    show_next(
        "look at the figure, or measure all layers on many texts, with a report:",
        ["odestab", "analyze", *([] if options.model is None else [options.model])],
    )


@contextlib.contextmanager
def _measuring(
    options: argparse.Namespace,
) -> "Iterator[Callable[[Sweep, Path], Measurements | None]]":
    """Runs a sweep into a folder, by the workers and into the store that the options choose."""
    from analysis.sweep import run

    require_no_shard(options.scheduler, options.shard)
    with scheduled(options.scheduler, options.workers, options.device, tell) as executor:

        def measured(sweep: "Sweep", out: Path) -> "Measurements | None":
            return run(
                sweep,
                out,
                warn,
                progress,
                options.workers,
                options.shard,
                executor,
                options.store,
            )

        yield measured


def _texts(options: argparse.Namespace) -> tuple[tuple[str, ...], tuple[Pair, ...]]:
    """The texts and pairs of a command that measures many and draws what it measured."""
    require_drawing()
    names = column_names(options)
    texts, pairs = read_texts(options.texts, names) if options.texts else default_texts()
    return texts[: options.limit], pairs[: options.limit]


def _parser() -> Parser:
    parser = Parser(prog="odestab", description=DESCRIPTION, epilog=EPILOG)
    parser.takes_version()
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for command, options, defaults in (
        (analyze, analyze_options, {}),
        (predict, predict_options, {"depth": PREDICTION}),
        (confirm, confirm_options, {}),
        (calibrate, calibrate_options, {}),
        (recalibrate, recalibrate_options, {}),
        (propagate, propagate_options, {"depth": "quick"}),
        (edits, edits_options, {}),
        (regions, regions_options, {"depth": "quick"}),
        (condition, condition_options, {}),
        (report, report_options, {}),
        (export, export_options, {}),
        (info, None, {}),
    ):
        below = commands.add_parser(command.__name__, **WORDS[command.__name__].options())
        if options is not None:
            options(below)
        below.set_defaults(command=command, **defaults)
    return parser


if __name__ == "__main__":
    sys.exit(main())
