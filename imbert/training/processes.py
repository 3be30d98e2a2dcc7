"""Processes that train together leave their group while the interpreter still stands."""

import atexit
import gc

# Its functions keep the group that exists when it is imported as their default, and with it the
# group's threads; torch imports it late, so it is imported here, before there is a group.
import torch.distributed.nn  # noqa: F401
from torch import distributed


def leave_group_at_exit() -> None:
    """Leave the group when the process ends in good order. Gloo's threads may hold tensors of
    Python's; where they outlive the interpreter they abort the process, and torchrun reports a
    finished training as failed (pytorch/pytorch#179291).
    """
    atexit.register(leave_group)


def leave_group() -> None:
    """Leave the group of processes, if one was joined."""
    if distributed.is_available() and distributed.is_initialized():
        gc.collect()  # a wrapped model in a reference cycle keeps the group and its threads
        distributed.destroy_process_group()
