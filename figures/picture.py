"""One picture of the report: how it is drawn, the finding that stands above it, and its caption."""

import dataclasses
from collections.abc import Callable
from typing import TypeVar

from matplotlib.figure import Figure

from analysis.quantities import QUANTITIES, Shortfall
from analysis.quantities.registry import shortfalls_of
from analysis.run import Measurements
from figures import selection
from figures.findings import NOTHING

Drawn = TypeVar("Drawn", Figure, str)
NOT_A_NUMBER = "It was measured, but no finite number says anything about it."


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure of the report.

    Attributes:
        quantity: by whose name a run has the picture.
        title: its heading.
        name: of its files.
        draw: measurements and step size → figure.
        finding: measurements and step size → a sentence computed from the numbers.
        caption: what is drawn; its first sentence names the figure.
        always: whether a run that did not measure the quantity shows an empty picture.
        about: of which of its quantities in words it tells, by their beginnings; empty for all.
        also: other quantities that it draws.
        medians: whether its caption tells of medians over texts, which one text does not have.
    """

    quantity: str
    title: str
    name: str
    draw: Callable[[Measurements, float], Figure]
    finding: Callable[[Measurements, float], str]
    caption: str
    always: bool = False
    about: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    medians: bool = False

    def told(self, run: Measurements, step_size: float) -> str:
        """The finding, and after it how much of what it is about is not certain."""
        sentence, doubted = self.finding(run, step_size), doubt(self.shortfalls(run))
        if not doubted:
            return sentence
        # What has a shortfall was measured.
        return f"{NOT_A_NUMBER if sentence == NOTHING else sentence} {doubted}"

    def shortfalls(self, run: Measurements) -> list[Shortfall]:
        """What of the picture did not converge, is not finite or is only a lower bound."""
        known = [
            shortfall
            for quantity in QUANTITIES
            if quantity.name in (self.quantity, *self.also)
            for shortfall in shortfalls_of(quantity, run.datasets)
        ]
        return [
            shortfall
            for shortfall in known
            if not self.about or shortfall.quantity.startswith(self.about)
        ]


def at_measured_step(
    quantity: str, function: Callable[..., Drawn]
) -> Callable[[Measurements, float], Drawn]:
    """A figure or a finding of a quantity that need not be measured at the report's step size: the
    function chooses where it was not.
    """
    return lambda run, h: function(run, step_size=selection.measured_step(run, quantity, h))


def doubt(shortfalls: list[Shortfall]) -> str:
    """How many values have which fault; empty where none has."""
    faults: dict[str, int] = {}
    for shortfall in shortfalls:
        faults[shortfall.fault] = faults.get(shortfall.fault, 0) + shortfall.count
    counts = ", ".join(f"{count} {fault}" for fault, count in faults.items())
    return f"Uncertain over all layers and step sizes: {counts}." if counts else ""
