"""What a run is made from, by content: the checkpoint it starts at and the files of its data.

A finished run answers for these alone.
"""

import functools
from collections.abc import Mapping
from pathlib import Path

from msgspec import structs

from analysis.ground.identity import file_digest, model_identity
from imbert.data.hub import is_dataset
from imbert.data.split_files import TableFile, locate
from imbert.data.subsets import held_out, low_resource_subset
from imbert.data.tasks import Examples
from imbert.model.choice import NoSuchFolder, checkpoint_folder
from imbert.records import ModelDigests, ResultMeta
from imbert.training.evaluate import advglue_tasks, read_pairs
from imbert.training.own_data import source_of, split_of
from imbert.training.read_rows import read_dev, read_split
from imbert.training.run_config import DataChoice, RunConfig

Digests = Mapping[str, str | None]


def start_of(run: RunConfig, data: Path) -> ModelDigests:
    """Digests of the checkpoint that a run starts at; null where a hub id is not on this machine.

    Raises:
        NoSuchFolder: if it is a folder that is not there.
        ValueError: if it is only where the command runs.
        OSError: if a file cannot be read.
    """
    return model_of(checkpoint_folder(run.model.checkpoint, data))


def _start_if_there(run: RunConfig, data: Path) -> ModelDigests:
    """The same; null too where the folder is gone, as a finished run outlives what it began at."""
    try:
        return start_of(run, data)
    except NoSuchFolder:
        return ModelDigests(None, None, None)


def model_of(folder: str | Path) -> ModelDigests:
    """Digests of a checkpoint's weights, configuration and tokenizer, read again only when a file
    has changed; null where it is not here.

    Raises:
        OSError: if a file cannot be read.
    """
    path = Path(folder)
    files = sorted(entry for entry in path.iterdir() if entry.is_file()) if path.is_dir() else []
    states = [(file, file.stat()) for file in files]
    return _identity(
        folder,
        *((file, state.st_mtime_ns, state.st_size, state.st_ino) for file, state in states),
    )


def files_of(run: RunConfig, data: Path) -> dict[str, str]:
    """Digests of the files that a run reads its rows from, without those that are not there; the
    hub has none.

    Raises:
        ValueError: if a split has another file than its name says.
        OSError: if a file cannot be read.
    """
    digests: dict[str, str] = {}
    if not is_dataset(source := source_of(run.data, data)):
        for split in ("train", *(["dev"] if run.evaluate.dev else [])):
            file = _located(run.data, Path(source), split)
            if file is not None:
                digests[split] = digest_of_file(file.path)
            if file is not None and file.selection is not None:
                digests[f"{split} listed"] = digest_of_file(file.selection.source)
    if run.evaluate.advglue is not None and (data / run.evaluate.advglue).is_file():
        digests["advglue"] = digest_of_file(data / run.evaluate.advglue)
    return digests


def other_inputs(meta: ResultMeta, run: RunConfig, data: Path) -> list[str]:
    """What a result was made from that is another now; what is no longer there is not compared.

    Rows are read only where a file is not the one that the result names.

    Args:
        meta: of the result.
        run: its choices.
        data: where relative paths start.

    Raises:
        ValueError: if a row is malformed.
        OSError: if a file cannot be read.
    """
    # older results know the weights alone
    start = meta.start or ModelDigests(meta.checkpoints.start, None, None)
    others = [
        f"checkpoint {name}"
        for name in differing(structs.asdict(start), structs.asdict(_start_if_there(run, data)))
    ]
    recorded = meta.files or {}
    changed = {
        name.split()[0]
        for name, digest in files_of(run, data).items()
        if recorded.get(name) != digest
    }
    now: dict[str, str | None] = {}
    # a file may have changed and its rows not: its columns in another order, compressed anew
    if "train" in changed:
        now |= {name: rows.digest for name, rows in read_rows(run, data).items()}
    if "dev" in changed:
        now["dev"] = read_dev(run, data).digest
    if "advglue" in changed:
        for name in advglue_tasks(run.data.task):
            pairs = read_pairs(run, data, name)
            now |= {
                f"advglue {name}": pairs.adversarial.digest,
                f"advglue {name} originals": pairs.original.digest,
            }
    digests: dict[str, str | None] = {name: rows.digest for name, rows in meta.data.items()}
    digests |= {f"{name} originals": rows.originals for name, rows in meta.data.items()}
    return others + differing(digests, now)


def read_rows(run: RunConfig, data: Path) -> dict[str, Examples]:
    """The rows to train on and the held-out ones, both from the training file.

    Raises:
        ValueError: if a row is malformed or there are too few.
        OSError: if the file cannot be read.
    """
    choice = run.data
    examples = read_split(run, data, "train")
    try:
        rest, validation = held_out(examples, choice.validation, choice.subset_seed)
    except ValueError as error:
        raise ValueError(f"data.validation: {error}") from None
    training = (
        rest if choice.size is None else low_resource_subset(rest, choice.size, choice.subset_seed)
    )
    return {"training": training, "validation": validation}


def differing(recorded: Digests, now: Digests) -> list[str]:
    """The names whose digests are known on both sides and differ."""
    return sorted(
        name
        for name, digest in now.items()
        if None not in (digest, recorded.get(name)) and recorded[name] != digest
    )


def digest_of_file(path: Path) -> str:
    """Sha256 of a file, read again only when it has changed: the runs of a study share their data.

    Raises:
        OSError: if it cannot be read.
    """
    state = path.stat()
    return _digest(path, state.st_mtime_ns, state.st_size, state.st_ino)


@functools.lru_cache(maxsize=64)
def _identity(folder: str | Path, *state: tuple[Path, int, int, int]) -> ModelDigests:
    identity = model_identity(folder)
    return ModelDigests(identity.weights, identity.config, identity.tokenizer)


@functools.lru_cache(maxsize=64)
def _digest(path: Path, *state: int) -> str:
    return file_digest(path)


def _located(choice: DataChoice, source: Path, split: str) -> TableFile | None:
    try:
        return locate(choice.task, source, split_of(choice, split), choice.splits or {})
    except FileNotFoundError:
        return None
