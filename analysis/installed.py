"""What is installed, and what of it can be used here."""

import importlib.util
from collections.abc import Mapping

import torch

from analysis.ground.embedded_model import DEFAULT_MODEL, default_model_folder
from analysis.ground.terminal import wrapped
from analysis.ground.versions import versions


def installed() -> dict[str, str]:
    """Versions, devices, threads, kernels and the default model by name."""
    rows = dict(versions())
    rows["devices"] = ", ".join(
        [
            "cpu",
            *(
                f"cuda:{i} {torch.cuda.get_device_name(i)}"
                for i in range(torch.cuda.device_count())
            ),
        ]
    )
    rows["threads"] = str(torch.get_num_threads())
    triton = importlib.util.find_spec("triton") is not None
    usable = triton and torch.cuda.is_available()
    rows["triton"] = (
        "usable" if usable else "installed, no CUDA device" if triton else "not installed"
    )
    try:
        default_model_folder()
        rows["default model"] = f"{DEFAULT_MODEL}, weights verified"
    except ValueError as error:
        rows["default model"] = str(error)
    return rows


def in_lines(rows: Mapping[str, str]) -> list[str]:
    """Names and values side by side, in lines that fit."""
    column = max(map(len, rows)) + 2
    return [
        line
        for name, value in rows.items()
        for line in wrapped(f"{name:<{column}}{value}", hanging=column)
    ]
