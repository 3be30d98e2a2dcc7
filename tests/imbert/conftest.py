"""A tiny checkpoint on disk, saved once."""

from pathlib import Path

import pytest
from tiny import save_tiny
from transformers.utils import logging as bars


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three layers of hidden size 16, with its tokenizer."""
    bars.disable_progress_bar()
    try:
        return save_tiny(tmp_path_factory.mktemp("tiny") / "bert")
    finally:
        bars.enable_progress_bar()
