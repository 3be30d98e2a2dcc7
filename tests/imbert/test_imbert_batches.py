"""Orders of examples by length: the same steps, padded to less."""

from collections.abc import Iterable
from itertools import pairwise
from types import SimpleNamespace

import pytest
from accelerate.data_loader import SeedableRandomSampler

from imbert.training.batches import Shortest, SortedSteps

LENGTHS = [7, 3, 12, 5, 5, 9, 4, 11, 3, 8, 6]


class Examples(SimpleNamespace):
    """As much of `Rows` as an order looks at."""

    def __len__(self) -> int:
        return len(self.lengths)


def cut(order: Iterable[int], size: int) -> list[list[int]]:
    indices = list(order)
    return [indices[start : start + size] for start in range(0, len(indices), size)]


ROWS = Examples(lengths=LENGTHS)


@pytest.mark.parametrize("epoch", [0, 3])
def test_a_step_has_trainers_examples_from_the_shortest_on(epoch: int) -> None:
    usual = SeedableRandomSampler(ROWS, data_seed=5)
    usual.set_epoch(epoch)
    ordered = SortedSteps(ROWS, 4, 5)
    ordered.set_epoch(epoch)
    steps = cut(ordered, 4)
    assert [{*step} for step in steps] == [{*step} for step in cut(usual, 4)]
    assert [len(step) for step in steps] == [4, 4, 3] and len(ordered) == len(LENGTHS)
    assert all(LENGTHS[a] <= LENGTHS[b] for step in steps for a, b in pairwise(step))
    # not all in one order: steps stay random
    assert any(LENGTHS[a[-1]] > LENGTHS[b[0]] for a, b in pairwise(steps))


def test_epochs_are_other_orders_and_an_epoch_is_one() -> None:
    ordered = SortedSteps(ROWS, 4, 5)
    first, second = list(ordered), list(ordered)
    assert first != second
    ordered.set_epoch(0)
    assert list(ordered) == first


def test_what_is_evaluated_comes_shortest_first() -> None:
    order = list(Shortest(ROWS))
    assert sorted(order) == list(range(len(LENGTHS)))
    assert [LENGTHS[index] for index in order] == sorted(LENGTHS)
