"""The command: measure on a bare machine, pack what it lacks, merge what it measured.

python -m benchmarks.gpu --out DIR [--rehearse] [--minutes 8] [--only PART …]
python -m benchmarks.gpu parcel [--data FOLDER] [--model FOLDER]
python -m benchmarks.gpu receive PIECE INTO
python -m benchmarks.gpu merge DIR
"""

import argparse
import datetime
import hashlib
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from analysis.ground.commands import WRONG_INPUT, Parser, one_line
from analysis.ground.terminal import say
from benchmarks.gpu import parcel, tables
from benchmarks.gpu.runner import PARTS, RESULT, run_parts
from imbert.result import write_json

ROOT = Path(__file__).parents[2]
PARCEL = ROOT / ".gpu"
PLAN = ROOT / "docs/studies/placement-seeds/study.toml"
PICTURE = "gpu"
REHEARSAL = "a rehearsal on a processor: its numbers show nothing"
OLDEST_DRIVER = 580  # that of CUDA 13


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; wrong use, or a machine that cannot do it, is one line on stderr and exit
    code 2.
    """
    try:
        options = parser().parse_args(arguments)
        return int(options.command(options) or 0)
    except (ValueError, OSError) as error:
        say(f"benchmarks.gpu: error: {one_line(error)}")
        return WRONG_INPUT


def measure(options: argparse.Namespace) -> int:
    """Run the parts; 1 where one did not finish."""
    names = [part.name for part in PARTS]
    if unknown := sorted(set(options.only or ()) - set(names)):
        raise ValueError(
            f"--only: expected parts out of {', '.join(names)}, got {', '.join(unknown)}"
        )
    if not options.minutes > 0:
        raise ValueError(f"--minutes must be > 0, got {options.minutes}")
    device = "cpu" if options.rehearse else usable_gpu()
    # A part runs with a folder of its own choice: the paths that it is given must not depend on
    # that.
    out = options.out.resolve()
    work = options.work.resolve() if options.work else out / "work"
    environment = {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
        "MPLBACKEND": "Agg",
    }
    arguments = ["--device", device, "--plan", str(options.plan.resolve())]
    if options.rehearse:
        environment["OMP_NUM_THREADS"] = "1"
        arguments.append("--rehearse")
    elif options.parcel.is_dir():
        found = parcel.opened(
            options.parcel.resolve(), work / "parcel", parcel.project_version(ROOT)
        )
        environment["PYTHONPATH"] = os.pathsep.join([str(found["site"]), environment["PYTHONPATH"]])
        options.data = options.data or found.get("data")
    if options.data is not None:
        arguments += ["--data", str(options.data.resolve())]
    chosen = [part for part in PARTS if not options.only or part.name in options.only]
    record = run_parts(chosen, out, work, options.minutes, arguments, about(device), environment)
    save_picture(record, out)
    for what, measured, target, met in () if options.rehearse else tables.verdicts(record):
        print(f"{what}: {measured} (target {target}) {met}".rstrip())
    print(f"record: {options.out / RESULT}")
    return int(any(record["parts"][part.name]["status"] != "finished" for part in chosen))


def usable_gpu() -> str:
    """The device, or one line that says what is missing.

    Raises:
        ValueError: if there is no GPU that torch can use.
    """
    import torch

    if torch.version.cuda is None:
        raise ValueError(
            f"expected a GPU, got torch {torch.__version__}, which is "
            "built without CUDA; --rehearse runs on a processor"
        )
    if not torch.cuda.is_available():
        driver = driver_version()
        reason = (
            f"driver {driver}, and CUDA {torch.version.cuda} wants {OLDEST_DRIVER} or newer"
            if driver
            else "none that answers"
        )
        raise ValueError(f"expected a GPU, got {reason}; --rehearse runs on a processor")
    if importlib.util.find_spec("triton") is None:
        print(
            "there is no Triton: the solver's stages are the "
            "plain ones, and are measured as they are"
        )
    return "cuda"


def driver_version() -> str | None:
    """As nvidia-smi tells it; None without one."""
    try:
        asked = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
        )
    except OSError:
        return None
    return asked.stdout.strip().split("\n")[0] or None


def about(device: str) -> dict[str, Any]:
    """The machine, versions, and a digest of the code that runs: records of other code are not gone
    on with.
    """
    import torch

    found: dict[str, Any] = {
        "gpu": torch.cuda.get_device_name() if device == "cuda" else REHEARSAL,
        "memory GiB": round(torch.cuda.get_device_properties(0).total_memory / 2**30, 1)
        if device == "cuda"
        else None,
        "driver": driver_version() if device == "cuda" else None,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
        "odestab": parcel.project_version(ROOT),
        "code": code_digest(),
    }
    for name in ("torch", "triton", "transformers", "numpy", "scipy", "torchdeq"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def code_digest() -> str:
    """Sha256 of every module of the packages that are measured."""
    digest = hashlib.sha256()
    for folder in ("odestab", "imbert", "benchmarks/gpu"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(
                path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0"
            )
    return digest.hexdigest()[:16]


def save_picture(
    record: dict[str, Any], out: Path, name: str = PICTURE, suffixes: Sequence[str] = ("png", "svg")
) -> None:
    """Draw the record beside it; a picture that fails loses no number."""
    try:
        from benchmarks.gpu.picture import draw
        from figures.style import write

        figure = draw(record)
        for suffix in suffixes:
            write(figure, out / f"{name}.{suffix}")
    except Exception as error:
        print(f"the picture could not be drawn: {error!r}")


def make_parcel(options: argparse.Namespace) -> None:
    """Pack, and print the calls to make."""
    from imbert.model.choice import EMBEDDED, checkpoint_folder

    model = options.model or Path(checkpoint_folder(EMBEDDED))
    pieces = parcel.pack(PARCEL, model, options.data, parcel.project_version(ROOT))
    for piece in pieces:
        size = sum(path.stat().st_size for path in piece.iterdir())
        print(f"{piece.relative_to(ROOT)}: {size / parcel.MEBIBYTE:.1f} MiB")
    print(
        "Calls to make on the other machine, in the folder of "
        "this project, each with its piece beside it:"
    )
    call = 'python3 -m benchmarks.gpu --out "$OUT" --work /tmp/odestab-gpu --minutes 8'
    if len(pieces) == 1:
        print(f"  {call}    # with {pieces[0].relative_to(ROOT)}")
        return
    for piece in pieces:
        name = piece.relative_to(ROOT)
        print(f"  python3 -m benchmarks.gpu receive {name} /tmp/odestab-parcel    # with {name}")
    print(f"  {call} --parcel /tmp/odestab-parcel")


def receive(options: argparse.Namespace) -> None:
    """Put one piece of a parcel where the others are."""
    parcel.receive(options.piece, options.into)


def merge(options: argparse.Namespace) -> None:
    """Put a record among the results, its picture among those of the docs, and write the tables
    anew.
    """
    path = options.folder / RESULT
    if not path.is_file():
        raise ValueError(f"{options.folder}: expected a folder with {RESULT}, got none")
    record = json.loads(path.read_text(encoding="utf-8"))
    if record["machine"]["gpu"] == REHEARSAL and not options.rehearsal:
        raise ValueError(f"{path}: expected what a GPU measured, got {REHEARSAL}")
    name = tables.slug(record["machine"]["gpu"])
    results = options.root / tables.RESULTS
    results.mkdir(parents=True, exist_ok=True)
    kept = results / f"{name}.json"
    if kept.is_file():  # parts that this run did not measure stay as they were
        older = json.loads(kept.read_text(encoding="utf-8"))["parts"]
        record["parts"] = {part: older[part] for part in older} | {
            part: one for part, one in record["parts"].items() if one.get("numbers")
        }
    write_json(kept, record)
    save_picture(record, results, name, ("png",))
    for page in tables.write_pages(options.root):
        print(f"written: {page}")
    archive = options.folder / "study.tar.gz"
    if archive.is_file():
        into = options.root / "runs" / f"study-{name}"
        with tarfile.open(archive) as file:
            file.extractall(into, filter="data")
        print(f"records of the study: {into}")


def parser() -> Parser:
    """The options of the commands; without a command it measures."""
    made = Parser(prog="python -m benchmarks.gpu", description=__doc__.split("\n")[0])
    _measuring_options(made)
    made.set_defaults(command=measure)
    commands = made.add_subparsers(metavar="COMMAND")
    _parcel_options(commands.add_parser("parcel", help="pack what a bare machine lacks into .gpu/"))
    receiving = commands.add_parser("receive", help="put a piece of a parcel where the others are")
    receiving.add_argument("piece", type=Path)
    receiving.add_argument("into", type=Path)
    receiving.set_defaults(command=receive)
    merging = commands.add_parser(
        "merge", help="put what was measured into the results and the tables"
    )
    merging.add_argument("folder", type=Path)
    merging.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    merging.add_argument("--rehearsal", action="store_true", help=argparse.SUPPRESS)
    merging.set_defaults(command=merge)
    return made


def _measuring_options(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--out",
        type=Path,
        default=Path("runs/gpu"),
        metavar="DIR",
        help="folder of the record (default: runs/gpu)",
    )
    made.add_argument(
        "--work",
        type=Path,
        metavar="DIR",
        help="folder for what nobody keeps (default: work/ in it)",
    )
    made.add_argument(
        "--rehearse", action="store_true", help="every part at toy size on a processor"
    )
    made.add_argument(
        "--minutes", type=float, default=8.0, help="of all parts together (default: 8)"
    )
    made.add_argument(
        "--only", nargs="+", metavar="PART", help=f"out of {', '.join(part.name for part in PARTS)}"
    )
    made.add_argument(
        "--parcel",
        type=Path,
        default=PARCEL,
        metavar="DIR",
        help="what the machine lacks (default: .gpu)",
    )
    made.add_argument(
        "--data", type=Path, metavar="DIR", help="training files (default: the parcel's)"
    )
    made.add_argument(
        "--plan", type=Path, default=PLAN, metavar="STUDY.toml", help="the study that is carried on"
    )


def _parcel_options(packing: argparse.ArgumentParser) -> None:
    packing.add_argument(
        "--data", type=Path, metavar="DIR", help="folder with glue/, advglue_dev.json and attack/"
    )
    packing.add_argument(
        "--model", type=Path, metavar="DIR", help="checkpoint (default: the embedded model)"
    )
    packing.set_defaults(command=make_parcel)


if __name__ == "__main__":
    sys.exit(main())
