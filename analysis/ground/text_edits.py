"""The words of a text, and the text with some of them replaced."""

import dataclasses
from collections.abc import Mapping

import regex

# letters and digits with their combining marks, which Python's own \w has not
WORD = regex.compile(r"[\p{L}\p{N}][\p{L}\p{N}\p{M}]*(?:['’-][\p{L}\p{N}][\p{L}\p{N}\p{M}]*)*")
Texts = tuple[str, ...]
Changes = Mapping[int, str]


@dataclasses.dataclass(frozen=True)
class Edited:
    """A text after an edit.

    Attributes:
        text: the text.
        changed: `(begin, end)` in it of each word that was replaced.
    """

    text: str
    changed: tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class Draft:
    """The texts of an example, one of which is edited word by word; what stands between the words
    stays.

    Attributes:
        texts: as given.
        part: which text is edited, as an index.
        words: `(begin, end)` of each word in it.
    """

    texts: Texts
    part: int
    words: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, texts: Texts, part: int) -> "Draft":
        """Find the words.

        Raises:
            ValueError: if there is no such part.
        """
        if not -len(texts) <= part < len(texts):
            raise ValueError(f"part must be an index of the {len(texts)} texts, got {part}")
        index = part % len(texts)
        return cls(texts, index, tuple(match.span() for match in WORD.finditer(texts[index])))

    def word(self, index: int) -> str:
        """One of the words."""
        begin, end = self.words[index]
        return self.texts[self.part][begin:end]

    def changed(self, changes: Changes) -> Texts:
        """The texts with some words replaced; an empty replacement deletes the word."""
        text = self.edited(changes).text
        return (*self.texts[: self.part], text, *self.texts[self.part + 1 :])

    def edited(self, changes: Changes) -> Edited:
        """The edited text with some words replaced, and where."""
        given = self.texts[self.part]
        text, copied = "", 0
        spans = []
        for index in sorted(changes):
            begin, end = self.words[index]
            text += given[copied:begin]
            spans.append((len(text), len(text) + len(changes[index])))
            text += changes[index]
            copied = end
        return Edited(text + given[copied:], tuple(spans))


def in_case_of(word: str, mate: str) -> str:
    """The mate in capitals, capitalised or as it is, as the word is."""
    if len(word) > 1 and word.isupper():
        return mate.upper()
    return mate[:1].upper() + mate[1:] if word[:1].isupper() else mate
