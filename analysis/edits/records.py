"""What `odestab edits` leaves as edits.json, as frozen types. No text is part of it."""

from typing import Annotated, Literal

import msgspec

from analysis.ground.frozen_record import Record

SCHEMA = 1
Number = float | None  # None is a number that is not finite
Count = Annotated[int, msgspec.Meta(ge=0)]


class Answer(Record, frozen=True):
    """What a classifier says of both texts.

    Attributes:
        label: index of the output that the margins are of: what it says of the first text.
        margin_before: of the first text.
        margin_after: of the edited one.
    """

    label: Count
    margin_before: Number
    margin_after: Number

    @property
    def flipped(self) -> bool:
        """The edit changes the answer."""
        return self.margin_after is not None and self.margin_after <= 0


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
    """

    index: Count
    kind: str
    texts: tuple[str, str]
    cluster: Count
    size_whole: list[Number]
    size_first: list[Number]
    size_read: list[Number]
    answer: Answer | None


class Edits(Record, frozen=True, kw_only=True):
    """edits.json.

    Attributes:
        schema: of this file.
        model: as it was named.
        identity: `ModelIdentity.as_dict()` of it.
        layers: L.
        edits: every pair that was measured.
        left_out: index of a pair to the reason why it was not.
        versions: of what it ran on.
    """

    schema: Literal[1] = SCHEMA
    model: str
    identity: dict[str, str | None]
    layers: Count
    edits: list[Edit]
    left_out: dict[str, str]
    versions: dict[str, str]
