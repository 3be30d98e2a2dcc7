"""A tiny checkpoint on disk, saved once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny import save_tiny, tokenized
from tiny_runs import write_data
from torch import Tensor
from transformers.utils import logging as bars


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three layers of hidden size 16, with its tokenizer."""
    bars.disable_progress_bar()
    try:
        return save_tiny(tmp_path_factory.mktemp("tiny") / "bert")
    finally:
        bars.enable_progress_bar()


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows that tiny models can learn, which no test changes."""
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def quiet() -> Iterator[None]:
    """No log and no progress bar of transformers."""
    level = bars.get_verbosity()
    bars.set_verbosity_error()
    bars.disable_progress_bar()
    yield
    bars.set_verbosity(level)
    bars.enable_progress_bar()


@pytest.fixture
def batch(tiny_folder: Path) -> dict[str, Tensor]:
    """Four sentences, the first one longer than the others."""
    return tokenized(tiny_folder, 4)
