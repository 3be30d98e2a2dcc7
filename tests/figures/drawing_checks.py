"""What every figure keeps to, whichever run it draws."""

from collections.abc import Callable

import pytest
from matplotlib.figure import Figure

from analysis.run import Measurements
from figures import style


def draw_on_given_axes(
    draw: Callable[..., Figure], run: Measurements, monkeypatch: pytest.MonkeyPatch
) -> Figure:
    """Draw on the left of two panels: no figure is made, the right one stays empty, and the legend
    is left to its owner.
    """
    figure = Figure()
    left, right = figure.subplots(1, 2)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("made a figure")

    monkeypatch.setattr(style, "Figure", refuse)
    assert draw(run, ax=left) is figure
    assert left.has_data() and not right.has_data() and not figure.legends
    assert left.get_legend() or left.get_legend_handles_labels()[1], (
        "somebody else's panel must offer its legend entries"
    )
    return figure
