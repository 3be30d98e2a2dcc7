"""Tests that only a GPU can answer.

`ODESTAB_TEST_DEVICE=cpu` runs them on a processor, to rehearse them.
"""

import os
import pathlib

import pytest
import torch

HERE = pathlib.Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    asked = "ODESTAB_TEST_DEVICE" in os.environ or torch.cuda.is_available()
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            if not asked:
                item.add_marker(pytest.mark.skip(reason="there is no GPU"))


@pytest.fixture
def device() -> str:
    return os.environ.get("ODESTAB_TEST_DEVICE", "cuda")


@pytest.fixture
def cuda(device: str) -> str:
    """The device of what a processor has not: graphs, and waits of the host."""
    if device != "cuda":
        pytest.skip("only a GPU has it")
    return device
