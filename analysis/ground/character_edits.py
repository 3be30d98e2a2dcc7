"""Typing errors and look-alike letters, drawn at random."""

import string
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from analysis.ground.stopwords import STOPWORDS

Operation = Callable[[str, np.random.Generator], str | None]

LOOK_ALIKES = {  # Latin letters and the Cyrillic ones that are drawn like them
    "a": "а",
    "c": "с",
    "d": "ԁ",
    "e": "е",
    "h": "һ",
    "i": "і",
    "j": "ј",
    "o": "о",
    "p": "р",
    "q": "ԛ",
    "s": "ѕ",
    "w": "ԝ",
    "x": "х",
    "y": "у",
    "A": "А",
    "B": "В",
    "C": "С",
    "E": "Е",
    "H": "Н",
    "I": "І",
    "J": "Ј",
    "K": "К",
    "M": "М",
    "O": "О",
    "P": "Р",
    "S": "Ѕ",
    "T": "Т",
    "X": "Х",
    "Y": "У",
}


def swap(word: str, draw: np.random.Generator) -> str | None:
    """Two neighbouring letters exchanged, the first letter kept; None if no pair differs."""
    return _picked(
        [
            word[:i] + word[i + 1] + word[i] + word[i + 2 :]
            for i in range(1, len(word) - 1)
            if word[i] != word[i + 1]
        ],
        draw,
    )


def delete(word: str, draw: np.random.Generator) -> str | None:
    """One letter left out, the first one kept; None for a single letter."""
    return _picked([word[:i] + word[i + 1 :] for i in range(1, len(word))], draw)


def insert(word: str, draw: np.random.Generator) -> str | None:
    """One lower-case letter more, not in front."""
    i = int(draw.integers(1, len(word) + 1))
    letter = str(draw.choice(list(string.ascii_lowercase)))
    return word[:i] + letter + word[i:]


def homoglyph(word: str, draw: np.random.Generator) -> str | None:
    """One letter replaced by one that looks the same; None if no letter has one."""
    return _picked(
        [
            word[:i] + LOOK_ALIKES[letter] + word[i + 1 :]
            for i, letter in enumerate(word)
            if letter in LOOK_ALIKES
        ],
        draw,
    )


OPERATIONS: Mapping[str, Operation] = {
    "swap": swap,
    "delete": delete,
    "insert": insert,
    "homoglyph": homoglyph,
}


def editable(words: Sequence[str], stopwords: bool = False) -> list[int]:
    """Which words may be edited: those of two letters or more, and no function words or negations
    unless `stopwords`.
    """
    return [
        index
        for index, word in enumerate(words)
        if len(word) > 1 and (stopwords or word.lower() not in STOPWORDS)
    ]


def random_edits(
    words: Sequence[str],
    able: Sequence[int],
    most: int,
    draw: np.random.Generator,
    operations: Sequence[str] = tuple(OPERATIONS),
) -> dict[int, str]:
    """One random operation on each of `most` random words, or on all where there are fewer.

    Args:
        words: of a text.
        able: which of them may be edited, at least one.
        most: how many are.
        draw: the source of randomness.
        operations: to choose from, by name.

    Returns:
        The edited words by index; a word that its operation cannot change is left out.
    """
    chosen = draw.choice(able, size=min(most, len(able)), replace=False)
    names = draw.choice(operations, size=len(chosen))
    edited = {
        int(index): OPERATIONS[str(name)](words[int(index)], draw)
        for index, name in zip(chosen, names, strict=True)
    }
    return {index: word for index, word in edited.items() if word is not None}


def _picked(choices: list[str], draw: np.random.Generator) -> str | None:
    return choices[int(draw.integers(len(choices)))] if choices else None
