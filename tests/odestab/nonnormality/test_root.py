"""The bracketed searches against SciPy's and closed forms, many at once."""

import scipy.optimize
import torch
from problems import DTYPE
from torch import Tensor

from odestab.nonnormality.root import Bracket, Illinois, compass_search


def test_regula_falsi_finds_what_brentq_finds() -> None:
    # Convex enough that plain regula falsi keeps one end for ever.
    targets = torch.tensor([0.5, 2.0, 40.0], dtype=DTYPE)

    def falling(x: Tensor) -> Tensor:
        return targets - x**5

    a, b = torch.zeros(3, dtype=DTYPE), torch.full((3,), 3.0, dtype=DTYPE)
    search = Illinois.begun(falling(a))
    evaluations = 0
    for _ in range(40):
        x = a + search.part * (b - a)
        value = falling(x)
        evaluations += 1
        a_moves, b_moves = value > 0, value <= 0
        search = search.moved(value, a_moves, b_moves)
        a, b = torch.where(a_moves, x, a), torch.where(b_moves, x, b)
        if bool((value.abs() < 1e-10).all()):
            break
    expected = [
        scipy.optimize.brentq(lambda x, t=t: t - x**5, 0, 3, xtol=1e-13) for t in targets.tolist()
    ]
    # without halving an end that stays, 40 evaluations leave an error of some 1e-2
    assert evaluations < 30
    torch.testing.assert_close(x, torch.tensor(expected, dtype=DTYPE), rtol=0, atol=1e-9)


def boundary(x: Tensor, reach: float, edge: Tensor, slope_is_known: bool) -> tuple[Tensor, int]:
    """The edge of {x ≤ edge} by the sign of edge − x³ or so."""
    bracket = Bracket.unknown(x, torch.full_like(x, reach))
    for step in range(80):
        gap = edge**3 - x**3
        if bool((gap.abs() < 1e-12 * edge.abs() ** 3).all()):
            return x, step
        inside = gap >= 0
        bracket = bracket.narrowed(x, inside)
        newton = x + gap / (3 * x**2)
        x, bracket = bracket.stepped(x, newton, torch.full_like(inside, slope_is_known), inside)
    return x, 80


def test_newton_in_a_bracket() -> None:
    edge = torch.tensor([0.01, 1.0, 700.0], dtype=DTYPE)
    start = torch.tensor([1e-6, 3.0, 1.0], dtype=DTYPE)  # its first Newton step would go to 1e7
    for known, most in ((True, 30), (False, 70)):
        x, steps = boundary(start, 0.1, edge, known)
        torch.testing.assert_close(x, edge, rtol=1e-10, atol=0)
        assert steps < most


def test_a_compass_finds_the_maximum_beside_each_start() -> None:
    tops = torch.tensor([[0.3, -0.2], [2.0, 1.0]], dtype=DTYPE)

    def evaluate(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        distance = (x - tops[:, :1]) ** 2 + 2 * (y - tops[:, 1:]) ** 2
        return 1 / (1 + distance), x + y

    x = torch.linspace(-1, 3, 5, dtype=DTYPE).expand(2, -1)
    y = torch.zeros(2, 5, dtype=DTYPE)
    begin = (x, y, *evaluate(x, y))
    found = compass_search(
        evaluate, lambda x, y, i, j: (x + i, y + j), begin, (1.0, 2.0), kept=2, rounds=24
    )
    best = found[2].argmax(1, keepdim=True)
    reached = torch.cat([part.gather(1, best) for part in found[:2]], 1)
    torch.testing.assert_close(reached, tops, rtol=0, atol=1e-5)
    torch.testing.assert_close(found[3], found[0] + found[1])
