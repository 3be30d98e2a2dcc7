"""Words replaced by their synonyms."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from analysis.ground.stopwords import STOPWORDS
from analysis.ground.synonyms import Synonyms, load_synonyms
from analysis.ground.text_edits import in_case_of
from imbert.attacks.attack import Options
from imbert.attacks.edit_budget import share_of_words
from imbert.attacks.text_attack import (
    AbstractTextAttack,
    Search,
    Victim,
    by_importance,
    check_budget,
    greedy,
)
from imbert.toml_tables import in_range

if TYPE_CHECKING:
    from imbert.attacks.choice import AttackChoice


@dataclasses.dataclass(frozen=True)
class WordSubstitution(AbstractTextAttack):
    """Greedy substitution by synonyms, the word first whose deletion costs most (after Jin et al.
    2020, without their sentence encoder).

    Ranking the words takes one query for each that has synonyms, at most half of the budget.

    Attributes:
        synonyms: word in lower case → synonyms, nearest first; see `load_synonyms`. The replacement
            takes the word's case.
        queries: at most so many for an example.
        max_fraction: of the words may change, but always one may.
        stopwords: whether function words and negations may change too.
        candidates: the first so many synonyms are tried.
        part: which text is edited; −1 is the last one.

    Raises:
        ValueError: if the table is empty or an option is out of range.
    """

    name: ClassVar[str] = "words"
    synonyms: Synonyms = dataclasses.field(repr=False)
    queries: int = 100
    max_fraction: float = 0.3
    stopwords: bool = False
    candidates: int = 8
    part: int = -1

    def __post_init__(self) -> None:
        check_budget(self.queries)
        if not self.synonyms:
            raise ValueError("synonyms must have at least 1 word, got none")
        in_range("max_fraction", self.max_fraction, 0, 1, low_allowed=False)
        in_range("candidates", self.candidates, 1)

    @classmethod
    def chosen(cls, choice: "AttackChoice", radius: float, data: Path) -> Self:
        antonyms = None if choice.antonyms is None else data / choice.antonyms
        return cls(synonyms=load_synonyms(data / choice.synonyms, antonyms=antonyms))

    @classmethod
    def tables(cls, choice: "AttackChoice") -> Mapping[str, str]:
        tables = {"synonyms": choice.synonyms, "antonyms": choice.antonyms}
        return {name: table for name, table in tables.items() if table is not None}

    def options(self) -> Options:
        return {**super().options(), "synonyms": len(self.synonyms)}

    def look(self, victim: Victim) -> Search:
        """Rank the words that have synonyms, then replace them in that order."""
        draft = victim.draft
        able = [i for i in range(len(draft.words)) if self._mates(draft.word(i))]
        order = yield from by_importance(victim, able, max(1, self.queries // 2))
        most = share_of_words(self.max_fraction, len(draft.words))
        return (yield from greedy(victim, order, lambda i: self._mates(draft.word(i)), most))

    def _mates(self, word: str) -> list[str]:
        lower = word.lower()
        if not self.stopwords and lower in STOPWORDS:
            return []
        return [in_case_of(word, mate) for mate in self.synonyms.get(lower, ())[: self.candidates]]
