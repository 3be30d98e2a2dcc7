"""Which model a record is of: weights, configuration and tokenizer, each by content.

`imbert` may import this module as well.
"""

import dataclasses
import hashlib
import json
from pathlib import Path

CONFIG = "config.json"
PROVENANCE = (
    "_name_or_path",
    "transformers_version",
)  # entries of a configuration that change no number
TOKENIZER_STARTS = (
    "tokenizer",
    "vocab",
    "special_tokens",
    "added_tokens",
    "merges",
    "sentencepiece",
    "spiece",
    "spm",
    "bpe",
)
TOKENIZER_ENDS = (".model", ".tokenizer", ".tiktoken")
TOKENIZER_NAMES = ("entity_vocab.json", "emoji.json", "dict.txt", "byte_maps.json")


@dataclasses.dataclass(frozen=True)
class ModelIdentity:
    """What a model is, by content: two folders with equal digests give equal numbers, wherever they
    lie.

    Attributes:
        weights: sha256 of the weights file; of several, of their names and sha256 sums. None if
            there are none that may be read.
        config: sha256 of config.json, its keys sorted, without its name and the version that wrote
            it; None without one.
        tokenizer: sha256 of the names and sha256 sums of the tokenizer's files; None without any.
        reason: why there is no digest; None if there is one.
    """

    weights: str | None
    config: str | None
    tokenizer: str | None
    reason: str | None = None

    @property
    def digest(self) -> str | None:
        """Sha256 of the three together; None, with a reason, where weights or configuration are not
        known.
        """
        if self.weights is None or self.config is None:
            return None
        return _sha256(json.dumps([self.weights, self.config, self.tokenizer]).encode())

    def as_dict(self) -> dict[str, str | None]:
        """Plain JSON-ready values, the combined digest included."""
        return {**dataclasses.asdict(self), "digest": self.digest}


def model_identity(model: str | Path) -> ModelIdentity:
    """Identify a checkpoint folder, or a hub id by its snapshot in the cache; the network is never
    asked.

    Args:
        model: a checkpoint folder, or a Hugging Face hub id.

    Raises:
        OSError: if a file cannot be read.
    """
    from odestab import weight_files  # late: it loads torch

    folder = Path(model) if Path(model).is_dir() else cached_snapshot(str(model))
    if folder is None:
        return ModelIdentity(
            None,
            None,
            None,
            f"{model}: no such folder, and no snapshot of such a hub id in the cache",
        )
    config = _config_digest(folder / CONFIG) if (folder / CONFIG).is_file() else None
    tokenizer = _tokenizer_digest(folder)
    try:
        files = weight_files(folder)
    except ValueError as error:
        return ModelIdentity(None, config, tokenizer, str(error))
    weights = file_digest(files[0]) if len(files) == 1 else _digest_of_files(folder, files)
    return ModelIdentity(weights, config, tokenizer, None if config else f"{folder}: no {CONFIG}")


def cached_snapshot(hub_id: str) -> Path | None:
    """The folder that the cache holds of a hub id's newest known revision; None if there is
    none.
    """
    from huggingface_hub import try_to_load_from_cache  # late: takes half a second
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(hub_id, CONFIG)
    except HFValidationError:
        return None
    return Path(found).parent if isinstance(found, str) else None


def file_digest(path: Path) -> str:
    """Sha256 of a file.

    Raises:
        OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _config_digest(path: Path) -> str:
    content = path.read_bytes()
    try:
        entries = json.loads(content)
        known = {key: value for key, value in entries.items() if key not in PROVENANCE}
        return _sha256(json.dumps(known, sort_keys=True).encode())
    except (ValueError, AttributeError, RecursionError):  # loading says what is wrong with it
        return _sha256(content)


def _tokenizer_digest(folder: Path) -> str | None:
    names = (path for path in folder.iterdir() if path.is_file() and _of_tokenizer(path.name))
    files = tuple(sorted(names))
    return _digest_of_files(folder, files) if files else None


def _of_tokenizer(name: str) -> bool:
    return (
        name.startswith(TOKENIZER_STARTS)
        or name.endswith(TOKENIZER_ENDS)
        or name in TOKENIZER_NAMES
    )


def _digest_of_files(folder: Path, files: tuple[Path, ...]) -> str:
    lines = [f"{path.relative_to(folder).as_posix()} {file_digest(path)}\n" for path in files]
    return _sha256("".join(lines).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
