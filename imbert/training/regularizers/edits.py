"""Random edits of the texts of a micro-batch."""

import dataclasses

import numpy as np
import torch
from torch import Tensor

from analysis.ground.character_edits import editable, random_edits
from analysis.ground.text_edits import Changes, Draft
from imbert.training.regularizers.regularizer import Batch, Encoded, MicroBatch, Texts

DRAFTS = 8  # of a text whose edits should have as many tokens
LAST = -1  # of a pair the second text is edited, as attacks do


@dataclasses.dataclass(frozen=True, eq=False)
class EditedPair:
    """A micro-batch and its edited twin, of one shape.

    Attributes:
        clean: what the model is called with, labels included.
        edited: the same of the edited texts, without labels.
        changed: `(batch,)`, whether an example has an edit; the others stand twice as they are.
    """

    clean: Encoded
    edited: Encoded
    changed: Tensor


def edited_pair(
    micro: MicroBatch, edits: str, max_edits: int, equal_counts: bool = False
) -> EditedPair:
    """Every text with a random edit.

    Args:
        micro: the micro-batch.
        edits: "tokens": some words' tokens become tokens of other training texts. "characters":
            letters of some words are swapped, left out, put in or replaced by look-alikes, and the
            text is tokenised anew.
        max_edits: so many tokens or words, fewer where there are fewer.
        equal_counts: whether each edited word must keep its count of tokens, so that tokens stand
            where they stood. Of characters some drafts are looked at, and an example without such a
            draft is left unchanged.
    """
    if edits == "tokens":
        edited = _with_tokens(micro, max_edits)
    else:
        edited = _with_characters(micro, max_edits, equal_counts)
    width = max(edited["input_ids"].shape[1], micro.words.shape[1])
    clean = micro.widen(micro.batch, width)
    edited = micro.widen(edited, width)
    changed = (clean["input_ids"] != edited["input_ids"]).any(1)
    return EditedPair(clean, edited, changed)


def _with_tokens(micro: MicroBatch, most: int) -> Encoded:
    """Tokens in place of some words' tokens."""
    ids = micro.batch["input_ids"].cpu().clone()
    for row, words, draw in zip(ids, micro.words.cpu(), micro.draws, strict=True):
        places = words.nonzero()[:, 0].numpy()
        chosen = draw.choice(places, size=min(most, len(places)), replace=False)
        row[torch.from_numpy(chosen)] = torch.from_numpy(draw.choice(micro.vocabulary, len(chosen)))
    rest = {name: value for name, value in micro.batch.items() if name != "labels"}
    return {**rest, "input_ids": ids.to(micro.batch["input_ids"].device)}


def _with_characters(micro: MicroBatch, most: int, equal_counts: bool) -> Encoded:
    """The texts with some words edited, tokenised anew."""
    width = micro.words.shape[1]
    texts = list(micro.texts)
    wanting = list(range(len(texts)))
    for _ in range(DRAFTS if equal_counts else 1):
        changes = [_changes(micro.texts[row], most, micro.draws[row]) for row in wanting]
        drafts = [
            Draft.of(micro.texts[row], LAST).changed(words)
            for row, words in zip(wanting, changes, strict=True)
        ]
        if equal_counts:
            aligned = _aligned(micro, wanting, changes)
            others = _differ(micro, wanting, micro.encode(drafts, width))
            kept = [one and other for one, other in zip(aligned, others, strict=True)]
        else:
            kept = [True] * len(wanting)
        for row, draft, good in zip(wanting, drafts, kept, strict=True):
            texts[row] = draft if good else texts[row]
        wanting = [row for row, good in zip(wanting, kept, strict=True) if not good]
        if not wanting:
            break
    return micro.encode(texts, width)


def _changes(texts: Texts, most: int, draw: np.random.Generator) -> Changes:
    """A random edit of each of some words; empty where no word can be edited."""
    text = Draft.of(texts, LAST)
    words = [text.word(index) for index in range(len(text.words))]
    able = editable(words)
    return random_edits(words, able, most, draw) if able else {}


def _aligned(micro: MicroBatch, rows: list[int], changes: list[Changes]) -> list[bool]:
    """Whether each edited word keeps its count of tokens.

    A word is edited alone, so that two counts cannot make up for each other, and nothing is cut, so
    that the end of the text cannot either.
    """
    owners = [row for row, words in zip(rows, changes, strict=True) for _ in words]
    alone = [
        Draft.of(micro.texts[row], LAST).changed({index: words[index]})
        for row, words in zip(rows, changes, strict=True)
        for index in words
    ]
    if not alone:
        return [True] * len(rows)
    before = dict(zip(rows, micro.count([micro.texts[row] for row in rows]), strict=True))
    counts = micro.count(alone)
    moved = {row for row, count in zip(owners, counts, strict=True) if count != before[row]}
    return [row not in moved for row in rows]


def _differ(micro: MicroBatch, rows: list[int], drafts: Batch) -> list[bool]:
    """Whether drafts of some examples have other tokens than their texts."""
    width = micro.words.shape[1]
    # a longer draft makes the batch wider than the texts' own
    ids = micro.widen(micro.batch, max(width, drafts["input_ids"].shape[1]))
    differ: list[bool] = (drafts["input_ids"] != ids["input_ids"][rows]).any(1).tolist()
    return differ
