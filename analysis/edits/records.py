"""What `odestab edits` leaves as edits.json, as frozen types. No text is part of it."""

import math
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from analysis.ground.frozen_record import Record
from analysis.ground.json_records import DIGEST, read_record

SCHEMA: Final = 1
Number = float | None  # None is a number that is not finite
Count = Annotated[int, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Point = tuple[Number, Number]  # real and imaginary part
# "model" is what the model does itself, where that is not the explicit walk
Method = Literal["explicit", "implicit", "model"]
# of a token: the same in both texts, another one at its place, in one text alone
Mark = Literal["same", "changed", "removed", "inserted"]
# what decides about the logits, as far as they show it; the convention is the mean where the model
# has no head
Reads = Literal["first token", "other tokens too", "no head"]


class Answer(Record, frozen=True):
    """What a classifier says of both texts.

    The margins differ by the product ‖δ_0‖ · Π growth · gain, exactly.

    Attributes:
        label: index of the output that the margins are of: what it says of the first text.
        margin_before: of the first text.
        margin_after: of the edited one.
        gain: signed, of the readout: (margin_after − margin_before)/‖δ_L‖, over all tokens.
        gain_read: the same per unit of what it reads (`Edit.size_read`).
    """

    label: Count
    margin_before: Number
    margin_after: Number
    gain: Number = None
    gain_read: Number = None

    @property
    def flipped(self) -> bool:
        """The edit changes the answer."""
        return self.margin_after is not None and self.margin_after <= 0


class Walk(Record, frozen=True, kw_only=True):
    """Both texts through all steps of one method, from the states that enter the first.

    Attributes:
        step_sizes: h of each step.
        growth: ‖δ_{l+1}‖/‖δ_l‖ of the states: exact for explicit steps, measured for solved ones.
        by_secant: the same as |R(hζ)|, which solved steps miss by the tolerance of their solver.
        predicted: |R(hζ(start))|, of a step whose secant would not move; no measurement.
        start: ζ between the states that enter each step.
        end: ζ between those that leave it; none of explicit steps.
        converged: both texts were solved; always true of explicit steps.
        sizes: ‖δ_l‖ by level.
    """

    step_sizes: list[float]
    growth: list[Number]
    by_secant: list[Number]
    predicted: list[Number]
    start: list[Point]
    end: list[Point]
    converged: list[bool]
    sizes: list[Number]

    @property
    def log_growth(self) -> list[float]:
        """Of each step, NaN where it has none: they add up to that of the whole stack."""
        return [math.log(value) if value else math.nan for value in self.growth]

    @property
    def whole(self) -> Number:
        """‖δ_L‖/‖δ_0‖, the product of all growth."""
        first, last = self.sizes[0], self.sizes[-1]
        return None if not first or last is None else last / first

    @property
    def solved(self) -> list[bool]:
        """This step and all before it converged: beyond, the path is another one."""
        return [all(self.converged[: step + 1]) for step in range(len(self.converged))]


class Edit(Record, frozen=True, kw_only=True):
    """One pair of texts. Levels are the states before the first layer and after each, L + 1.

    Attributes:
        index: of its pair, from 0.
        kind: of edit, as the file of pairs names it.
        texts: sha256 of both.
        cluster: index of the first pair with the same first text.
        size_whole: ‖δ_l‖ over all tokens, by level, as the model runs.
        size_first: of the first token alone.
        size_read: of what the classifier reads, or the mean of the tokens of a bare encoder.
        answer: None for a bare encoder.
        counts: of both texts' tokens, special ones included.
        marks: of each column of their alignment, in reading order.
        shared: columns with the same token in both texts, special ones not counted.
        size_tokens: ‖δ_l‖ of each column, by level, as the model runs.
        walks: by method.
    """

    index: Count
    kind: str
    texts: tuple[str, str]
    cluster: Count
    size_whole: list[Number]
    size_first: list[Number]
    size_read: list[Number]
    answer: Answer | None
    counts: tuple[Count, Count] = (0, 0)
    marks: list[Mark] = msgspec.field(default_factory=list)
    shared: Count = 0
    size_tokens: list[list[Number]] = msgspec.field(default_factory=list)
    walks: dict[Method, Walk] = msgspec.field(default_factory=dict)

    @property
    def unequal(self) -> bool:
        """A token of one text stands opposite nothing, whose state counts as 0."""
        return "removed" in self.marks or "inserted" in self.marks


class Words(Record, frozen=True):
    """A pair as the page shows it: never part of a record.

    Attributes:
        original: the first text.
        edited: the second.
        columns: of their alignment: the token of each text, None for nothing.
    """

    original: str
    edited: str
    columns: list[tuple[str | None, str | None]]


class Damping(Record, frozen=True, kw_only=True):
    """What one step does to the edits of one kind. Intervals resample originals.

    Attributes:
        kind: of edit.
        method: of the walks.
        step: index of it.
        pairs: that are counted: every solve up to here converged, and growth is a number.
        of: all pairs of the kind.
        clusters: originals that the counted pairs are made from.
        growth: median.
        growth_low: lower end of its 95 % interval; None with one original.
        growth_high: upper end.
        damped: share of pairs with growth below 1.
        damped_low: lower end.
        damped_high: upper end.
    """

    kind: str
    method: Method
    step: Count
    pairs: Count
    of: Count
    clusters: Count
    growth: Number
    growth_low: Number
    growth_high: Number
    damped: Share | None
    damped_low: Share | None
    damped_high: Share | None


class Edits(Record, frozen=True, kw_only=True):
    """edits.json.

    Attributes:
        schema: of this file.
        model: as it was named.
        identity: `ModelIdentity.as_dict()` of it.
        layers: L; where a checkpoint declares several substeps for a layer, each counts.
        edits: every pair that was measured.
        left_out: index of a pair to the reason why it was not.
        versions: of what it ran on.
        steps: names of the L steps: "0" is layer 0, "0.1" the first substep of it.
        step_size: h of a layer for the explicit and the implicit walk.
        as_run: the walk that the model takes itself.
        reads: what decides about the logits.
        labels: names of the outputs; none of a bare encoder, one of a regression.
        dtype: of the states.
        seed: of the resamples.
        damping: by kind, method and step.
    """

    schema: Literal[1] = SCHEMA
    model: str
    identity: dict[str, str | None]
    layers: Count
    edits: list[Edit]
    left_out: dict[str, str]
    versions: dict[str, str]
    steps: list[str] = msgspec.field(default_factory=list)
    step_size: float = 1.0
    as_run: Method = "explicit"
    reads: Reads = "no head"
    labels: list[str] = msgspec.field(default_factory=list)
    dtype: str = "float64"
    seed: Count = 0
    damping: list[Damping] = msgspec.field(default_factory=list)

    @property
    def methods(self) -> list[Method]:
        """Of the walks, in the order in which they are shown."""
        return ["explicit", "implicit", *(["model"] if self.as_run == "model" else [])]  # type: ignore[list-item]


def read_edits(path: Path) -> Edits:
    """The record in edits.json.

    Raises:
        ValueError: one line that names the file, if it is no strict JSON, its digest is wrong, or
            an entry is missing, unknown or not as declared.
        OSError: if it cannot be read.
    """
    values = read_record(path, dict, "the record of edits", SCHEMA)
    values.pop(DIGEST, None)
    try:
        return msgspec.convert(values, Edits)
    except msgspec.ValidationError as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None
