"""Searches for zeros and maxima, each written once, for all examples and points side by side.

SciPy's take one function at a time; here one evaluation serves a whole batch, and what is settled
goes along unchanged.
"""

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

SHRINK = 0.45  # of a compass search's steps from one round to the next
COMPASS = ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (1, 1), (-1, 1), (1, -1))


@dataclasses.dataclass(frozen=True, eq=False)
class Illinois:
    """Regula falsi between a, where a function is positive, and b, where it is negative or not
    known: the value at an end that stays twice is halved (Dowell and Jarratt 1971).

    Attributes:
        at_a: the function at a, halved or not.
        at_b: at b; NaN where it is not known.
        last: which end moved last, 1 for a and −1 for b; 0 where none did.
    """

    at_a: Tensor
    at_b: Tensor
    last: Tensor

    @classmethod
    def begun(cls, at_a: Tensor) -> "Illinois":
        """With nothing known at b."""
        return cls(at_a, torch.full_like(at_a, torch.nan), torch.zeros_like(at_a))

    @property
    def part(self) -> Tensor:
        """How far from a to b the next point lies: where the chord is zero, or half way."""
        return torch.where(self.at_b < 0, self.at_a / (self.at_a - self.at_b), 0.5)

    def moved(self, value: Tensor, a_moves: Tensor, b_moves: Tensor) -> "Illinois":
        """After the function was found to have a value at the new point, which replaces an end."""
        stayed_a = torch.where(self.last == -1, self.at_a / 2, self.at_a)
        stayed_b = torch.where(self.last == 1, self.at_b / 2, self.at_b)
        # At b a value that is not negative says that the sign cannot be relied on there.
        new_b = torch.where(value < 0, value, torch.nan)
        return Illinois(
            torch.where(a_moves, value, torch.where(b_moves, stayed_a, self.at_a)),
            torch.where(b_moves, new_b, torch.where(a_moves, stayed_b, self.at_b)),
            torch.where(a_moves, 1.0, torch.where(b_moves, -1.0, self.last)),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Bracket:
    """Points inside and outside of a set on a line, between which its boundary lies.

    Attributes:
        inner: the largest point known to lie inside, −∞ where there is none.
        outer: the least point known to lie outside, ∞ where there is none.
        reach: the longest step that is trusted.
    """

    inner: Tensor
    outer: Tensor
    reach: Tensor

    @classmethod
    def unknown(cls, x: Tensor, reach: Tensor) -> "Bracket":
        """Nothing is known yet."""
        return cls(torch.full_like(x, -torch.inf), torch.full_like(x, torch.inf), reach)

    def narrowed(self, x: Tensor, inside: Tensor) -> "Bracket":
        """With one more point known."""
        return dataclasses.replace(
            self,
            inner=torch.where(inside, x.maximum(self.inner), self.inner),
            outer=torch.where(inside, self.outer, x.minimum(self.outer)),
        )

    def stepped(
        self, x: Tensor, newton: Tensor, usable: Tensor, inside: Tensor
    ) -> tuple[Tensor, "Bracket"]:
        """The next point, and the bracket with its new reach: Newton's where that is usable, within
        the bracket and within reach; else the middle, or outwards by the reach, which then doubles.
        """
        within = (newton >= self.inner) & (newton <= self.outer)
        good = usable & within & ((newton - x).abs() <= self.reach)
        walked = torch.where(inside, x + self.reach, x - self.reach)
        closed = (self.outer - self.inner).isfinite()
        instead = torch.where(closed, (self.inner + self.outer) / 2, walked)
        reach = torch.where(good, self.reach, 2 * self.reach)
        return torch.where(good, newton, instead), dataclasses.replace(self, reach=reach)


Places = tuple[Tensor, Tensor, Tensor, Tensor]  # two coordinates, the value, and what goes with it


def compass_search(
    evaluate: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    move: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]],
    places: Places,
    steps: tuple[float, float],
    kept: int,
    rounds: int,
) -> Places:
    """Maxima near the best of some places in the plane, `(batch, places)`, by steps in eight
    directions that shrink from round to round (Kolda, Lewis and Torczon 2003).

    Args:
        evaluate: coordinates ↦ values, and what goes with them.
        move: coordinates and steps in both ↦ coordinates.
        places: to begin with.
        steps: of both coordinates, before the first round.
        kept: how many of the best places are followed.
        rounds: how often.
    """
    first, second, value, beside = places
    first_step, second_step = (torch.full_like(value, step) for step in steps)
    for _ in range(rounds):
        best = value.nan_to_num(0.0).topk(kept, dim=1).indices
        first, second, value, beside = (
            part.gather(1, best) for part in (first, second, value, beside)
        )
        first_step = SHRINK * first_step[:, :kept]
        second_step = SHRINK * second_step[:, :kept]
        tries = [(first, second, value, beside)]
        for i, j in COMPASS:
            moved = move(first, second, i * first_step, j * second_step)
            tries.append((*moved, *evaluate(*moved)))
        first, second, value, beside = (torch.cat(parts, 1) for parts in zip(*tries, strict=True))
        first_step = first_step.repeat(1, len(tries))
        second_step = second_step.repeat(1, len(tries))
    return first, second, value, beside
