"""Options of the `imbert` command, and what `--help` says of each of its commands."""

from pathlib import Path
from types import MappingProxyType

from analysis.ground.commands import (
    Options,
    Parser,
    Words,
    a_number,
    a_path,
    a_seed,
    a_shard,
    column_options,
    positive,
)
from analysis.ground.schedulers import scheduler_option
from imbert.attacks.choice import AttackChoice
from imbert.attacks.registry import ATTACKS
from imbert.study.plan import STAGES

DESCRIPTION = "Fine-tune BERT with implicit layers, attack it, and compare it with BERT."
EPILOG = """\
examples:
  imbert finetune examples/finetune/run.toml --out runs/im-bert
  imbert COMMAND --help"""
WORDS = MappingProxyType(
    {
        "finetune": Words(
            "train a run, keep its best checkpoint, evaluate it",
            "Trains the run that a TOML file describes, keeps its best checkpoint and evaluates "
            "it. A run that was stopped continues.",
            ("imbert finetune examples/finetune/run.toml --out runs/im-bert",),
        ),
        "evaluate": Words(
            "measure a checkpoint on dev and AdvGLUE",
            "Measures what a checkpoint gets right on the dev split of a task, and on AdvGLUE if "
            "its file is given.",
            ("imbert evaluate runs/im-bert/checkpoint --data examples/finetune",),
        ),
        "attack": Words(
            "attack a checkpoint, with the masking checks",
            "Attacks a checkpoint on the first examples of the dev split, and checks whether the "
            "attacks themselves were weak.",
            (
                "imbert attack CHECKPOINT --data examples/finetune --kind pgd --out DIR",
                "imbert attack CHECKPOINT --kind characters --no-masking --out DIR",
            ),
        ),
        "perturbations": Words(
            "what perturbs a checkpoint, for odestab calibrate",
            "Writes what really perturbs a checkpoint, edits and attacks, as files for "
            "odestab calibrate.",
            ("imbert perturbations runs/im-bert/checkpoint --out runs/perturbations",),
        ),
        "study": Words(
            "models × tasks × sizes × seeds; again continues it",
            "Trains, attacks and compares all models of a study, as a TOML file describes them. "
            "The same command continues a study that was stopped.",
            ("imbert study examples/finetune/study.toml --out runs/study",),
        ),
        "strengths": Words(
            "the strength of each regularizer of a study",
            "Chooses the strength of each regularizer of a study by its held-out rows alone, from "
            "runs that were trained before.",
            ("imbert strengths STUDY.toml --out runs/study",),
        ),
    }
)


def finetune_options(parser: Parser) -> None:
    """Options of `imbert finetune`."""
    parser.add_argument(
        "run", type=a_path, metavar="RUN.toml", help="the file that describes the run"
    )
    _data_option(parser, "the folder of RUN.toml")
    _out_option(parser, "folder of the run")


def evaluate_options(parser: Parser) -> None:
    """Options of `imbert evaluate`."""
    inputs = _checkpoint_options(parser)
    _advglue_option(inputs)
    inputs.add_argument(
        "--limit", type=positive, metavar="N", help="use the first N dev examples (default: all)"
    )
    parser.group("output").add_argument(
        "--out", type=a_path, metavar="FILE", help="write the record into this file"
    )


def attack_options(parser: Parser) -> None:
    """Options of `imbert attack`."""
    _examples_options(_checkpoint_options(parser), 100)
    attacks = parser.group("attacks")
    attacks.add_argument(
        "--kind",
        choices=ATTACKS,
        action="append",
        help="attack by this; may be repeated (default: all)",
    )
    attacks.add_argument(
        "--norm",
        choices=("l2", "linf"),
        help="norm of the ball about the word embeddings (default: l2)",
    )
    attacks.add_argument(
        "--radius",
        type=a_number,
        nargs="+",
        metavar="R",
        help="radius of the ball, in mean norms of word embeddings; several are a ladder "
        "(default: 0.1 0.3 1)",
    )
    attacks.add_argument(
        "--gradient",
        choices=("implicit", "unrolled"),
        help="gradient that is climbed (default: the one that suits the solver)",
    )
    attacks.add_argument(
        "--restarts",
        type=positive,
        metavar="N",
        help="restarts of the attacks that climb gradients (default: each attack's own)",
    )
    attacks.add_argument(
        "--synonyms",
        metavar="FILE",
        help='table of the attack words, a JSON object {"word": ["substitute", ...]}, also .gz '
        f"(default: {AttackChoice().synonyms})",
    )
    attacks.add_argument(
        "--antonyms",
        metavar="FILE",
        help="pairs of words that never stand for each other, two words a line, also .gz "
        "(default: none)",
    )
    checks = parser.group("masking checks")
    checks.add_argument(
        "--baseline",
        type=a_path,
        metavar="CHECKPOINT",
        help="put the perturbations of this explicit model to the attacked one",
    )
    checks.add_argument("--no-masking", action="store_true", help="leave out the masking checks")
    _out_option(parser.group("output"), "folder of the records, one JSON file for each attack")


def perturbations_options(parser: Parser) -> None:
    """Options of `imbert perturbations`."""
    inputs = _checkpoint_options(parser)
    _advglue_option(inputs)
    _examples_options(inputs, 32)
    _out_option(parser.group("output"), "folder of the files that are written")


def study_options(parser: Parser) -> None:
    """Options of `imbert study`."""
    _study_option(parser)
    _data_option(parser, "the folder of STUDY.toml")
    _out_option(parser, "folder of the study")
    parser.add_argument(
        "--stages",
        nargs="+",
        choices=STAGES,
        metavar="STAGE",
        help=f"do these stages alone: {', '.join(STAGES)} (default: all)",
    )
    parser.add_argument(
        "--plan-changed",
        action="store_true",
        help="take another plan for this folder, and record both digests in plan.json",
    )
    processes = parser.group("processes")
    processes.add_argument(
        "--shard",
        type=a_shard,
        metavar="R/W",
        help="do the share of rank R of W ranks (default: torchrun's)",
    )
    scheduler_option(processes, "runs")
    processes.add_argument(
        "--workers",
        type=positive,
        default=1,
        metavar="N",
        help="processes of --scheduler local (default: 1)",
    )


def strengths_options(parser: Parser) -> None:
    """Options of `imbert strengths`."""
    _study_option(parser)
    _out_option(parser, "folder of the study")


def _study_option(parser: Parser) -> None:
    parser.add_argument(
        "study", type=a_path, metavar="STUDY.toml", help="the file that describes the study"
    )


def _checkpoint_options(parser: Parser) -> Options:
    """Options of the commands that measure a checkpoint; what is not given comes from the run
    folder it lies in. Returns the group that says on what it is measured.
    """
    parser.add_argument(
        "checkpoint", type=a_path, metavar="CHECKPOINT", help="a folder with safetensors weights"
    )
    inputs = parser.group("what it is measured on")
    inputs.add_argument(
        "--task",
        help="GLUE task, or own (default: that of its run, else own where columns are named, "
        "else sst2)",
    )
    inputs.add_argument(
        "--source",
        metavar="PATH",
        help="folder or file of the task's data, or hub:owner/name (default: as its run)",
    )
    column_options(inputs, " or as its run")
    inputs.add_argument(
        "--max-length",
        type=positive,
        metavar="N",
        help="cut texts after N tokens (default: as its run)",
    )
    _data_option(inputs, "here", Path())
    return inputs


def _data_option(options: Options, words: str, default: Path | None = None) -> None:
    options.add_argument(
        "--data",
        type=a_path,
        default=default,
        metavar="DIR",
        help=f"folder at which relative paths start (default: {words})",
    )


def _out_option(options: Options, words: str) -> None:
    options.add_argument("--out", type=a_path, required=True, metavar="DIR", help=words)


def _advglue_option(options: Options) -> None:
    options.add_argument("--advglue", metavar="FILE", help="the file of AdvGLUE")


def _examples_options(options: Options, default: int) -> None:
    options.add_argument(
        "--examples",
        type=positive,
        default=default,
        metavar="N",
        help=f"attack the first N dev examples (default: {default})",
    )
    options.add_argument("--seed", type=a_seed, default=0, help="seed of the attacks (default: 0)")
