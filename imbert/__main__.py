"""The `imbert` command. Heavy imports stand inside the command bodies."""

import argparse
import functools
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.ground.commands import FailedWork, Parser, run_command
from analysis.ground.schedulers import require_no_shard, scheduled
from analysis.ground.terminal import is_terminal, progress, say, show, show_next
from imbert.attacks.choice import AttackChoice
from imbert.attacks.registry import ATTACKS
from imbert.data.tasks import OWN
from imbert.next_commands import COLUMNS, attack_command, condition_command
from imbert.options import (
    DESCRIPTION,
    EPILOG,
    WORDS,
    attack_options,
    evaluate_options,
    finetune_options,
    perturbations_options,
    strengths_options,
    study_options,
)
from imbert.study.plan import STAGES, read_study
from imbert.training.own_data import measured
from imbert.training.read_rows import require_dev
from imbert.training.run_config import RunConfig, read_run

if TYPE_CHECKING:
    from imbert.attack_records import AttackRecord
    from imbert.records import Evaluation

# options of an attack that have their own defaults
GIVEN = ("norm", "gradient", "restarts", "synonyms", "antonyms")
OFFLINE = {"HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1", "TOKENIZERS_PARALLELISM": "false"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; wrong input is one line on stderr and exit code 2, failed work such as a
    training that diverges exit code 1.
    """
    for name, value in OFFLINE.items():
        os.environ.setdefault(name, value)
    # torch warns of its own modules when transformers imports them
    warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", DeprecationWarning)
    return run_command(_parser, arguments)


def finetune(options: argparse.Namespace) -> None:
    """Train a run, keep its best checkpoint, evaluate it."""
    run = read_run(options.run)
    from msgspec import structs

    from imbert.training import finetune as work

    # a bar is no choice of the run: no record holds it
    if is_terminal(sys.stderr):
        run = structs.replace(run, train=structs.replace(run.train, progress=True))
    data = _data(options)
    result = work.finetune(run, options.out, data, say)
    if result is None:
        return
    for line in result.warnings:
        _warn(line)
    _show_evaluation(result.evaluation)
    checkpoint = options.out / work.CHECKPOINT
    print(f"result: {options.out / work.RESULT}\ncheckpoint: {checkpoint}")
    show_next("see how it holds under attack:", attack_command(checkpoint, data, options.out))


def evaluate(options: argparse.Namespace) -> None:
    """Measure a checkpoint on a task's dev split and on AdvGLUE."""
    run = _run_of(options)
    # a row that is wrong is said before torch and the model are loaded
    if run.evaluate.dev:
        require_dev(run, options.data)
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
    beside = options.checkpoint.parent
    show_next(
        "see how it holds under attack:",
        attack_command(options.checkpoint, options.data, beside, vars(options)),
    )


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
    choice.require_tables(options.data)
    require_dev(run, options.data)
    from imbert.study.attack_runs import attack_checkpoint

    records = attack_checkpoint(
        options.checkpoint,
        run,
        choice,
        options.data,
        options.out,
        say,
        options.baseline,
        progress=functools.partial(progress, unit="attack", words="attacking"),
        tells_accuracies=False,  # they stand on stdout below
    )
    for name, record in records.items():
        _show_attack(name, record, options.out)
    print(f"results: {options.out}")
    _show_next_of_attack(options, run, records)


def perturbations(options: argparse.Namespace) -> None:
    """Write what really perturbs a checkpoint, for `odestab calibrate`."""
    choice = AttackChoice(
        kinds=("pgd",), examples=options.examples, seed=options.seed, masking=False
    )
    run = _run_of(options)
    require_dev(run, options.data)
    from imbert.study.perturbations import MARGINS, write_perturbations

    texts, directions = write_perturbations(
        options.checkpoint, run, choice, options.data, options.out, say
    )
    margins = texts.parent / MARGINS
    print(f"texts: {texts}\ndirections: {directions}\nmargins: {margins}")
    files = ["--texts", texts, "--directions", directions, "--margins", margins]
    show_next(
        "hold measured growth against the predicted one:",
        ["odestab", "calibrate", options.checkpoint, *files],
    )


def study(options: argparse.Namespace) -> None:
    """Train, attack and compare all models of a study."""
    plan = read_study(options.study)
    # before anything is measured: it may be that no picture can be drawn here
    from figures.records import Study, read
    from figures.robustness import draw
    from figures.style import save
    from imbert.study.missing import failed_runs
    from imbert.study.plan_file import hold_plan
    from imbert.study.printed import told
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
            functools.partial(progress, unit="run", words="studying"),
        )
    if summary is None:
        where = [] if options.data is None else ["--data", options.data]
        again = ["imbert", "study", options.study, *where, "--out", options.out]
        show_next("once all stages are done, compare the models:", [*again, "--stages", STAGES[-1]])
    else:
        path = options.out / "study.json"
        figure = save(draw(read(path, Study)), options.out, "robustness")["svg"]
        print("\n".join(told(summary)))
        print(f"record: {path}\ntable: {options.out / 'table.md'}\nfigure: {figure}")
        show_next("look at the figure; the table holds every comparison")
    # another exit code of one rank would stop the others
    if shard[1] == 1 and (failed := failed_runs(plan, options.out)):
        raise FailedWork(
            f"{len(failed)} failed, see {options.out / failed[0]}; the same command tries again"
        )


def strengths(options: argparse.Namespace) -> None:
    """Choose the strength of each regularizer by held-out rows alone."""
    from imbert.study.strengths import write_strengths

    show(write_strengths(read_study(options.study), options.out))
    show_next("write the chosen strengths into the plan of the study that compares the models")


def _run_of(options: argparse.Namespace) -> RunConfig:
    """What a checkpoint is measured on: the choices of its run, if it lies in a run folder, and the
    options given.
    """
    from msgspec import UNSET, structs

    from imbert.records import read

    if not options.checkpoint.is_dir():
        raise FileNotFoundError(f"expected the folder of a classifier, got {options.checkpoint}")
    if options.data.is_file():
        raise NotADirectoryError(
            "--data must be the folder at which relative paths start, got the file "
            f"{options.data}; --source names a table"
        )
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
        show(f"dev ({dev.count} examples): {dev.in_words}")
    for name, scores in (evaluation.advglue or {}).items():
        rates = {
            "original": scores.original_accuracy,
            "adversarial": scores.adversarial_accuracy,
            "conditional": scores.conditional_accuracy,
        }
        shown = ", ".join(f"{key} {rate:.4f}" for key, rate in rates.items() if rate is not None)
        show(f"AdvGLUE {name} ({scores.count} pairs): {shown}")


def _show_attack(name: str, record: "AttackRecord", out: Path) -> None:
    """Print the accuracies of an attack and where its texts are; warnings go to stderr."""
    from imbert.attack_records import Attack
    from imbert.study.flipped_texts import flipped_table, texts_file

    if isinstance(record, Attack):
        print(f"{name}: clean {record.clean_accuracy:.4f}, robust {record.robust_accuracy:.4f}")
        right = sum(row.right_before for row in record.per_example)
        flipped = len(record.changed)
        print(f"  of {right} right answers {right - flipped} held, {flipped} flipped")
        files = {"flipped texts": flipped_table(out, name), "all texts": texts_file(out, name)}
        for words, file in files.items():
            if file.is_file():
                print(f"  {words}: {file}")
    for line in record.warnings:
        _warn(f"{name}: {line}")


def _show_next_of_attack(
    options: argparse.Namespace, run: RunConfig, records: Mapping[str, "AttackRecord"]
) -> None:
    """Print what to look at after an attack: its checks or the inputs, and what it flipped."""
    from imbert.study.attack_runs import MASKING
    from imbert.study.flipped_texts import flipped_table

    if MASKING in records:
        show_next(f"read what each masking check measured: {options.out / f'{MASKING}.json'}")
    else:
        show_next(
            "rank its inputs by how easily an edit flips them:",
            condition_command(options.checkpoint, run.data, options.data),
        )
    tables = [table for name in records if (table := flipped_table(options.out, name)).is_file()]
    # of a pair of texts `odestab edits` would measure the edited one without the other
    if tables and len(run.data.learnt().keys) == 1:
        show_next(
            "see in which layers the edits that flipped it grow:",
            ["odestab", "edits", options.checkpoint, "--texts", tables[0]],
        )


def _warn(line: str) -> None:
    say(f"imbert: warning: {line}")


def _parser() -> Parser:
    parser = Parser(prog="imbert", description=DESCRIPTION, epilog=EPILOG)
    parser.takes_version()
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for command, add_options in (
        (finetune, finetune_options),
        (evaluate, evaluate_options),
        (attack, attack_options),
        (perturbations, perturbations_options),
        (study, study_options),
        (strengths, strengths_options),
    ):
        below = commands.add_parser(command.__name__, **WORDS[command.__name__].options())
        add_options(below)
        below.set_defaults(command=command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
