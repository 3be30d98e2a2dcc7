"""The stages of an accelerated fixed-point iteration in plain torch, in place: the twin that fused
kernels are tested against.
"""

import copy
import dataclasses
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from odestab.precision import own_precision
from odestab.solver.kernels.task import Task
from odestab.solver.ledger import Array, Ledger, namespace
from odestab.solver.mixing import Memory, weights


class PlainStages:
    """y ← Σ αᵢ gᵢ over the last memory + 1 images g = κ(b + h F(y)) + ω y, one independent
    iteration per example.

    `take_in` and `mix` are called in turn. Memory per example: b, the iterate, the one before, the
    best one, and memory + 1 images and moves p = g − y. Numbers per example are NumPy's on a CPU.

    Attributes:
        y: the current iterate, `(batch, n)`.
        ledger: how each example stands.
    """

    def __init__(
        self,
        task: Task,
        y: Float[Tensor, "batch n"],
        image: Float[Tensor, "batch n"],
        low: torch.dtype | None = None,
    ) -> None:
        """Begin at y, which is not changed, with the image F(y); low is the precision of
        `argument`, None that of y.
        """
        batch, n = y.shape
        kept = task.mixing.memory + 1
        self.low = low
        self.task = task
        self.y = y.clone()
        self.spare = torch.empty_like(y)
        self.best: Tensor | None = None  # until it is another than the current one
        # rings, of which only what was written is read
        self.images = y.new_empty(batch, kept, n)
        self.moves = y.new_empty(batch, kept, n)
        self.count = 0  # of images so far
        self.root = _small(task.root)
        self.products = _small(torch.zeros(batch, kept, kept, dtype=torch.float64, device=y.device))
        open_ = None if task.open is None else _small(task.open)
        self.ledger = Ledger.begin(task.stopping, *self._measure(image), open_, task.begun)
        self.memory = Memory.begin(self.ledger.norm)
        self.best_is_current = self.memory.slow  # True for all

    def take_in(self, image: Float[Tensor, "batch n"]) -> None:
        """Take in F(y): the new image, its move and inner products, and what the residual means for
        each example.
        """
        mixing = self.task.mixing
        before = self.ledger
        self.ledger = after = before.after(self.task.stopping, *self._measure(image), 1)
        xp = namespace(after.norm)
        better = after.best < before.best
        # the iterate before was the best one, and is about to be overwritten
        saved = before.running & self.best_is_current & ~better
        if not _known_false(saved):
            if self.best is None:
                self.best = self.spare.clone()
            torch.where(_tensor(saved, self.y)[:, None], self.spare, self.best, out=self.best)
        self.best_is_current = xp.where(before.running, better, self.best_is_current)
        self.memory = self.memory.after(mixing, after.norm, before.norm, before.best)

    def mix(self) -> None:
        """The next iterate of the running examples; the others keep theirs."""
        if self.task.mixing.memory:
            with own_precision(self.y):
                torch.bmm(
                    self._weights()[:, None, : self.filled],
                    self.images[:, : self.filled],
                    out=self.spare[:, None],
                )
        else:
            self.spare, self.images = self.images[:, 0], self.spare[:, None]
        ended = ~self.ledger.running
        if not _known_false(ended):
            torch.where(_tensor(ended, self.y)[:, None], self.y, self.spare, out=self.spare)
        self.y, self.spare = self.spare, self.y

    def take(self, examples: Int[Tensor, " chosen"]) -> "PlainStages":
        """Some of the examples alone, in ascending order and in the same memory; these stages are
        done for.
        """
        taken = copy.copy(self)
        rows = examples.tolist()
        taken.task = dataclasses.replace(self.task, **_cut(self.task, rows))
        taken.ledger = dataclasses.replace(self.ledger, **_cut(self.ledger, rows))
        taken.memory = dataclasses.replace(self.memory, **_cut(self.memory, rows))
        for name, value in _cut(self, rows, self.filled).items():
            setattr(taken, name, value)
        return taken

    def outcome(self, last: Array) -> Float[Tensor, "batch n"]:
        """The last iterate where that is asked for, else the best."""
        best = self.y if self.best is None else self.best
        return torch.where(_tensor(last | self.best_is_current, self.y)[:, None], self.y, best)

    def remainder(self, last: Array) -> Float[Tensor, "batch n"]:
        """b + h f(y) − y where `outcome` is the current iterate, else 0."""
        move = self.moves[:, (self.count - 1) % (self.task.mixing.memory + 1)]
        current = _tensor(last | self.best_is_current, move)[:, None]
        return torch.where(current, move / self.task.kappa, 0.0)

    @property
    def argument(self) -> Float[Tensor, "batch n"]:
        """The current iterate in the precision in which F is evaluated."""
        return self.y if self.low is None else self.y.to(self.low)

    @property
    def filled(self) -> int:
        """How many slots of the rings hold an image."""
        return min(self.count, self.task.mixing.memory + 1)

    def _measure(self, image: Tensor) -> tuple[Any, Any]:
        """RMS(r) and RMS(y), once the image and its move are in their rings and multiplied with the
        earlier moves.
        """
        task = self.task
        slot = self.count % (self.task.mixing.memory + 1)
        g = self.images[:, slot]
        move = self.moves[:, slot]
        torch.add(task.rhs, image, alpha=task.gain, out=g)
        if task.drift:
            g.add_(self.y, alpha=task.drift)
        torch.sub(g, self.y, out=move)
        self.count += 1
        if task.mixing.memory:
            earlier = self.moves[:, : self.filled].mT
            with own_precision(move):
                # row form: a single-column bmm runs several times slower
                row = _small(torch.bmm(move[:, None], earlier)[:, 0])
            self.products[:, slot, : self.filled] = self.products[:, : self.filled, slot] = row
            # The length of the move is among its products: no pass over the state is spent on it.
            length = row[:, slot] ** 0.5
        else:
            length = _small(torch.linalg.vector_norm(move, dim=1))
        size = _small(torch.linalg.vector_norm(self.y, dim=1))
        return length / (abs(task.kappa) * self.root), size / self.root

    def _weights(self) -> Float[Tensor, "batch images"]:
        """α in the order of the ring of images, from the inner products of differences pᵢ − pᵢ₊₁ of
        moves, newest first.
        """
        m = self.task.mixing.memory
        newest = self.count - 1
        xp = namespace(self.root)
        by_age: Any = [(newest - age) % (m + 1) for age in range(m + 1)]
        if isinstance(self.products, Tensor):  # a list would be copied to the device at every use
            by_age = (newest - torch.arange(m + 1, device=self.products.device)) % (m + 1)
        p = self.products[:, by_age][:, :, by_age]
        # Differences of products, not products of differences as where autograd records: no pass
        # over the state makes them. Their rounding is that of both moves, which is the noise.
        across = p[:, :-1] - p[:, 1:]
        lengths = xp.diagonal(p, 0, 1, 2)
        eps = torch.finfo(self.y.dtype).eps
        noise = lengths[:, :-1] + lengths[:, 1:]
        gram = across[:, :, :-1] - across[:, :, 1:]
        gamma = self.memory.coefficients(gram, across[:, :, 0], noise, eps, self.task.mixing)
        alpha = xp.zeros_like(lengths)
        alpha[:, by_age] = weights(gamma)
        return _tensor(alpha, self.y).to(self.y.dtype)


def _cut(record: object, rows: list[int], filled: int = 1) -> dict[str, Any]:
    """Those of its tensors and arrays, which all have a row for each example, for some examples;
    states and rings stay where they are.
    """
    taken: dict[str, Any] = {}
    for name, value in vars(record).items():
        if isinstance(value, Tensor) and value.ndim > 1:
            written = value[:, :filled] if value.ndim == 3 else value
            for place, row in enumerate(rows):
                # Rows move up, never onto one that is still to be moved.
                if place < row:
                    written[place].copy_(written[row])
            taken[name] = value[: len(rows)]
        elif isinstance(value, Tensor | np.ndarray):
            taken[name] = value[rows]
    return taken


def _small(tensor: Tensor) -> Any:
    """A few numbers per example, as they are best worked with: NumPy's on a CPU."""
    return tensor.numpy() if tensor.device.type == "cpu" else tensor


def _tensor(array: Array, like: Tensor) -> Tensor:
    return torch.as_tensor(array, device=like.device)


def _known_false(condition: Array) -> bool:
    """Whether none holds, as far as that is known without waiting for a GPU."""
    return isinstance(condition, np.ndarray) and not condition.any()
