"""Words that may stand for each other where there is no table of synonyms: near neighbours among a
model's own word embeddings.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from analysis.conditioning.drafts import CANDIDATES
from analysis.conditioning.records import NEAREST
from analysis.ground.stopwords import STOPWORDS
from analysis.ground.synonyms import Synonyms

SOURCE = (
    f"the {CANDIDATES} {NEAREST} by cosine in the model's own word embeddings, opposites among them"
)
STARTS = ("Ġ", "▁")  # how vocabularies of bytes and of pieces mark the start of a word
AT_ONCE = 512  # words whose cosines with all others are held at once


def nearest_words(tokenizer: Any, embeddings: Tensor, words: Iterable[str]) -> Synonyms:
    """For each word that is one token, the nearest other words of the vocabulary, nearest first.

    Args:
        tokenizer: of the model.
        embeddings: its matrix of word embeddings, `(vocabulary, hidden)`.
        words: in lower case.
    """
    whole = _whole_words(tokenizer.get_vocab())
    names = sorted(whole)
    place = {name: index for index, name in enumerate(names)}
    known = sorted(set(words) & set(names))
    if not known or len(names) < 2:
        return {}
    rows = torch.tensor([whole[name] for name in names])
    unit = torch.nn.functional.normalize(embeddings.detach().float().cpu()[rows], dim=1)
    nearest: dict[str, tuple[str, ...]] = {}
    for start in range(0, len(known), AT_ONCE):
        asked = known[start : start + AT_ONCE]
        own = torch.tensor([place[name] for name in asked])
        cosines = unit[own] @ unit.T
        cosines[torch.arange(len(asked)), own] = -torch.inf
        mates = cosines.topk(min(CANDIDATES, len(names) - 1), dim=1).indices.tolist()
        nearest |= {
            word: tuple(names[mate] for mate in row) for word, row in zip(asked, mates, strict=True)
        }
    return nearest


def _whole_words(vocabulary: Mapping[str, int]) -> dict[str, int]:
    """Words of two letters or more, in lower case and no function words, that are one token."""
    mark = next((mark for mark in STARTS if any(token[:1] == mark for token in vocabulary)), "")
    found = {}
    for token, index in vocabulary.items():
        word = token.removeprefix(mark)
        # Without its mark a token continues a word; bytes beyond ASCII are other letters there.
        starts = token != word or not mark
        plain = word.isalpha() and word == word.lower() and (mark != STARTS[0] or word.isascii())
        if starts and plain and len(word) > 1 and word not in STOPWORDS:
            found[word] = index
    return found
