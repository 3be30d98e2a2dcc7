"""Typing errors and look-alike letters."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from analysis.ground.character_edits import OPERATIONS, editable, random_edits
from imbert.attacks.text_attack import (
    AbstractTextAttack,
    Search,
    Victim,
    by_importance,
    check_budget,
    greedy,
)

if TYPE_CHECKING:
    from imbert.attacks.choice import AttackChoice

ORDERS = ("greedy", "random")
AT_ONCE = 10  # random drafts of an example in one batch


@dataclasses.dataclass(frozen=True)
class CharacterEdits(AbstractTextAttack):
    """At most one edit of a letter in each of a few words (after Gao et al. 2018).

    "greedy" ranks the words by what their deletion costs, at most half of the budget, and edits
    them in that order; "random" draws words and edits anew for every query and keeps the first
    draft that makes the model wrong, else the worst.

    Attributes:
        operations: out of "swap", "delete", "insert", "homoglyph".
        max_edits: edited words of a text at most.
        order: "greedy" or "random".
        queries: at most so many for an example.
        stopwords: whether function words and negations may be edited too.
        candidates: edits that are tried for a word, in turn of the operations.
        part: which text is edited; −1 is the last one.

    Raises:
        ValueError: if an option is unknown or out of range.
    """

    name: ClassVar[str] = "characters"
    operations: tuple[str, ...] = tuple(OPERATIONS)
    max_edits: int = 3
    order: str = "greedy"
    queries: int = 100
    stopwords: bool = False
    candidates: int = 8
    part: int = -1

    def __post_init__(self) -> None:
        check_budget(self.queries)
        unknown = [name for name in self.operations if name not in OPERATIONS]
        if unknown or not self.operations:
            raise ValueError(
                "operations must be some of "
                f"{', '.join(OPERATIONS)}, got {', '.join(unknown) or 'none'}"
            )
        if self.order not in ORDERS:
            raise ValueError(f"order must be one of {', '.join(ORDERS)}, got {self.order!r}")
        for name in ("max_edits", "candidates"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")

    @classmethod
    def chosen(cls, choice: "AttackChoice", radius: float, data: Path) -> Self:
        return cls()

    def look(self, victim: Victim) -> Search:
        """Words of two letters or more."""
        draft = victim.draft
        words = [draft.word(i) for i in range(len(draft.words))]
        able = editable(words, self.stopwords)
        if self.order == "random":
            return (yield from self._random(victim, able))
        ranked = yield from by_importance(victim, able, max(1, self.queries // 2))
        return (
            yield from greedy(
                victim, ranked, lambda i: self._edits(words[i], victim.random), self.max_edits
            )
        )

    def _edits(self, word: str, draw: np.random.Generator) -> list[str]:
        tried = [
            OPERATIONS[self.operations[i % len(self.operations)]](word, draw)
            for i in range(self.candidates)
        ]
        return list(dict.fromkeys(made for made in tried if made is not None and made != word))

    def _random(self, victim: Victim, able: list[int]) -> Search:
        draft = victim.draft
        best = draft.texts
        confidence = victim.confidence
        while able:
            drafts = [draft.changed(self._drawn(victim, able)) for _ in range(AT_ONCE)]
            rows = yield drafts
            if len(rows) == 0:
                break
            pick = int(rows[:, victim.label].argmin())
            wrong = rows.argmax(axis=1) != victim.label
            if wrong.any():
                return drafts[int(wrong.argmax())]
            if rows[pick, victim.label] < confidence:
                best = drafts[pick]
                confidence = float(rows[pick, victim.label])
        return best

    def _drawn(self, victim: Victim, able: list[int]) -> dict[int, str]:
        words = [victim.draft.word(i) for i in range(len(victim.draft.words))]
        return random_edits(words, able, self.max_edits, victim.random, self.operations)
