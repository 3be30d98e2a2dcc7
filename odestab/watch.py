"""Has every example ended? Asked of an accelerator without waiting for it."""

from typing import Any

import torch

CHUNK = 4  # iterations between two questions to an accelerator


class Watch:
    """Knows at once on a CPU; of an accelerator the answer to an earlier question is read when it has arrived.

    Inside a transform of torch.func, which lets nothing be written to, an accelerator is waited for.
    A loop that asks freezes what has ended: the iterations until it hears of the end change no result.

    Attributes:
        chunk: iterations between two questions.
    """

    def __init__(self, device: torch.device, chunk: int = CHUNK) -> None:
        self.at_once = device.type == "cpu" or torch._C._are_functorch_transforms_active()
        self.chunk = chunk
        self.asked = 0
        if not self.at_once:
            self.answer = torch.ones((), dtype=torch.bool, pin_memory=True)
            self.arrived = torch.Event(device)
            self.pending = False

    def none(self, running: Any) -> bool:
        """Whether none is running, as far as that is known."""
        if self.at_once:
            return not bool(running.any())
        if self.pending and self.arrived.query():
            self.pending = False
            if not bool(self.answer):
                return True
        if not self.pending and self.asked % self.chunk == 0:
            self.answer.copy_(running.any(), non_blocking=True)
            self.arrived.record()
            self.pending = True
        self.asked += 1
        return False
