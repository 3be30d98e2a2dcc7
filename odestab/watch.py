"""Has every example ended? Asked of an accelerator without letting it run dry."""

from typing import Any

import torch

AHEAD = 2  # iterations that the host may have queued beyond the newest answer


class Watch:
    """Knows at once on a CPU; of an accelerator it reads the answers to earlier questions.

    Each call asks. An answer that has arrived is read; one that is `AHEAD` calls old is waited for,
    while the accelerator has that many iterations left to do. So at most `AHEAD` iterations run in
    vain, and the accelerator never waits for the host. Inside a transform of torch.func, which lets
    nothing be written to, an accelerator is waited for at once. A loop that asks freezes what has
    ended: the iterations until it hears of the end change no result.
    """

    def __init__(self, device: torch.device) -> None:
        self.at_once = device.type == "cpu" or torch._C._are_functorch_transforms_active()
        self.asked = self.read = 0
        if not self.at_once:
            self.answers = [torch.ones((), dtype=torch.bool, pin_memory=True) for _ in range(AHEAD)]
            self.arrived = [torch.Event(device) for _ in range(AHEAD)]

    def none(self, running: Any) -> bool:
        """Whether none is running, as far as that is known."""
        if self.at_once:
            return not bool(running.any())
        while self.read < self.asked:
            slot = self.read % AHEAD
            if self.asked - self.read == AHEAD:
                self.arrived[slot].synchronize()
            elif not self.arrived[slot].query():
                break
            self.read += 1
            if not bool(self.answers[slot]):
                return True
        self.answers[self.asked % AHEAD].copy_(running.any(), non_blocking=True)
        self.arrived[self.asked % AHEAD].record()
        self.asked += 1
        return False
