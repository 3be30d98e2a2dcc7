"""Every figure test starts from matplotlib's defaults and leaves neither figures nor settings
behind.
"""

from collections.abc import Iterator

import matplotlib as mpl
import pytest
from matplotlib import pyplot


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    pyplot.close("all")  # what a test elsewhere has left is no fault of this one
    before = dict(mpl.rcParams)
    yield
    left = pyplot.get_fignums()
    pyplot.close("all")
    assert not left, "a figure was left open"
    assert dict(mpl.rcParams) == before, "a global setting was changed"
