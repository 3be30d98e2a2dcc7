"""Random edits of a text, drawn so that no draft depends on what is measured beside it."""

import abc
import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

import numpy as np

from analysis.conditioning.records import LAST, Family, Input
from analysis.ground.character_edits import editable, random_edits
from analysis.ground.synonyms import Synonyms
from analysis.ground.text_edits import Changes, Draft, Edited, Texts, in_case_of

CANDIDATES = 8  # the first so many synonyms of a word are drawn from, as the attack does


class AbstractDrafts(abc.ABC):
    """A family of edits of a few words."""

    name: ClassVar[str]
    max_edits: int

    @abc.abstractmethod
    def changes(self, words: list[str], draw: np.random.Generator) -> Changes:
        """Some words replaced at random; empty where there is nothing to edit."""

    @property
    @abc.abstractmethod
    def source(self) -> str | None:
        """What words are replaced by."""

    def record(self, drafts: int) -> Family:
        """How `drafts` of them are drawn."""
        return Family(drafts, self.max_edits, self.source)


@dataclasses.dataclass(frozen=True)
class CharacterDrafts(AbstractDrafts):
    """One letter swapped, left out, put in or replaced by a look-alike in each of a few words.

    Attributes:
        max_edits: words that are edited, fewer where there are fewer.
    """

    name: ClassVar[str] = "characters"
    max_edits: int = 3

    @property
    def source(self) -> None:
        return None

    def changes(self, words: list[str], draw: np.random.Generator) -> Changes:
        able = editable(words)
        return random_edits(words, able, self.max_edits, draw) if able else {}


@dataclasses.dataclass(frozen=True)
class WordDrafts(AbstractDrafts):
    """A few words replaced by others.

    Attributes:
        mates: word in lower case → what may stand for it, the nearest first.
        told: where they come from, in words.
        max_edits: words that are replaced, fewer where there are fewer.
    """

    name: ClassVar[str] = "words"
    mates: Synonyms = dataclasses.field(repr=False)
    told: str
    max_edits: int = 3

    @property
    def source(self) -> str:
        return self.told

    def changes(self, words: list[str], draw: np.random.Generator) -> Changes:
        able = [index for index in editable(words) if self.mates.get(words[index].lower())]
        if not able:
            return {}
        chosen = draw.choice(able, size=min(self.max_edits, len(able)), replace=False)
        changed = {}
        for index in map(int, chosen):
            word = words[index]
            mates = self.mates[word.lower()][:CANDIDATES]
            changed[index] = in_case_of(word, mates[int(draw.integers(len(mates)))])
        return changed


def text_digest(texts: Texts) -> str:
    """Sha256 of a text, of a pair of both joined by a line break."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def drafts_of(texts: Texts, family: AbstractDrafts, count: int, seed: int) -> list[Texts]:
    """`count` random edits of a text, of a pair of its second text.

    Draft k has a source of randomness of its own, from the seed, the text, the family and k: it is
    the same in any batch, order or file, and with any other `count`.
    """
    text = Draft.of(texts, LAST)
    return [text.changed(changes) for changes in _drawn(text, family, range(count), seed)]


def weakest_of(
    row: Input, texts: Texts, families: Iterable[AbstractDrafts], seed: int
) -> dict[str, Edited]:
    """By family the draft that leaves an input the least margin, drawn again; without those that
    have none.

    Args:
        row: the input.
        texts: of it.
        families: that drafted it, with the words that they drew from.
        seed: of the drafts.
    """
    text = Draft.of(texts, LAST)
    drawn = {}
    for family in families:
        number = row.drafts[family.name].weakest
        if number is not None:
            (changes,) = _drawn(text, family, [number], seed)
            drawn[family.name] = text.edited(changes)
    return drawn


def _drawn(
    text: Draft, family: AbstractDrafts, numbers: Iterable[int], seed: int
) -> Iterator[Changes]:
    """What the drafts of these numbers replace."""
    words = [text.word(index) for index in range(len(text.words))]
    digest = text_digest(text.texts)
    for number in numbers:
        purpose = f"{seed}/{digest}/{family.name}/{number}"
        key = hashlib.sha256(purpose.encode()).digest()
        yield family.changes(words, np.random.default_rng(int.from_bytes(key, "little")))


def words_of(rows: Iterable[Texts]) -> set[str]:
    """Every word, in lower case, that an edit of the rows may replace."""
    found = set()
    for texts in rows:
        text = Draft.of(texts, LAST)
        words = [text.word(index) for index in range(len(text.words))]
        found |= {words[index].lower() for index in editable(words)}
    return found


FAMILIES: Mapping[str, type[AbstractDrafts]] = {
    kind.name: kind for kind in (CharacterDrafts, WordDrafts)
}
