"""A number with its interval, as the records of a verdict hold it."""

from typing import Annotated

import msgspec

from analysis.ground.frozen_record import Record

Number = float | None  # None is a number that is not known
Count = Annotated[int, msgspec.Meta(ge=0)]


class Estimate(Record, frozen=True):
    """A number and the ends of its 95 % interval over resamples of sentences.

    Attributes:
        value: on what was measured; None where it is not defined.
        low: None where fewer than five sentences flip, or hold.
        high: likewise.
    """

    value: Number
    low: Number
    high: Number

    @property
    def above_zero(self) -> bool:
        """The whole interval is."""
        return self.low is not None and self.low > 0

    @property
    def below_zero(self) -> bool:
        """The whole interval is."""
        return self.high is not None and self.high < 0

    @property
    def words(self) -> str:
        """As it is written: 0.74 [0.70, 0.77]; a dash for a value that is not known."""
        return self._written("{:.2f}")

    @property
    def signed(self) -> str:
        """As a difference is written: +0.120 [+0.090, +0.150]."""
        return self._written("{:+.3f}").replace("-", "−")

    def _written(self, form: str) -> str:
        if self.value is None:
            return "–"
        value = form.format(self.value)
        if self.low is None or self.high is None:
            return value
        return f"{value} [{form.format(self.low)}, {form.format(self.high)}]"
