"""The stages of an accelerated fixed-point iteration in three launches of Triton."""

import torch
import triton
from jaxtyping import Bool, Float
from torch import Tensor

from odestab.solver.kernels import judgement
from odestab.solver.kernels.passes import mix_pass, take_in_pass
from odestab.solver.kernels.task import Task
from odestab.solver.ledger import RUNNING, Ledger

BLOCK = 1024  # entries of the state for one program
MAX_MEMORY = 15
MAX_BLOCKS = 65535  # CUDA's limit on the second axis of a grid


class FusedStages:
    """What `PlainStages` does, to rounding, without waiting for the device.

    `take_in` is two launches, `mix` one. How often an example was iterated, which is its place in
    the rings, is device data, so that iterations can be captured in a CUDA graph. Only which buffer
    is the iterate is chosen here: a graph that is replayed holds a multiple of `turns` iterations.
    There are no atomic sums: an example does not depend on the others, bit for bit.

    Differences of moves are taken before they are multiplied, where the plain stages subtract
    products of moves: near convergence and in single precision the weights are the more accurate
    ones of the loop that records.

    Attributes:
        y: the current iterate, `(batch, n)`.
        y_low: the same in the precision asked for, from the first `mix` on; always in the same
            place.
        turns: after so many iterations y is the same buffer again.
    """

    def __init__(
        self,
        task: Task,
        y: Float[Tensor, "batch n"],
        image: Float[Tensor, "batch n"],
        low: torch.dtype | None = None,
        block: int = BLOCK,
    ) -> None:
        """Begin at y, which is not changed, with the image F(y), in y's precision or a lower one.

        Args:
            task: the map and how to iterate it.
            y: the start.
            image: F(y).
            low: precision of `y_low`; None is none.
            block: entries of the state for one program, a power of two.
        """
        batch, n = y.shape
        m = task.mixing.memory
        self.task = task
        self.rhs = task.rhs.contiguous()
        self.root = task.root.to(y.dtype)
        self.block = block
        self.blocks = triton.cdiv(n, block)
        self.turns = 2 if m else 3
        self.y = y.clone(memory_format=torch.contiguous_format)
        self.y_low = None if low is None else torch.empty_like(self.y, dtype=low)
        self.following = torch.empty_like(self.y)
        self.best = torch.empty_like(self.y)
        self.images = y.new_empty(batch, m + 1, n)
        self.moves = y.new_empty(batch, m + 1, n) if m else None
        self.partial = y.new_empty(batch, 2 + 2 * m, self.blocks)
        self.gram = torch.zeros(batch, m, m, dtype=torch.float64, device=y.device)
        self.alpha = y.new_empty(batch, m + 1)
        # RUNNING is −1, which is also where the iterations begin: the image to come is that of the
        # start.
        self.counts = torch.full((judgement.COUNTS, batch), RUNNING, device=y.device)
        self.norms = y.new_zeros(judgement.NORMS, batch)
        self.take_in(image)
        self.at_start = True

    @property
    def argument(self) -> Float[Tensor, "batch n"]:
        """The current iterate in the precision in which F is evaluated."""
        return self.y if self.y_low is None else self.y_low

    @property
    def ledger(self) -> Ledger:
        """How each example stands: views, which the next `take_in` writes to, but for the norms of
        the record of the start.
        """
        norm, best, first = self.norms
        status, waited, iterations, evaluations, *_ = self.counts
        return Ledger(
            status, first if self.at_start else norm, best, first, waited, iterations, evaluations
        )

    def take_in(self, image: Float[Tensor, "batch n"]) -> None:
        """Take in F(y): the new image, its move and inner products, what the residual means for
        each example, and the next weights.
        """
        task = self.task
        mixing = task.mixing
        stopping = task.stopping
        batch, n = self.y.shape
        m = mixing.memory
        low = self.y_low
        padded = triton.next_power_of_2(max(m, 2))
        with torch.cuda.device_of(self.y):
            take_in_pass[batch, self.blocks](
                self.y,
                image.contiguous(),
                self.rhs,
                self.images,
                self.moves,
                low,
                self.partial,
                self.counts,
                n,
                task.gain,
                task.drift,
                MEMORY=m,
                DRIFT=task.drift != 0,
                LOW=low is not None,
                BLOCK=self.block,
            )
            judgement.judge[batch,](
                self.partial,
                self.root,
                task.open,
                self.counts,
                self.norms,
                self.gram,
                self.alpha,
                self.blocks,
                task.begun,
                stopping.patience,
                mixing.period,
                task.kappa,
                stopping.rtol,
                stopping.atol,
                torch.finfo(self.y.dtype).eps,
                mixing.ridge,
                mixing.drop,
                mixing.cap,
                mixing.rate,
                mixing.growth_limit,
                KEEPS_LAST=stopping.keep_last,
                MEMORY=m,
                PADDED=padded,
                CHUNK=512 // padded,
                num_warps=1,
            )
        self.at_start = False

    def mix(self) -> None:
        """The next iterate of the running examples; the others keep theirs."""
        m = self.task.mixing.memory
        low = self.y_low
        with torch.cuda.device_of(self.y):
            mix_pass[self.y.shape[0], self.blocks](
                self.y,
                self.following,
                self.images,
                self.best,
                low,
                self.alpha,
                self.counts,
                self.y.shape[1],
                MEMORY=m,
                LOW=low is not None,
                BLOCK=self.block,
            )
        if m:
            self.y, self.following = self.following, self.y
        else:
            self.y, self.following, self.images = self.images[:, 0], self.y, self.following[:, None]

    def outcome(self, last: Bool[Tensor, " batch"]) -> Float[Tensor, "batch n"]:
        """The last iterate where that is asked for, else the best; to be asked after `take_in`."""
        *_, current, _, act = self.counts
        # The best one lies still where the next `mix` would save it from.
        saved = (act & judgement.SAVE.value) != 0
        best = torch.where(saved[:, None], self.following, self.best)
        return torch.where((last | (current != 0))[:, None], self.y, best)


def supports(task: Task, y: Float[Tensor, "batch n"]) -> bool:
    """Whether the kernels can do it: tested memories, single and double precision, and a grid
    within CUDA's limits.
    """
    known = y.dtype in (torch.float32, torch.float64)
    return (
        known
        and y.numel() > 0
        and task.mixing.memory <= MAX_MEMORY
        and y.shape[1] <= MAX_BLOCKS * BLOCK
    )
