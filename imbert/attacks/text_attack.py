"""What the attacks on texts share: words of a text, searches in lockstep within a budget, and the
last check.
"""

import abc
import collections
import dataclasses
from collections.abc import Callable, Generator, Iterable, Sequence

import numpy as np

from analysis.ground.text_edits import Draft
from imbert.attack_records import AttackStatistics, text_statistics
from imbert.attacks.attack import AbstractAttack, SearchEnd, Texts
from imbert.data.tasks import Examples
from imbert.model.classifier import Classifier
from imbert.toml_tables import in_range

Search = Generator[list[Texts], np.ndarray, Texts]


@dataclasses.dataclass(frozen=True, eq=False)
class Victim:
    """An example that is right, and what its search may use.

    Attributes:
        draft: its texts.
        label: the right answer.
        confidence: the probability of it before the attack.
        random: its own randomness.
    """

    draft: Draft
    label: int
    confidence: float
    random: np.random.Generator


class AbstractTextAttack(AbstractAttack):
    """An attack that changes words of a text and asks the model for probabilities alone.

    Of two texts one is edited, the last one unless told otherwise. All searches go on side by side,
    so that their queries share batches. A query is one text whose probabilities are asked for; the
    prediction before the attack and the check after it are not counted.
    """

    queries: int
    part: int

    @abc.abstractmethod
    def look(self, victim: Victim) -> Search:
        """Yield texts to ask about, be sent their probabilities (of the first ones only, once the
        budget is used up), return texts.
        """

    def search(
        self, classifier: Classifier, victims: Examples, seeds: list[tuple[int, int]]
    ) -> tuple[list[SearchEnd], AttackStatistics]:
        """All searches in lockstep."""
        before = classifier.predict(victims.texts)
        each = zip(victims.texts, victims.labels.tolist(), before, seeds, strict=True)
        attacked = [
            Victim(
                Draft.of(texts, self.part), label, float(row[label]), np.random.default_rng(seed)
            )
            for texts, label, row, seed in each
        ]
        searches = [self.look(victim) for victim in attacked]
        changed, used = lockstep(classifier.predict, searches, self.queries)
        after = classifier.predict(changed)
        ends = [
            _end(victim, texts, queries, row)
            for victim, texts, queries, row in zip(attacked, changed, used, after, strict=True)
        ]
        flipped = [end.edits for end in ends if end.wrong]
        return ends, text_statistics(used, flipped, self.queries)


def _end(victim: "Victim", texts: Texts, queries: int, probabilities: np.ndarray) -> SearchEnd:
    """The end of a search, judged by the model's answer to its texts."""
    measured = {
        "confidence_before": victim.confidence,
        "confidence_after": float(probabilities[victim.label]),
        "words": float(len(victim.draft.words)),
    }
    wrong = bool(probabilities.argmax() != victim.label)
    edits = count_edits(victim.draft, texts)
    return SearchEnd(wrong, queries, edits, texts, measured=measured)


def lockstep(
    predict: Callable[[list[Texts]], np.ndarray], searches: Sequence[Search], budget: int
) -> tuple[list[Texts], list[int]]:
    """Run searches side by side, each within its budget of queries; what every one returns, and its
    queries.
    """
    ends: dict[int, Texts] = {}
    used: collections.Counter[int] = collections.Counter()
    asked: dict[int, list[Texts]] = {}

    def advance(index: int, rows: np.ndarray | None) -> None:
        try:
            wanted = next(searches[index]) if rows is None else searches[index].send(rows)
            asked[index] = wanted[: budget - used[index]]
        except StopIteration as stop:
            ends[index] = stop.value

    for index in range(len(searches)):
        advance(index, None)
    while asked:
        questions = dict(asked)  # `advance` writes down the next ones
        asked.clear()
        flat = [texts for wanted in questions.values() for texts in wanted]
        rows = predict(flat) if flat else np.zeros((0, 0))
        begin = 0
        for index, wanted in questions.items():
            used[index] += len(wanted)
            advance(index, rows[begin : begin + len(wanted)])
            begin += len(wanted)
    return [ends[i] for i in range(len(searches))], [used[i] for i in range(len(searches))]


def by_importance(
    victim: Victim, words: list[int], limit: int
) -> Generator[list[Texts], np.ndarray, list[int]]:
    """The words, those first whose deletion costs the right answer most; beyond the limit, or the
    budget, in their own order.
    """
    rows = yield [victim.draft.changed({i: ""}) for i in words[:limit]]
    scored = words[: len(rows)]
    ranked = [scored[i] for i in np.argsort(rows[:, victim.label], kind="stable")] if scored else []
    return ranked + words[len(scored) :]


def greedy(
    victim: Victim, order: Iterable[int], options: Callable[[int], list[str]], most: int
) -> Search:
    """Change word after word to the option that costs the right answer most, if it does at all,
    until it is lost.

    Options come best first: of those that make the model wrong the first one is taken.
    """
    changes: dict[int, str] = {}
    confidence = victim.confidence
    for index in order:
        if len(changes) >= most:
            break
        choices = options(index)
        if not choices:
            continue
        rows = yield [victim.draft.changed(changes | {index: choice}) for choice in choices]
        # the budget is used up
        if len(rows) == 0:
            break
        wrong = rows.argmax(axis=1) != victim.label
        pick = int(wrong.argmax() if wrong.any() else rows[:, victim.label].argmin())
        if wrong.any() or rows[pick, victim.label] < confidence:
            changes[index] = choices[pick]
            confidence = float(rows[pick, victim.label])
        if wrong.any():
            break
    return victim.draft.changed(changes)


def count_edits(draft: Draft, texts: Texts) -> int:
    """How many words differ: the fewest whose replacement, by anything without a space, makes the
    texts.

    What stands between the words is as it was. An edit may move an apostrophe or a hyphen, so that
    one word reads as two. Where no such replacement makes the texts, words are compared in their
    order.
    """
    now = Draft.of(texts, draft.part)
    text = draft.texts[draft.part]
    ends = [begin for begin, _ in [*draft.words[1:], (len(text), 0)]][: len(draft.words)]
    after = [
        text[end:begin] for (_, end), begin in zip(draft.words, ends, strict=True)
    ]  # each word, up to the next one
    changed = now.texts[now.part]
    first = draft.words[0][0] if draft.words else len(text)
    fewest = (
        {first: 0} if changed.startswith(text[:first]) else {}
    )  # edits so far by the place where the next word begins
    for index, between in enumerate(after):
        word = draft.word(index)
        reached: dict[int, int] = {}
        for begin, edits in fewest.items():
            until = next(
                (i for i in range(begin, len(changed)) if changed[i].isspace()), len(changed)
            )
            for end in range(begin, until + 1):
                last = index < len(after) - 1 or end + len(between) == len(changed)
                if last and changed.startswith(between, end):
                    cost = edits + (changed[begin:end] != word)
                    reached[end + len(between)] = min(cost, reached.get(end + len(between), cost))
        fewest = reached
    if len(changed) in fewest:
        return fewest[len(changed)]
    # no replacement of whole words made it: words were joined or parted by spaces
    if len(now.words) != len(draft.words):
        return abs(len(now.words) - len(draft.words)) + sum(
            draft.word(i) != now.word(i) for i in range(min(len(now.words), len(draft.words)))
        )
    return sum(draft.word(i) != now.word(i) for i in range(len(now.words)))


def check_budget(queries: int) -> None:
    """Raise ValueError unless a search may ask at least once."""
    in_range("queries", queries, 1)
