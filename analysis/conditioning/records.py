"""What `odestab condition` leaves as condition.json, as frozen types. No text is part of it."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from analysis.ground.frozen_record import Record
from analysis.ground.json_records import read_json
from analysis.ground.text_edits import Texts

NEAREST = "nearest whole words"  # in the source of words that come from no table
LAST = -1  # of a pair the second text is edited, as attacks do
SCHEMA: Literal[1] = 1
Number = float | None  # None is a number that is not finite
Count = Annotated[int, msgspec.Meta(ge=0)]


class Drafted(Record, frozen=True):
    """One input under K random drafts of a family of edits.

    Attributes:
        count: drafts that differ from the text; 0 where there is nothing to edit.
        spread: standard deviation of the margin over them, of a sample (n − 1); None of fewer than
            two.
        least: smallest margin over them.
        flipped: drafts whose margin is not positive.
        growth: median over drafts of ‖δ_l‖/‖δ_0‖ after l = 0, …, L layers, where ‖δ_0‖ > 0: δ_l is
            the difference of the hidden states, tokens aligned, a token of one text only opposite
            a state of 0.
        weakest: number k of the draft with the smallest margin, by which `drafts.weakest_of` draws
            it again; None where there is none, or a record is older.
    """

    count: Count
    spread: Number
    least: Number
    flipped: Count
    growth: list[Number]
    weakest: Count | None = None


class Steepest(Record, frozen=True):
    """The word at which the margin's gradient is largest, by its place: no text is kept.

    Attributes:
        begin: its first letter in the text that drafts edit, of a pair the second one.
        end: after its last letter.
        share: of g² that its tokens have, in 0..1; g is over all texts of the input.
    """

    begin: Count
    end: Count
    share: float

    def word(self, texts: Texts) -> str:
        """The word itself, from the texts of its input."""
        return texts[LAST][self.begin : self.end]


class Input(Record, frozen=True):
    """One input, in the order of the file.

    Attributes:
        index: of its row, from 0.
        text: sha256 of the text, of a pair of both joined by a line break.
        words: split at white space.
        tokens: real tokens, special ones included.
        label: index of the output that the margin is of.
        predicted: index of the largest output.
        margin: m, logit of the label less the largest other one.
        gradient: g = ‖∇_e m‖.
        distance: |m|/g; None where the gradient vanishes.
        relative: g‖e‖/|m|; None where the margin vanishes.
        flat: the gradient vanishes: first order says nothing.
        drafts: by family.
        finite: margin and gradient are numbers; else nothing is known of this input.
        truncated: the text is longer than what is read, and was cut.
        solved: every implicit step that the model declares was solved, of the text and its drafts.
        steepest: the word at which the gradient is largest; None where the gradient vanishes, no
            word is read, the tokenizer does not say where its tokens stand, or a record is older.
    """

    index: Count
    text: str
    words: Count
    tokens: Count
    label: Count
    predicted: Count
    margin: Number
    gradient: Number
    distance: Number
    relative: Number
    flat: bool
    drafts: dict[str, Drafted]
    finite: bool = True
    truncated: bool = False
    solved: bool = True
    steepest: Steepest | None = None

    @property
    def right(self) -> bool:
        """The model answers with the label."""
        return self.finite and self.label == self.predicted

    @property
    def wrong(self) -> bool:
        """The model answers otherwise: no edit can flip it."""
        return self.finite and not self.right

    @property
    def least(self) -> Number:
        """The smallest margin over the drafts of all families; None where none is known."""
        known = [drafted.least for drafted in self.drafts.values() if drafted.least is not None]
        return min(known, default=None)


class Family(Record, frozen=True):
    """How the drafts of a family are drawn.

    Attributes:
        drafts: K.
        max_edits: words of a text that a draft changes at most.
        source: what words are replaced by; None for characters.
    """

    drafts: Count
    max_edits: Count
    source: str | None

    @property
    def may_change_meaning(self) -> bool:
        """Words are replaced by what stands near them, opposites among it: a flip may be right."""
        return self.source is not None and NEAREST in self.source


class Condition(Record, frozen=True, kw_only=True):
    """condition.json.

    Attributes:
        schema: of this file.
        model: as it was named.
        identity: `ModelIdentity.as_dict()` of it.
        labels: names of the outputs.
        labels_given: the file has labels; else the predicted ones stand for them.
        examples: sha256 of all rows, texts with labels, as `imbert` computes it.
        families: by name.
        seed: of the drafts.
        layers: L.
        inputs: every row.
        versions: of what it ran on.
        columns: of the file that the texts come from.
        max_tokens: that are read of a text, special ones included; 0 where it is not known.
        dtype: of the model.
    """

    schema: Literal[1] = SCHEMA
    model: str
    identity: dict[str, str | None]
    labels: list[str]
    labels_given: bool
    examples: str
    families: dict[str, Family]
    seed: Count
    layers: Count
    inputs: list[Input]
    versions: dict[str, str]
    columns: tuple[str, ...] = ()
    max_tokens: Count = 0
    dtype: str = "float32"

    def ranked(self) -> list[Input]:
        """The most fragile first: right answers by the share of random drafts that flip them, then
        by the least margin that a draft leaves (the margin itself where nothing was drafted), then
        by g; after them wrong answers, and last inputs without finite numbers, of the drafts too.
        """
        return sorted(self.inputs, key=_fragility)


def _fragility(row: Input) -> tuple[bool, bool, float, float, float, int]:
    drafts = row.drafts.values()
    count = sum(drafted.count for drafted in drafts)
    share = sum(drafted.flipped for drafted in drafts) / count if count else 0.0
    least = row.margin or 0.0 if row.least is None else row.least
    finite = row.finite and all(drafted.least is not None for drafted in drafts if drafted.count)
    return (not finite, not row.right, -share, least, -(row.gradient or 0.0), row.index)


def read_condition(path: Path) -> Condition:
    """What is in condition.json.

    Raises:
        ValueError: one line that names the file, if it is no strict JSON or an entry is unknown,
            missing or wrong.
        OSError: if it cannot be read.
    """
    try:
        return msgspec.convert(read_json(path), Condition)
    except msgspec.ValidationError as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None
