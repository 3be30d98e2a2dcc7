"""The `imbert` command. Heavy imports stand inside the command bodies."""

import argparse
import io
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from analysis.ground.plain_numbers import decimal_number, whole_number
from imbert.attacks.choice import AttackChoice
from imbert.attacks.registry import ATTACKS
from imbert.study.plan import STAGES, read_study
from imbert.training.run_config import RunConfig, read_run

if TYPE_CHECKING:
    from imbert.attack_records import AttackRecord
    from imbert.records import Evaluation

# options of an attack that have their own defaults
GIVEN = ("norm", "gradient", "restarts", "synonyms", "antonyms")
OFFLINE = {"HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1", "TOKENIZERS_PARALLELISM": "false"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; wrong input, or a training that diverges, is one line on stderr and exit
    code 2.
    """
    for name, value in OFFLINE.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", DeprecationWarning)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            errors="backslashreplace"
        )  # a name that the terminal cannot print is no error
    try:
        options = _parser().parse_args(arguments)
        options.command(options)
    except (ValueError, ArithmeticError, RuntimeError, OSError, MemoryError, ImportError) as error:
        _say(f"imbert: error: {_one_line(error)}")
        return 2
    except KeyboardInterrupt:
        _say("imbert: interrupted; the same command continues where it stopped")
        return 130
    return 0


def finetune(options: argparse.Namespace) -> None:
    """Train a run, keep its best checkpoint, evaluate it."""
    run = read_run(options.run)
    from imbert.training import finetune as work

    result = work.finetune(run, options.out, _data(options), _progress)
    if result is not None:
        _show_evaluation(result.evaluation)
        for line in result.warnings:
            _warn(line)
        print(f"result: {options.out / work.RESULT}\ncheckpoint: {options.out / work.CHECKPOINT}")


def evaluate(options: argparse.Namespace) -> None:
    """Measure a checkpoint on a task's dev split and on AdvGLUE."""
    run = _run_of(options)
    from imbert.records import Measured, MeasuredMeta, plain
    from imbert.result import SCHEMA, git_commit, versions, write_record
    from imbert.training import evaluate as work
    from imbert.training.inputs import files_of, model_of

    evaluation = work.evaluate(options.checkpoint, run, options.data)
    _show_evaluation(evaluation)
    if options.out is not None:
        model = model_of(options.checkpoint)
        files = files_of(run, options.data)
        meta = MeasuredMeta(
            schema=SCHEMA,
            checkpoint=model.weights,
            model=model,
            commit=git_commit(),
            versions=versions(),
            files={name: digest for name, digest in files.items() if not name.startswith("train")},
        )
        write_record(options.out, plain(Measured(run, evaluation, meta)))
        print(f"result: {options.out}")


def attack(options: argparse.Namespace) -> None:
    """Attack a checkpoint, with the masking checks."""
    given = {name: getattr(options, name) for name in GIVEN if getattr(options, name) is not None}
    if options.radius is not None:
        given["radius"] = tuple(options.radius)
    choice = AttackChoice(
        kinds=tuple(options.kind or ATTACKS),
        examples=options.examples,
        seed=options.seed,
        masking=not options.no_masking,
        **given,
    )
    run = _run_of(options)
    from imbert.study.attack_runs import attack_checkpoint

    records = attack_checkpoint(
        options.checkpoint, run, choice, options.data, options.out, _progress, options.baseline
    )
    for name, record in records.items():
        _show_attack(name, record)
    print(f"results: {options.out}")


def perturbations(options: argparse.Namespace) -> None:
    """Write what really perturbs a checkpoint, for `odestab calibrate`."""
    choice = AttackChoice(
        kinds=("pgd",), examples=options.examples, seed=options.seed, masking=False
    )
    run = _run_of(options)
    from imbert.study.perturbations import MARGINS, write_perturbations

    texts, directions = write_perturbations(
        options.checkpoint, run, choice, options.data, options.out, _progress
    )
    print(f"texts: {texts}\ndirections: {directions}\nmargins: {texts.parent / MARGINS}")


def study(options: argparse.Namespace) -> None:
    """Train, attack and compare all models of a study."""
    plan = read_study(options.study)
    # before anything is measured: it may be that no picture can be drawn here
    from figures.records import Study, read
    from figures.robustness import draw
    from figures.style import save
    from imbert.study.run_study import run_study, shard_of_ranks

    ranks = shard_of_ranks()
    summary = run_study(
        plan,
        options.out,
        _data(options, options.study),
        options.stages or STAGES,
        options.shard or ranks,
        _progress,
    )
    if summary is not None:
        path = options.out / "study.json"
        paths = save(draw(read(path, Study)), options.out, "robustness")
        print((options.out / "table.md").read_text(encoding="utf-8"))
        print(f"record: {path}\nfigure: {paths['svg']}")


def _run_of(options: argparse.Namespace) -> RunConfig:
    """What a checkpoint is measured on: the choices of its run, if it lies in a run folder, and the
    options given.
    """
    from msgspec import structs

    from imbert.records import read

    beside = options.checkpoint.parent / "run.json"
    run = read(beside, RunConfig) if beside.is_file() else RunConfig()
    given = {name: value for name, value in vars(options).items() if value is not None}
    data = {name: given[name] for name in ("task", "source", "max_length") if name in given}
    measured = {name: given[name] for name in ("advglue", "limit") if name in given}
    return structs.replace(
        run,
        data=structs.replace(run.data, **data),
        evaluate=structs.replace(run.evaluate, **measured),
    )


def _data(options: argparse.Namespace, file: Path | None = None) -> Path:
    """The folder at which relative paths start: the one given, else that of the TOML file."""
    return options.data if options.data is not None else (file or options.run).parent


def _show_evaluation(evaluation: "Evaluation") -> None:
    """Print what a model gets right."""
    dev = evaluation.dev
    if dev is not None:
        known = {name: value for name, value in dev.metrics.items() if value is not None}
        metrics = ", ".join(f"{name} {value:.4f}" for name, value in known.items())
        print(f"dev ({dev.count} examples): {metrics}")
    for name, scores in (evaluation.advglue or {}).items():
        rates = {
            "original": scores.original_accuracy,
            "adversarial": scores.adversarial_accuracy,
            "conditional": scores.conditional_accuracy,
        }
        shown = ", ".join(f"{key} {rate:.4f}" for key, rate in rates.items() if rate is not None)
        print(f"AdvGLUE {name} ({scores.count} pairs): {shown}")


def _show_attack(name: str, record: "AttackRecord") -> None:
    """Print the accuracies of an attack; warnings go to stderr."""
    from imbert.attack_records import Attack

    if isinstance(record, Attack):
        print(f"{name}: clean {record.clean_accuracy:.4f}, robust {record.robust_accuracy:.4f}")
    for line in record.warnings:
        _warn(f"{name}: {line}")


def _one_line(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    return " ".join(text.split())


def _warn(line: str) -> None:
    _say(f"imbert: warning: {line}")


def _progress(line: str) -> None:
    _say(line)


def _say(line: str) -> None:
    """A line on stderr; none where there is no stderr, as under a service: print would take
    stdout.
    """
    if sys.stderr is not None:
        print(line, file=sys.stderr, flush=True)


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected a path, got {text!r}")
    return Path(text)


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or whole_number(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number >= 1, got {text!r}")
    return whole_number(text)


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(
            f"invalid int value: {text!r}, expected a whole number >= 0"
        )
    return whole_number(text)


def _radius(text: str) -> float:
    try:
        return decimal_number(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _shard(text: str) -> tuple[int, int]:
    rank, _, ranks = text.partition("/")
    if not (
        text.isascii()
        and rank.isdecimal()
        and ranks.isdecimal()
        and whole_number(rank) < whole_number(ranks)
    ):
        raise argparse.ArgumentTypeError(f"expected rank/ranks like 0/2, got {text!r}")
    return whole_number(rank), whole_number(ranks)


class _Parser(argparse.ArgumentParser):
    """Wrong usage is a ValueError, one line like any other wrong input; options are not
    abbreviated.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see {self.prog} --help)")


def _parser() -> _Parser:
    parser = _Parser(
        prog="imbert",
        description="Fine-tune BERT with implicit layers, attack it, and compare it with BERT.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    train = commands.add_parser(
        "finetune", help="train a run, keep its best checkpoint, evaluate it; again continues it"
    )
    train.add_argument("run", type=_path, metavar="RUN.toml")
    train.add_argument(
        "--data",
        type=_path,
        metavar="DIR",
        help="where relative paths start (default: the folder of RUN.toml)",
    )
    train.add_argument("--out", type=_path, required=True, metavar="DIR", help="run folder")
    train.set_defaults(command=finetune)
    measured = _measured_options()
    measure = commands.add_parser(
        "evaluate", parents=[measured], help="measure a checkpoint on dev and AdvGLUE"
    )
    measure.add_argument("--advglue", metavar="FILE", help="the AdvGLUE file")
    measure.add_argument("--limit", type=_positive, metavar="N", help="the first N dev examples")
    measure.add_argument("--out", type=_path, metavar="FILE", help="write the record here")
    measure.set_defaults(command=evaluate)
    broken = commands.add_parser(
        "attack", parents=[measured], help="attack a checkpoint, with the masking checks"
    )
    broken.add_argument(
        "--kind",
        choices=ATTACKS,
        action="append",
        help="which attack; may be repeated (default: all)",
    )
    broken.add_argument(
        "--examples",
        type=_positive,
        default=100,
        metavar="N",
        help="the first N dev examples (default: 100)",
    )
    broken.add_argument("--seed", type=_seed, default=0)
    broken.add_argument(
        "--norm", choices=("l2", "linf"), help="of the ball about the word embeddings (default: l2)"
    )
    broken.add_argument(
        "--radius",
        type=_radius,
        nargs="+",
        metavar="R",
        help="of it, in mean norms of word embeddings; several are a ladder (default: 0.1 0.3 1)",
    )
    broken.add_argument(
        "--baseline",
        type=_path,
        metavar="CHECKPOINT",
        help="an explicit model, whose perturbations are put to this one",
    )
    broken.add_argument(
        "--gradient",
        choices=("implicit", "unrolled"),
        help="to climb (default: the one that suits the solver)",
    )
    broken.add_argument("--restarts", type=_positive, metavar="N", help="of the white-box attacks")
    broken.add_argument("--synonyms", metavar="FILE", help="table of word substitutions")
    broken.add_argument("--antonyms", metavar="FILE", help="pairs that are never substituted")
    broken.add_argument("--no-masking", action="store_true", help="leave out the masking checks")
    broken.add_argument(
        "--out", type=_path, required=True, metavar="DIR", help="one JSON file per attack"
    )
    broken.set_defaults(command=attack)
    moved = commands.add_parser(
        "perturbations",
        parents=[measured],
        help="write what perturbs a checkpoint, for odestab calibrate",
    )
    moved.add_argument("--advglue", metavar="FILE", help="the AdvGLUE file")
    moved.add_argument(
        "--examples",
        type=_positive,
        default=32,
        metavar="N",
        help="attack the first N dev examples (default: 32)",
    )
    moved.add_argument("--seed", type=_seed, default=0)
    moved.add_argument(
        "--out", type=_path, required=True, metavar="DIR", help="folder of the two files"
    )
    moved.set_defaults(command=perturbations)
    whole = commands.add_parser(
        "study", help="models × tasks × sizes × seeds: table, CSV and figure; again continues it"
    )
    whole.add_argument("study", type=_path, metavar="STUDY.toml")
    whole.add_argument(
        "--data",
        type=_path,
        metavar="DIR",
        help="where relative paths start (default: the folder of STUDY.toml)",
    )
    whole.add_argument("--out", type=_path, required=True, metavar="DIR", help="the study's folder")
    whole.add_argument("--stages", nargs="+", choices=STAGES, help="which stages (default: all)")
    whole.add_argument(
        "--shard",
        type=_shard,
        metavar="R/W",
        help="this rank's share of the runs (default: torchrun's)",
    )
    whole.set_defaults(command=study)
    return parser


def _measured_options() -> _Parser:
    """Options of the commands that measure a checkpoint; what is not given comes from the run
    folder it lies in.
    """
    options = _Parser(add_help=False)
    options.add_argument(
        "checkpoint", type=_path, metavar="CHECKPOINT", help="a folder with safetensors weights"
    )
    options.add_argument("--task", help="GLUE task (default: that of its run, else sst2)")
    options.add_argument(
        "--source", metavar="PATH", help="folder or file of the task's data (default: as its run)"
    )
    options.add_argument(
        "--max-length", type=_positive, metavar="N", help="tokens after which texts are cut"
    )
    options.add_argument(
        "--data",
        type=_path,
        default=Path(),
        metavar="DIR",
        help="where relative paths start (default: here)",
    )
    return options


if __name__ == "__main__":
    sys.exit(main())
