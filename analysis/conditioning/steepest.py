"""The word of an input to which its margin is most sensitive, to first order."""

import bisect
from collections.abc import Sequence

import numpy as np

from analysis.conditioning.records import LAST, Steepest
from analysis.ground.text_edits import Draft, Texts

Span = tuple[int, int]


def steepest_word(
    texts: Texts, by_token: np.ndarray, spans: Sequence[Span | None]
) -> Steepest | None:
    """The word with the largest share of g², the squared gradient summed over its tokens.

    Args:
        texts: of the input; the words are those of the one that drafts edit.
        by_token: ‖∇m‖ at each token, `(tokens,)`, whose squares sum to g².
        spans: `(begin, end)` of each token in the edited text; None of other tokens.

    Returns:
        The first of equals; None where the gradient vanishes or is no number, or no token is of a
        word.

    Example:
        >>> steepest_word(("so dull",), np.array([3.0, 4.0]), [(0, 2), (3, 7)])
        Steepest(begin=3, end=7, share=0.64)
    """
    size = np.linalg.norm(by_token)
    if not np.isfinite(size) or size == 0:
        return None
    words = Draft.of(texts, LAST).words
    shares = np.zeros(len(words))
    for share, span in zip((by_token / size) ** 2, spans, strict=True):
        index = None if span is None else _word_at(words, span)
        if index is not None:
            shares[index] += share
    if not shares.any():
        return None
    begin, end = words[int(shares.argmax())]
    return Steepest(begin, end, float(shares.max()))


def _word_at(words: Sequence[Span], token: Span) -> int | None:
    """The first word that a token is part of; it may begin with a space, or be punctuation."""
    index = bisect.bisect_right(words, token[0], key=lambda word: word[1])
    return index if index < len(words) and words[index][0] < token[1] else None
