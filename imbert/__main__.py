"""The `imbert` command. Heavy imports stand inside the command bodies."""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.ground.commands import (
    Parser,
    a_number,
    a_path,
    a_seed,
    a_shard,
    column_options,
    positive,
    run_command,
    say,
)
from analysis.ground.schedulers import require_no_shard, scheduled, scheduler_option
from imbert.attacks.choice import AttackChoice
from imbert.attacks.registry import ATTACKS
from imbert.data.tasks import OWN
from imbert.study.plan import STAGES, read_study
from imbert.training.own_data import measured
from imbert.training.run_config import RunConfig, read_run

if TYPE_CHECKING:
    from imbert.attack_records import AttackRecord
    from imbert.records import Evaluation

COLUMNS = ("text_column", "pair_column", "label_column")
# options of an attack that have their own defaults
GIVEN = ("norm", "gradient", "restarts", "synonyms", "antonyms")
# of what training raises: it diverges, memory ends, a package is missing
EXPECTED = (ValueError, ArithmeticError, RuntimeError, OSError, MemoryError, ImportError)
OFFLINE = {"HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1", "TOKENIZERS_PARALLELISM": "false"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; wrong input, or a training that diverges, is one line on stderr and exit
    code 2.
    """
    for name, value in OFFLINE.items():
        os.environ.setdefault(name, value)
    # torch warns of its own modules when transformers imports them
    warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", DeprecationWarning)
    return run_command(_parser, arguments, EXPECTED)


def finetune(options: argparse.Namespace) -> None:
    """Train a run, keep its best checkpoint, evaluate it."""
    run = read_run(options.run)
    from imbert.training import finetune as work

    result = work.finetune(run, options.out, _data(options), say)
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
        options.checkpoint, run, choice, options.data, options.out, say, options.baseline
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
        options.checkpoint, run, choice, options.data, options.out, say
    )
    print(f"texts: {texts}\ndirections: {directions}\nmargins: {texts.parent / MARGINS}")


def study(options: argparse.Namespace) -> None:
    """Train, attack and compare all models of a study."""
    plan = read_study(options.study)
    # before anything is measured: it may be that no picture can be drawn here
    from figures.records import Study, read
    from figures.robustness import draw
    from figures.style import save
    from imbert.study.plan_file import hold_plan
    from imbert.study.run_study import run_study, shard_of_ranks

    ranks = shard_of_ranks()
    shard = options.shard or ranks
    require_no_shard(options.scheduler, shard)
    hold_plan(plan, options.study.read_bytes(), options.out, say, options.plan_changed)
    on_gpu = any(cell.run.train.device == "cuda" for cell in plan.cells())
    device = "cuda" if on_gpu else "cpu"
    with scheduled(options.scheduler, options.workers, device, say) as executor:
        summary = run_study(
            plan,
            options.out,
            _data(options, options.study),
            options.stages or STAGES,
            shard,
            say,
            executor,
        )
    if summary is not None:
        path = options.out / "study.json"
        paths = save(draw(read(path, Study)), options.out, "robustness")
        print((options.out / "table.md").read_text(encoding="utf-8"))
        print(f"record: {path}\nfigure: {paths['svg']}")


def strengths(options: argparse.Namespace) -> None:
    """Choose the strength of each regularizer by held-out rows alone."""
    from imbert.study.strengths import write_strengths

    print("\n".join(write_strengths(read_study(options.study), options.out)))


def _run_of(options: argparse.Namespace) -> RunConfig:
    """What a checkpoint is measured on: the choices of its run, if it lies in a run folder, and the
    options given.
    """
    from msgspec import UNSET, structs

    from imbert.records import read

    beside = options.checkpoint.parent / "run.json"
    run = read(beside, RunConfig) if beside.is_file() else RunConfig()
    given = {name: value for name, value in vars(options).items() if value is not None}
    columns = {name: given[name] for name in COLUMNS if name in given}
    data: dict[str, Any] = {
        name: given[name] for name in ("task", "source", "max_length") if name in given
    }
    # another column of first texts has no second ones, unless they are named beside it
    if "text_column" in columns:
        data["pair_column"] = UNSET
    data |= columns
    # what is said of the run's own files means nothing for others
    if "source" in data:
        data |= dict.fromkeys(("dev_rows", "splits", "hub_config"), UNSET)
    if columns and not beside.is_file():
        data.setdefault("task", OWN)
    evaluated = {name: given[name] for name in ("advglue", "limit") if name in given}
    chosen = structs.replace(
        run,
        data=structs.replace(run.data, **data),
        evaluate=structs.replace(run.evaluate, **evaluated),
    )
    return measured(chosen, options.data, options.checkpoint)


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


def _warn(line: str) -> None:
    say(f"imbert: warning: {line}")


def _parser() -> Parser:
    parser = Parser(
        prog="imbert",
        description="Fine-tune BERT with implicit layers, attack it, and compare it with BERT.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    measured = _measured_options()
    for command, add_options, takes_checkpoint, text in (
        (finetune, _finetune_options, False, "train a run, keep its best checkpoint, evaluate it"),
        (evaluate, _evaluate_options, True, "measure a checkpoint on dev and AdvGLUE"),
        (attack, _attack_options, True, "attack a checkpoint, with the masking checks"),
        (perturbations, _perturbations_options, True, "what perturbs one, for odestab calibrate"),
        (study, _study_options, False, "models × tasks × sizes × seeds; again continues it"),
        (strengths, _strengths_options, False, "the strength of each regularizer of a study"),
    ):
        parents = [measured] if takes_checkpoint else []
        below = commands.add_parser(command.__name__, parents=parents, help=text)
        add_options(below)
        below.set_defaults(command=command)
    return parser


def _finetune_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=a_path, metavar="RUN.toml")
    _data_option(parser, "the folder of RUN.toml")
    _out_option(parser, "run folder")


def _evaluate_options(parser: argparse.ArgumentParser) -> None:
    _advglue_option(parser)
    parser.add_argument("--limit", type=positive, metavar="N", help="the first N dev examples")
    parser.add_argument("--out", type=a_path, metavar="FILE", help="write the record here")


def _attack_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--kind",
        choices=ATTACKS,
        action="append",
        help="which attack; may be repeated (default: all)",
    )
    _examples_option(parser, 100)
    parser.add_argument(
        "--norm", choices=("l2", "linf"), help="of the ball about the word embeddings (default: l2)"
    )
    parser.add_argument(
        "--radius",
        type=a_number,
        nargs="+",
        metavar="R",
        help="of it, in mean norms of word embeddings; several are a ladder (default: 0.1 0.3 1)",
    )
    parser.add_argument(
        "--baseline",
        type=a_path,
        metavar="CHECKPOINT",
        help="an explicit model, whose perturbations are put to this one",
    )
    parser.add_argument(
        "--gradient",
        choices=("implicit", "unrolled"),
        help="to climb (default: the one that suits the solver)",
    )
    parser.add_argument("--restarts", type=positive, metavar="N", help="of the white-box attacks")
    parser.add_argument("--synonyms", metavar="FILE", help="table of word substitutions")
    parser.add_argument("--antonyms", metavar="FILE", help="pairs that are never substituted")
    parser.add_argument("--no-masking", action="store_true", help="leave out the masking checks")
    _out_option(parser, "one JSON file per attack")


def _perturbations_options(parser: argparse.ArgumentParser) -> None:
    _advglue_option(parser)
    _examples_option(parser, 32)
    _out_option(parser, "folder of the two files")


def _study_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", type=a_path, metavar="STUDY.toml")
    _data_option(parser, "the folder of STUDY.toml")
    _out_option(parser, "the study's folder")
    parser.add_argument("--stages", nargs="+", choices=STAGES, help="which stages (default: all)")
    parser.add_argument(
        "--shard",
        type=a_shard,
        metavar="R/W",
        help="this rank's share of the runs (default: torchrun's)",
    )
    scheduler_option(parser, "runs")
    parser.add_argument(
        "--plan-changed",
        action="store_true",
        help="take another plan for this folder, and record both digests in plan.json",
    )
    parser.add_argument(
        "--workers",
        type=positive,
        default=1,
        metavar="N",
        help="processes of --scheduler local (default: 1)",
    )


def _strengths_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", type=a_path, metavar="STUDY.toml")
    _out_option(parser, "the study's folder")


def _measured_options() -> Parser:
    """Options of the commands that measure a checkpoint; what is not given comes from the run
    folder it lies in.
    """
    options = Parser(add_help=False)
    options.add_argument(
        "checkpoint", type=a_path, metavar="CHECKPOINT", help="a folder with safetensors weights"
    )
    options.add_argument(
        "--task",
        help="GLUE task, or own (default: that of its run, else own where columns are named, "
        "else sst2)",
    )
    options.add_argument(
        "--source",
        metavar="PATH",
        help="folder or file of the task's data, or hub:owner/name (default: as its run)",
    )
    column_options(options, " or as its run")
    options.add_argument(
        "--max-length", type=positive, metavar="N", help="tokens after which texts are cut"
    )
    _data_option(options, "here", Path())
    return options


def _data_option(parser: argparse.ArgumentParser, words: str, default: Path | None = None) -> None:
    parser.add_argument(
        "--data",
        type=a_path,
        default=default,
        metavar="DIR",
        help=f"where relative paths start (default: {words})",
    )


def _out_option(parser: argparse.ArgumentParser, words: str) -> None:
    parser.add_argument("--out", type=a_path, required=True, metavar="DIR", help=words)


def _advglue_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--advglue", metavar="FILE", help="the AdvGLUE file")


def _examples_option(parser: argparse.ArgumentParser, default: int) -> None:
    parser.add_argument(
        "--examples",
        type=positive,
        default=default,
        metavar="N",
        help=f"attack the first N dev examples (default: {default})",
    )
    parser.add_argument("--seed", type=a_seed, default=0)


if __name__ == "__main__":
    sys.exit(main())
