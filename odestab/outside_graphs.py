"""A function that torch.compile leaves alone, without the seconds that torch._dynamo takes to
import.
"""

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def outside_graphs(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """`torch.compiler.disable(function)`, made at the first call after dynamo was loaded.

    Dynamo compiles nothing before it is loaded, and whoever compiles loads it.

    >>> outside_graphs(abs)(-1)
    1
    """
    excluded: list[Callable[Arguments, Result]] = []

    @functools.wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if "torch._dynamo" not in sys.modules:
            return function(*args, **kwargs)
        if not excluded:
            excluded.append(torch.compiler.disable(function))
        return excluded[0](*args, **kwargs)

    return call
