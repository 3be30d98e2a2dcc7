"""The `odestab` command.

Heavy imports stand inside the command bodies, so that --help answers at once.
"""

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.config import (
    CALIBRATION,
    DEFAULT_MODEL,
    DEPTHS,
    PREDICTION,
    Pair,
    StudyConfig,
    checkpoint_digest,
    default_texts,
    read_texts,
)
from analysis.ground.commands import (
    Parser,
    a_path,
    a_seed,
    a_step_size,
    a_text,
    folder_options,
    measuring_options,
    one_line,
    progress,
    ready_streams,
    require_figure,
    run_options,
    study_config,
    study_options,
    warn,
)
from analysis.ground.interrupts import kept_interrupts

WAITING = (
    "this rank is done; the rank that comes last writes the rest, as does the same command again"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; wrong input is one line on stderr and exit code 2."""
    warnings.filterwarnings("ignore", "Attempted to insert a get_attr Node", UserWarning)
    ready_streams()
    try:
        with kept_interrupts():
            options = _parser().parse_args(arguments)
            options.command(options)
    except (ValueError, OSError, MemoryError) as error:
        print(f"odestab: error: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("odestab: interrupted; the same command continues where it stopped", file=sys.stderr)
        return 130
    return 0


def analyze(options: argparse.Namespace) -> None:
    """Spectra, stability and propagation of every layer into a run folder, with figures and a
    report.
    """
    from analysis.sweep import prepare, run

    config = study_config(options, *_texts(options), tuple(options.step_size))
    summary = run(
        prepare(config, warn), options.out, warn, progress, options.workers, options.shard
    )
    if summary is None:
        print(WAITING)
        return
    from figures.report import write_report

    print(f"report: {write_report(summary, options.out)}")


def predict(options: argparse.Namespace) -> None:
    """Which layers should take an implicit step, from single steps on unlabelled texts, with a run
    that tests it.
    """
    import hashlib

    from analysis.prediction import predict as predicted
    from analysis.prediction import run_toml, study_toml
    from analysis.record import write_bytes, write_record
    from analysis.sweep import prepare, run

    texts, _ = _texts(options)
    if len(texts) < 2:
        raise ValueError(
            f"texts: a prediction needs at least 2 to say how sure it is, got {len(texts)}"
        )
    config = study_config(options, texts, (), tuple(options.step_size))
    summary = run(
        prepare(config, warn), options.out, warn, progress, options.workers, options.shard
    )
    if summary is None:
        print(WAITING)
        return
    if (checkpoint := checkpoint_digest(options.model)) is None:
        warn(
            f"the weights of {options.model} have no digest here, so "
            "that no run can be held against this prediction"
        )
    found = predicted(summary, options.seed, checkpoint)
    path = options.out / "prediction.json"
    write_record(path, found.record())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    plans = {"run.toml": run_toml, "study.toml": study_toml}
    for name, plan in plans.items():
        write_bytes(options.out / name, plan(found, digest).encode())
    from figures.prediction import draw
    from figures.records import Prediction, read
    from figures.style import save

    figure = save(draw(read(path, Prediction)), options.out, "prediction")["svg"]
    print("\n".join(found.recommendation.sentences))
    tests = " and ".join(str(options.out / name) for name in plans)
    print(f"prediction: {path}, sha256 {digest}\nto test it: {tests}\nfigure: {figure}")


def confirm(options: argparse.Namespace) -> None:
    """Hold a prediction against the fine-tuned and attacked runs that name it."""
    from analysis.confirmation import confirm as confirmed
    from analysis.record import write_record
    from figures.confirmation import draw
    from figures.records import Confirmation, read
    from figures.style import save

    found = confirmed(
        options.prediction, options.study, options.attack, options.seed, options.seed_sd
    )
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "confirmation.json"
    write_record(path, found.record())
    figure = save(draw(read(path, Confirmation)), options.out, "confirmation")["svg"]
    print(f"{found.sentence}\n{found.power}\nrecord: {path}\nfigure: {figure}")
    for layers in found.meta["unpredicted"]:
        warn(f"implicit layers {layers}: run, but no placement of the prediction; left out")


def calibrate(options: argparse.Namespace) -> None:
    """Growth through a fine-tuned model: measured, and predicted from its linearisation and from
    that of the checkpoint it came from.
    """
    from analysis.calibration import calibrate as calibrated
    from analysis.ground.json_records import read_json
    from analysis.record import read_run
    from analysis.sweep import missing, prepare, run

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
    measured = {
        name: run(sweep, options.out / name, warn, progress, options.workers, options.shard)
        for name, sweep in sweeps.items()
    }
    if any(
        found is None and missing(sweeps[name], options.out / name, warn)
        for name, found in measured.items()
    ):
        print(WAITING)
        return
    tuned, pretrained = (read_run(options.out / name) for name in folders)
    margins = read_json(options.margins) if options.margins else None
    _tell_calibration(calibrated(tuned, pretrained, options.seed, margins).record(), options.out)


def recalibrate(options: argparse.Namespace) -> None:
    """The fits, tests and figure of a calibration again from the growth that its record holds,
    without its models.
    """
    from analysis.calibration import again
    from analysis.ground.json_records import read_json

    _tell_calibration(again(read_json(options.record), options.seed).record(), options.out)


def _tell_calibration(record: dict[str, Any], out: Path) -> None:
    """Write a calibration with its figure, and print what it says."""
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


def report(options: argparse.Namespace) -> None:
    """Figures and report again from a run folder alone."""
    from analysis.record import read_run
    from analysis.summary import summarise
    from figures.report import write_report
    from figures.story import KEYS, read_story

    told = read_story(**{name: getattr(options, name) for name in KEYS})
    print(f"report: {write_report(summarise(read_run(options.run)), options.run, told=told)}")


def propagate(options: argparse.Namespace) -> None:
    """One figure: growth of a perturbation through depth on a text, and of an edit of it if one is
    given.
    """
    pairs = (Pair("edit", options.text, options.edited),) if options.edited is not None else ()
    _one_figure(options, pairs, {"propagation"})


def regions(options: argparse.Namespace) -> None:
    """One figure: each layer's spectrum on a text over the stability regions."""
    _one_figure(options, (), {"layer", "dense", "regions"})


def info(options: argparse.Namespace) -> None:
    """Versions, devices, and which kernels are usable."""
    from analysis.installed import installed

    print(installed())


def _one_figure(options: argparse.Namespace, pairs: tuple[Pair, ...], kinds: set[str]) -> None:
    """Measure the cells of one text that a figure needs, draw it and write it."""
    from analysis.sweep import measure_in_memory, prepare

    require_figure(options.out)
    _require_drawing()
    config = study_config(options, (options.text,), pairs, (options.step_size,))
    sweep = prepare(config, warn)
    summary = measure_in_memory(sweep, [cell for cell in sweep.cells if cell.kind in kinds])
    from figures import propagation, spectra
    from figures.style import write

    write((propagation if "propagation" in kinds else spectra).draw(summary), options.out)
    print(f"figure: {options.out}")


def _texts(options: argparse.Namespace) -> tuple[tuple[str, ...], tuple[Pair, ...]]:
    """The texts and pairs of a command that measures many and draws what it measured."""
    _require_drawing()
    texts, pairs = read_texts(options.texts) if options.texts else default_texts()
    return texts[: options.limit], pairs[: options.limit]


def _require_drawing() -> None:
    """Tell before the measurement, not after it, that matplotlib cannot be loaded: its backend may
    not exist.
    """
    try:
        import figures.style  # noqa: F401
    except (ImportError, ValueError) as error:
        raise ValueError(f"matplotlib cannot draw (see MPLBACKEND): {one_line(error)}") from None


def _parser() -> Parser:
    parser = Parser(
        prog="odestab",
        description="Is this transformer layer a stable step of a differential "
        "equation, and does an implicit step make it more robust?",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    study = study_options()
    whole = commands.add_parser(
        "analyze",
        parents=[study],
        help="spectra, stability and propagation of every layer, with a report",
    )
    run_options(whole, "runs/analysis")
    whole.add_argument(
        "--depth",
        choices=DEPTHS,
        default="quick",
        help="full adds pseudospectra and more, in minutes (default: quick)",
    )
    whole.set_defaults(command=analyze)
    ahead = commands.add_parser(
        "predict",
        parents=[study],
        help="which layers should take an implicit step, with a run that tests it",
    )
    run_options(ahead, "runs/prediction")
    ahead.set_defaults(command=predict, depth=PREDICTION)
    after = commands.add_parser(
        "confirm",
        help="hold a prediction against the fine-tuned and attacked models that were to test it",
    )
    after.add_argument("prediction", type=a_path, metavar="PREDICTION.json")
    after.add_argument(
        "study",
        type=a_path,
        metavar="STUDY",
        help="folder of an imbert study whose runs name the prediction",
    )
    after.add_argument(
        "--attack",
        default="characters",
        metavar="NAME",
        help="by which robustness is measured (default: characters)",
    )
    after.add_argument(
        "--seed", type=a_seed, default=0, help="of resamples and permutations (default: 0)"
    )
    after.add_argument(
        "--seed-sd",
        type=float,
        metavar="SHARE",
        help="of one model's flips over seeds, for a study of one seed",
    )
    after.add_argument(
        "--out",
        type=a_path,
        default=Path("runs/confirmation"),
        metavar="DIR",
        help="(default: runs/confirmation)",
    )
    after.set_defaults(command=confirm)
    held = commands.add_parser(
        "calibrate",
        parents=[measuring_options()],
        help="predicted against measured growth through the steps of a fine-tuned model",
    )
    held.add_argument(
        "checkpoint", type=a_text, metavar="CHECKPOINT", help="fine-tuned, plain or IM-BERT"
    )
    held.add_argument(
        "--pretrained",
        type=a_text,
        metavar="MODEL",
        help=f"that it came from (default: the embedded {DEFAULT_MODEL})",
    )
    folder_options(held, "runs/calibration")
    held.add_argument(
        "--directions",
        type=a_text,
        metavar="FILE",
        help="perturbations of texts, as `imbert perturbations` writes them",
    )
    held.add_argument(
        "--margins",
        type=a_path,
        metavar="FILE",
        help="of the originals of pairs, as `imbert perturbations` writes them",
    )
    held.set_defaults(command=calibrate)
    reread = commands.add_parser(
        "recalibrate", help="fits, tests and figure again from the record of a calibration"
    )
    reread.add_argument("record", type=a_path, metavar="CALIBRATION.json")
    reread.add_argument(
        "--seed", type=int, default=0, help="of resamples and permutations (default: 0)"
    )
    reread.add_argument("--out", type=a_path, required=True, metavar="DIR")
    reread.set_defaults(command=recalibrate)
    for name, command, text in (
        ("propagate", propagate, "growth of a perturbation through depth: one figure"),
        ("regions", regions, "each layer's spectrum over the stability regions: one figure"),
    ):
        single = commands.add_parser(name, parents=[study], help=text)
        single.add_argument(
            "model",
            nargs="?",
            metavar="MODEL",
            help=f"hub id or folder (default: the embedded {DEFAULT_MODEL})",
        )
        single.add_argument("--text", type=a_text, required=True, help="the text")
        if command is propagate:
            single.add_argument(
                "--edited", type=a_text, help="an edit of the text, to follow as well"
            )
        else:
            single.set_defaults(edited=None)
        single.add_argument(
            "--step-size",
            type=a_step_size,
            default=1.0,
            metavar="H",
            help="step size h (default: 1)",
        )
        single.add_argument(
            "--out",
            type=a_path,
            default=Path(f"{name}.svg"),
            metavar="FILE",
            help="a .svg, .pdf or .png file",
        )
        single.set_defaults(command=command, depth="quick")
    again = commands.add_parser("report", help="figures and report again from a run folder")
    again.add_argument("run", type=a_path, metavar="RUN")
    for name in ("prediction", "study", "confirmation", "calibration"):
        again.add_argument(
            f"--{name}", type=a_path, metavar="FILE", help=f"a {name}.json to tell of in the report"
        )
    again.set_defaults(command=report)
    commands.add_parser("info", help="versions, devices, usable kernels").set_defaults(command=info)
    return parser


if __name__ == "__main__":
    sys.exit(main())
