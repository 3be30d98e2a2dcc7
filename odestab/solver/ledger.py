"""How each example of a solve stands: one account of progress and one judgement for every loop."""

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor

from odestab.solver.solution import Status
from odestab.solver.stopping import Stopping

RUNNING = -1
PROGRESS = 0.99  # a residual below this share of the best one is progress
DIVERGENCE_FACTOR = 1e4  # a residual this many times the first one is divergence

# A few numbers per example: NumPy takes a tenth of torch's time for them, torch records and stays
# on a GPU.
Array = Tensor | np.ndarray


def namespace(array: Array) -> Any:
    """torch or numpy, whose functions of one name do the same here."""
    return torch if isinstance(array, Tensor) else np


@dataclasses.dataclass(frozen=True, eq=False)
class Ledger:
    """Per example, all `(batch,)`, tensors or NumPy arrays (`Array`).

    Attributes:
        status: a Status, or RUNNING.
        norm: RMS(r) of the current iterate.
        best: the least so far.
        first: that of the start.
        waited: iterations since the last progress.
        iterations: while it was running.
        evaluations: of f while it was running.
    """

    status: Any
    norm: Any
    best: Any
    first: Any
    waited: Any
    iterations: Any
    evaluations: Any

    @property
    def running(self) -> Any:
        """Which examples have not ended."""
        return self.status == RUNNING

    @classmethod
    def begin(
        cls, stopping: Stopping, norm: Array, size: Array, open_: Array | None, evaluations: int
    ) -> "Ledger":
        """From RMS(r) and RMS(y) at the start; closed examples have ended, unconverged."""
        xp = namespace(norm)
        zero = xp.zeros_like(norm, dtype=xp.int64)
        status = (
            zero + RUNNING
            if open_ is None
            else xp.where(open_, zero + RUNNING, int(Status.MAX_ITERATIONS))
        )
        return cls(status, norm, norm, norm, zero, zero, zero + evaluations)._judged(stopping, size)

    def after(self, stopping: Stopping, norm: Array, size: Array, cost: int | Array) -> "Ledger":
        """One iteration later, at RMS(r) and RMS(y) of the new iterates; examples that had ended
        stay as they are.
        """
        xp = namespace(norm)
        running = self.running
        norm = xp.where(running, norm, self.norm)
        moved = dataclasses.replace(
            self,
            norm=norm,
            best=xp.where(norm < self.best, norm, self.best),
            waited=xp.where(norm < PROGRESS * self.best, 0, self.waited + 1),
            iterations=self.iterations + running,
            evaluations=self.evaluations + running * cost,
        )
        return moved._judged(stopping, size)

    def _judged(self, stopping: Stopping, size: Array) -> "Ledger":
        """End the examples that have converged or failed."""
        xp = namespace(self.norm)
        finite = xp.isfinite(self.norm)
        # In order of precedence: what has converged may have waited long, and did converge.
        ends = [(finite & (self.norm <= stopping.atol + stopping.rtol * size), Status.CONVERGED)]
        # A solver that keeps the last iterate runs its number of steps whatever they do.
        if not stopping.keep_last:
            ends += [
                (~finite, Status.NON_FINITE),
                (self.norm > DIVERGENCE_FACTOR * self.first, Status.DIVERGED),
                (self.waited >= stopping.patience, Status.STALLED),
            ]
        status = self.status
        for ended, name in ends:
            status = xp.where((status == RUNNING) & ended, int(name), status)
        return dataclasses.replace(self, status=status)

    def outcome(self, keep_last: bool) -> tuple[Any, Any, Any]:
        """Whether the last iterate is returned (else the best one), its RMS(r), and the status."""
        xp = namespace(self.norm)
        last = (self.status == Status.CONVERGED) | keep_last
        norm = xp.where(last, self.norm, self.best)
        # With keep_last a residual that is not finite has not ended the iteration.
        unended = xp.where(xp.isfinite(norm), int(Status.MAX_ITERATIONS), int(Status.NON_FINITE))
        return last, norm, xp.where(self.running, unended, self.status)
