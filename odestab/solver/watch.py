"""Has every example ended? Asked of a GPU without waiting for it."""

from typing import Any

import torch

CHUNK = 4  # iterations between two questions to a GPU; examples that have ended stay as they are meanwhile


class Watch:
    """Knows at once on a CPU; on a GPU the answer to an earlier question is read when it has arrived."""

    def __init__(self, device: torch.device) -> None:
        self.on_gpu = device.type == "cuda"
        self.asked = 0
        if self.on_gpu:
            self.answer, self.arrived = torch.ones((), dtype=torch.bool, pin_memory=True), torch.cuda.Event()
            self.pending = False

    def none(self, running: Any) -> bool:
        """Whether none is running, as far as that is known."""
        if not self.on_gpu:
            return not bool(running.any())
        if self.pending and self.arrived.query():
            self.pending = False
            if not bool(self.answer):
                return True
        if not self.pending and self.asked % CHUNK == 0:
            self.answer.copy_(running.any(), non_blocking=True)
            self.arrived.record()
            self.pending = True
        self.asked += 1
        return False
