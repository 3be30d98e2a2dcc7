"""Which pairs of texts can be measured, why the others cannot, and which go together."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.config import Pair, read_texts
from analysis.ground.labelled_tables import USUAL, ColumnNames

if TYPE_CHECKING:  # loads torch
    from analysis.study import Study

SPECIAL = ("cls_token_id", "sep_token_id", "pad_token_id", "bos_token_id", "eos_token_id")
ALIKE = "both texts have the same tokens: δ = 0, the model cannot tell them apart"


def read_pairs(path: Path, names: ColumnNames = USUAL) -> tuple[Pair, ...]:
    """The pairs in a file of texts, see `read_texts`; named columns are texts and their edits.

    Raises:
        ValueError: if it has none, or is no such file.
        OSError: if it cannot be read.
    """
    texts, pairs = read_texts(path, names, edits=True)
    if not pairs:
        raise ValueError(
            f"{path}: expected pairs, original<TAB>edited or kind<TAB>original<TAB>edited, or a "
            f"table with columns original and edited, got {len(texts)} texts without an edit"
        )
    return pairs


def clusters(pairs: Sequence[Pair]) -> list[int]:
    """Of each pair the index of the first one with the same original."""
    firsts: dict[str, int] = {}
    return [firsts.setdefault(pair.original, place) for place, pair in enumerate(pairs)]


def usable(study: "Study") -> tuple[list[int], dict[str, str]]:
    """Indices of the study's pairs that can be measured, short ones first, and of the others the
    reason why not.
    """
    special = special_tokens(study.tokenizer)
    lengths: dict[int, int] = {}
    left_out: dict[str, str] = {}
    for place, pair in enumerate(study.config.pairs):
        rows = study.tokenizer([pair.original, pair.edited], verbose=False)["input_ids"]
        reason = _reason(rows[0], rows[1], special, study.max_tokens)
        if reason is None:
            lengths[place] = max(map(len, rows))
        else:
            left_out[str(place)] = reason
    return sorted(lengths, key=lambda place: (lengths[place], place)), left_out


def special_tokens(tokenizer: object) -> frozenset[int]:
    """The ids that begin, part and end a text, or fill it up; an unknown word is none of them."""
    return frozenset(
        number for name in SPECIAL if (number := getattr(tokenizer, name, None)) is not None
    )


def batches(places: Sequence[int], size: int) -> list[list[int]]:
    """The places in runs of at most so many: neighbours have like lengths."""
    return [list(places[start : start + size]) for start in range(0, len(places), size)]


def _reason(
    original: list[int], edited: list[int], special: frozenset[int], limit: int
) -> str | None:
    """Why a pair cannot be measured; None if it can."""
    if original == edited:
        return ALIKE
    if (longest := max(len(original), len(edited))) > limit:
        return f"{longest} tokens, more than the {limit} that the model takes"
    for name, tokens in (("original", original), ("edited text", edited)):
        if special.issuperset(tokens):
            return f"its {name} has no token beside special ones"
    return None
