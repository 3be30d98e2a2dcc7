"""How each example of a solve stands: one account of progress and one judgement for every loop."""

import dataclasses

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from odestab.solver.solution import Status

RUNNING = -1
PROGRESS = 0.99  # a residual below this share of the best one is progress
DIVERGENCE_FACTOR = 1e4  # a residual this many times the first one is divergence


@dataclasses.dataclass(frozen=True, eq=False)
class Rules:
    """Where a solve begins and when it ends.

    Attributes:
        rtol: converged where RMS(r) ≤ atol + rtol·RMS(y).
        atol: likewise.
        keeps_last: nothing but convergence ends an example.
        patience: so many iterations without progress are a stall.
        iteration_limit: how often the loop runs at most.
        start: "state" or "explicit".
        history: keep every RMS(r).
        deterministic: refuse a field that draws random numbers.
    """

    rtol: float
    atol: float
    keeps_last: bool
    patience: int
    iteration_limit: int
    start: str
    history: bool
    deterministic: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Ledger:
    """Per example, all `(batch,)`.

    Attributes:
        status: a Status, or RUNNING.
        norm: RMS(r) of the current iterate.
        best: the least so far.
        first: that of the start.
        waited: iterations since the last progress.
        iterations: while it was running.
        evaluations: of f while it was running.
    """

    status: Int[Tensor, " batch"]
    norm: Float[Tensor, " batch"]
    best: Float[Tensor, " batch"]
    first: Float[Tensor, " batch"]
    waited: Int[Tensor, " batch"]
    iterations: Int[Tensor, " batch"]
    evaluations: Int[Tensor, " batch"]

    @property
    def running(self) -> Bool[Tensor, " batch"]:
        """Which examples have not ended."""
        return self.status == RUNNING

    @classmethod
    def begin(cls, rules: Rules, norm: Tensor, size: Tensor, open_: Tensor | None, evaluations: int) -> "Ledger":
        """From RMS(r) and RMS(y) at the start; closed examples have ended, unconverged."""
        status = torch.full(norm.shape, RUNNING, device=norm.device)
        if open_ is not None:
            status = torch.where(open_, status, int(Status.MAX_ITERATIONS))
        zero = torch.zeros_like(status)
        return cls(status, norm, norm, norm, zero, zero, zero + evaluations)._judged(rules, size)

    def after(self, rules: Rules, norm: Tensor, size: Tensor, cost: int | Tensor) -> "Ledger":
        """One iteration later, at RMS(r) and RMS(y) of the new iterates; examples that had ended stay as they are."""
        running = self.running
        norm = torch.where(running, norm, self.norm)
        moved = dataclasses.replace(
            self,
            norm=norm,
            best=torch.where(norm < self.best, norm, self.best),
            waited=torch.where(norm < PROGRESS * self.best, 0, self.waited + 1),
            iterations=self.iterations + running,
            evaluations=self.evaluations + running * cost,
        )
        return moved._judged(rules, size)

    def _judged(self, rules: Rules, size: Tensor) -> "Ledger":
        """End the examples that have converged or failed."""
        finite = self.norm.isfinite()
        ends = [(finite & (self.norm <= rules.atol + rules.rtol * size), Status.CONVERGED)]
        if not rules.keeps_last:
            ends += [
                (~finite, Status.NON_FINITE),
                (self.norm > DIVERGENCE_FACTOR * self.first, Status.DIVERGED),
                (self.waited >= rules.patience, Status.STALLED),
            ]
        status = self.status
        for ended, name in ends:
            status = torch.where((status == RUNNING) & ended, int(name), status)
        return dataclasses.replace(self, status=status)

    def outcome(self, keeps_last: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Whether the last iterate is returned (else the best one), its RMS(r), and the status."""
        last = (self.status == Status.CONVERGED) | keeps_last
        norm = torch.where(last, self.norm, self.best)
        unended = torch.where(norm.isfinite(), int(Status.MAX_ITERATIONS), int(Status.NON_FINITE))
        return last, norm, torch.where(self.running, unended, self.status)
