"""The stages of an accelerated fixed-point iteration in plain torch, in place: the twin that fused kernels are tested against."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from odestab.solver.mixing import Mixing, coefficients, weights


class PlainStages:
    """y ← Σ αᵢ gᵢ over the last memory + 1 images g = κ(b + h F(y)) + ω y, one independent iteration per example.

    `measure`, `judge` and `mix` are called in this order, once each per iteration. Memory per example: the iterate, the one before,
    the best one, b, and for Anderson memory + 1 images, memory differences and two moves p = g − y.

    Attributes:
        y: the current iterate, `(batch, n)`.
    """

    def __init__(self, y: Float[Tensor, "batch n"], rhs: Float[Tensor, "batch n"], mixing: Mixing, factors: tuple[float, float, float]) -> None:
        """Begin at y.

        Args:
            y: start; it is not changed.
            rhs: κ b.
            mixing: memory and safeguards.
            factors: κ, κ h and ω.
        """
        batch, n = y.shape
        m = mixing.memory
        self.mixing, (self.kappa, self.gain, self.drift) = mixing, factors
        self.y, self.spare, self.best, self.rhs = y.clone(), torch.empty_like(y), y.clone(), rhs
        self.move, self.previous_move = torch.empty_like(y), torch.empty_like(y) if m else None
        self.best_is_current = torch.ones(batch, dtype=torch.bool, device=y.device)
        self.images = y.new_zeros(batch, m + 1, n)
        self.differences = y.new_zeros(batch, m, n)
        self.gram = torch.zeros(batch, m, m, dtype=torch.float64, device=y.device)
        self.target = self.gram.new_zeros(batch, m)
        self.known = torch.zeros(batch, m, dtype=torch.bool, device=y.device)
        self.count = 0  # of images so far

    def measure(self, image: Float[Tensor, "batch n"]) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """Take in F(y): the new image, its move and Gram row. Returns ‖r‖ and ‖y‖ per example."""
        m = self.mixing.memory
        g = self.images[:, self.count % (m + 1)]
        torch.add(self.rhs, image, alpha=self.gain, out=g)
        if self.drift:
            g.add_(self.y, alpha=self.drift)
        if self.previous_move is not None:
            self.move, self.previous_move = self.previous_move, self.move
        torch.sub(g, self.y, out=self.move)
        if self.previous_move is not None and self.count:
            self._extend_gram((self.count - 1) % m, self.previous_move)
        self.count += 1
        return torch.linalg.vector_norm(self.move, dim=1) / abs(self.kappa), torch.linalg.vector_norm(self.y, dim=1)

    def judge(self, running: Bool[Tensor, " batch"], better: Bool[Tensor, " batch"], forget: Bool[Tensor, " batch"]) -> None:
        """Which of the running examples are at their best; where the one before was the best, save it before it is overwritten."""
        saved = running & self.best_is_current & ~better
        if self.y.device.type != "cpu" or bool(saved.any()):
            torch.where(saved[:, None], self.spare, self.best, out=self.best)
        self.best_is_current = torch.where(running, better, self.best_is_current)
        self.known &= ~forget[:, None]

    def mix(self, running: Bool[Tensor, " batch"]) -> None:
        """The next iterate of the running examples; the others keep theirs."""
        if self.mixing.memory:
            torch.bmm(self._weights()[:, None], self.images, out=self.spare[:, None])
        else:
            self.spare, self.images = self.images[:, 0], self.spare[:, None]
        if self.y.device.type != "cpu" or not bool(running.all()):
            torch.where(running[:, None], self.spare, self.y, out=self.spare)
        self.y, self.spare = self.spare, self.y

    def outcome(self, last: Bool[Tensor, " batch"]) -> Float[Tensor, "batch n"]:
        """The last iterate where that is asked for, else the best."""
        return torch.where((last | self.best_is_current)[:, None], self.y, self.best)

    def take(self, examples: Int[Tensor, " chosen"]) -> None:
        """Go on with some examples alone."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value[examples])

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
        m, newest = self.mixing.memory, self.count - 1
        if newest == 0 or newest % self.mixing.period:
            gamma = torch.zeros_like(self.target)
        else:
            by_age = [(newest - 1 - age) % m for age in range(m)]
            gram, target, known = self.gram[:, by_age][:, :, by_age], self.target[:, by_age], self.known[:, by_age]
            gamma = coefficients(gram, target, known, torch.finfo(self.y.dtype).eps, self.mixing)
        places = [(newest - age) % (m + 1) for age in range(m + 1)]
        alpha = self.y.new_zeros(len(gamma), m + 1)
        alpha[:, places] = weights(gamma).to(self.y.dtype)
        return alpha


def _inner_products(rows: Float[Tensor, "batch m n"], vector: Float[Tensor, "batch n"]) -> Float[Tensor, "batch m"]:
    """Each row with its example's vector; on a CPU one matrix–vector product at a time, as a batched one runs several times slower."""
    if rows.device.type != "cpu":
        return torch.bmm(rows, vector[..., None])[..., 0].double()
    return torch.stack([torch.mv(matrix, one) for matrix, one in zip(rows, vector, strict=True)]).double()
