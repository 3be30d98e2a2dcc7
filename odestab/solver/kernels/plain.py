"""The stages of an accelerated fixed-point iteration in plain torch, in place: the twin that fused kernels are tested against."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odestab.solver.kernels.task import Task
from odestab.solver.ledger import Ledger
from odestab.solver.mixing import coefficients, weights


class PlainStages:
    """y ← Σ αᵢ gᵢ over the last memory + 1 images g = κ(b + h F(y)) + ω y, one independent iteration per example.

    `take_in` and `mix` are called in turn. Memory per example: b, the iterate, the one before, the best one and a move p = g − y; for
    Anderson also memory + 1 images, memory differences and the move before.

    Attributes:
        y: the current iterate, `(batch, n)`.
        ledger: how each example stands.
    """

    def __init__(self, task: Task, y: Float[Tensor, "batch n"], image: Float[Tensor, "batch n"]) -> None:
        """Begin at y, which is not changed, with the image F(y)."""
        batch, n = y.shape
        m = task.mixing.memory
        self.task = task
        self.y, self.spare, self.best = y.clone(), torch.empty_like(y), y.clone()
        self.move, self.previous_move = torch.empty_like(y), torch.empty_like(y) if m else None
        self.best_is_current = torch.ones(batch, dtype=torch.bool, device=y.device)
        self.images = y.new_zeros(batch, m + 1, n)
        self.differences = y.new_zeros(batch, m, n)
        self.gram = torch.zeros(batch, m, m, dtype=torch.float64, device=y.device)
        self.target = self.gram.new_zeros(batch, m)
        self.known = torch.zeros(batch, m, dtype=torch.bool, device=y.device)
        self.slow = torch.ones_like(self.best_is_current)
        self.count = 0  # of images so far
        self.ledger = Ledger.begin(task.rules, *self._measure(image), task.open, task.begun)

    def take_in(self, image: Float[Tensor, "batch n"]) -> None:
        """Take in F(y): the new image, its move and Gram row, and what the residual means for each example."""
        task, before = self.task, self.ledger
        self.ledger = after = before.after(task.rules, *self._measure(image), 1)
        self.slow = after.norm > task.mixing.rate * before.norm
        better = after.best < before.best
        saved = before.running & self.best_is_current & ~better  # the iterate before, until it is overwritten
        if self.y.device.type != "cpu" or bool(saved.any()):
            torch.where(saved[:, None], self.spare, self.best, out=self.best)
        self.best_is_current = torch.where(before.running, better, self.best_is_current)
        self.known &= (after.norm <= task.mixing.growth_limit * before.best)[:, None]

    def mix(self) -> None:
        """The next iterate of the running examples; the others keep theirs."""
        running = self.ledger.running
        if self.task.mixing.memory:
            torch.bmm(self._weights()[:, None], self.images, out=self.spare[:, None])
        else:
            self.spare, self.images = self.images[:, 0], self.spare[:, None]
        if self.y.device.type != "cpu" or not bool(running.all()):
            torch.where(running[:, None], self.spare, self.y, out=self.spare)
        self.y, self.spare = self.spare, self.y

    def outcome(self, last: Bool[Tensor, " batch"]) -> Float[Tensor, "batch n"]:
        """The last iterate where that is asked for, else the best."""
        return torch.where((last | self.best_is_current)[:, None], self.y, self.best)

    def _measure(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """RMS(r) and RMS(y), once the image is in the ring and its move compared with the earlier ones."""
        m, task = self.task.mixing.memory, self.task
        g = self.images[:, self.count % (m + 1)]
        torch.add(task.rhs, image, alpha=task.gain, out=g)
        if task.drift:
            g.add_(self.y, alpha=task.drift)
        if self.previous_move is not None:
            self.move, self.previous_move = self.previous_move, self.move
        torch.sub(g, self.y, out=self.move)
        if self.previous_move is not None and self.count:
            self._extend_gram((self.count - 1) % m, self.previous_move)
        self.count += 1
        residual = torch.linalg.vector_norm(self.move, dim=1) / abs(task.kappa)
        return residual / task.root, torch.linalg.vector_norm(self.y, dim=1) / task.root

    def _extend_gram(self, slot: int, previous: Tensor) -> None:
        """The newest difference of moves, its inner products with the others, and all inner products with the current move.

        ⟨d, p⟩ of an older d grows by ⟨d, p − p_before⟩, which is its entry in the new row.
        """
        newest = self.differences[:, slot]
        torch.sub(self.move, previous, out=newest)
        row = _inner_products(self.differences, newest)
        self.gram[:, slot], self.gram[:, :, slot] = row, row
        self.target += row
        self.target[:, slot] = torch.linalg.vecdot(newest, self.move)
        self.known[:, slot] = True

    def _weights(self) -> Float[Tensor, "batch images"]:
        """α in the order of the ring of images."""
        m, newest = self.task.mixing.memory, self.count - 1
        if newest == 0 or newest % self.task.mixing.period:
            gamma = torch.zeros_like(self.target)
        else:
            by_age = [(newest - 1 - age) % m for age in range(m)]
            gram, target, known = self.gram[:, by_age][:, :, by_age], self.target[:, by_age], self.known[:, by_age]
            gamma = coefficients(gram, target, known, torch.finfo(self.y.dtype).eps, self.task.mixing)
            gamma = torch.where(self.slow[:, None], gamma, 0.0)
        places = [(newest - age) % (m + 1) for age in range(m + 1)]
        alpha = self.y.new_zeros(len(gamma), m + 1)
        alpha[:, places] = weights(gamma).to(self.y.dtype)
        return alpha


def _inner_products(rows: Float[Tensor, "batch m n"], vector: Float[Tensor, "batch n"]) -> Float[Tensor, "batch m"]:
    """Each row with its example's vector; on a CPU one matrix–vector product at a time, as a batched one runs several times slower."""
    if rows.device.type != "cpu":
        return torch.bmm(rows, vector[..., None])[..., 0].double()
    return torch.stack([torch.mv(matrix, one) for matrix, one in zip(rows, vector, strict=True)]).double()
