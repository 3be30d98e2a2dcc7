"""How many edits an attack needed: censored at its budget, averaged as a restricted mean, compared
by seed and example; records that do not say the budget have none.
"""

import itertools
from pathlib import Path

import numpy as np
import pytest
from made_up_attacks import CHARACTERS, made_up_attack
from msgspec import structs

from analysis.ground.resampling import hierarchical_mean
from analysis.ground.text_edits import Draft
from imbert.attack_records import Attack, read_attack
from imbert.attacks import CharacterEdits, WordSubstitution
from imbert.attacks.edit_budget import edit_budget
from imbert.attacks.text_attack import AbstractTextAttack, Texts, Victim, count_edits, lockstep
from imbert.study.comparison import edits_under_attacks, under_attacks
from imbert.study.edits_needed import edits_needed, mean_edits_needed

STUDIES = Path(__file__).parents[2] / "docs" / "studies"
TEXT = "word " * 12


@pytest.mark.parametrize(
    "attack",
    [
        CharacterEdits(max_edits=2),
        WordSubstitution({"word": ("term",)}),
        WordSubstitution({"word": ("term",)}, max_fraction=0.01),
    ],
    ids=["characters", "words", "one word"],
)
def test_an_attack_that_never_succeeds_makes_as_many_edits_as_its_record_says(
    attack: AbstractTextAttack,
) -> None:
    draft = Draft.of((TEXT.strip(),), -1)
    victim = Victim(draft, 1, 1.0, np.random.default_rng(0))
    asked = itertools.count(1)

    def predict(texts: list[Texts]) -> np.ndarray:
        """Every edit costs the right answer something, and none makes it wrong."""
        right = np.array([0.5 + 0.5 / (1 + next(asked)) for _ in texts])
        return np.stack([1 - right, right], axis=1)

    (changed,), _ = lockstep(predict, [attack.look(victim)], 1000)
    assert count_edits(draft, changed) == edit_budget(attack.options(), 12.0)


@pytest.mark.parametrize(
    ("options", "words", "budget"),
    [
        (CHARACTERS, None, 3),
        ({"max_fraction": 0.3}, 19.0, 5),
        ({"max_fraction": 0.3}, 2.0, 1),
        ({"max_fraction": 0.3}, None, None),
        ({"max_edits": 3, "order": "random"}, 9.0, None),
        ({"radius": 0.1}, 9.0, None),
    ],
)
def test_the_budget_is_that_of_the_options(
    options: dict[str, float | str], words: float | None, budget: int | None
) -> None:
    assert edit_budget(options, words) == budget


def test_edits_are_censored_one_beyond_the_budget() -> None:
    """A flip at the last edit that is allowed is none that holds; what failed early holds."""
    record = made_up_attack("11110", "00110", "13210")
    needed = edits_needed(record)
    assert needed is not None and needed.tolist() == [1, 3, 4, 4, 0]
    assert mean_edits_needed(record) == 3.0
    shorter = made_up_attack("111", "011", "110", options={"max_fraction": 0.5}, words=3.0)
    assert edits_needed(shorter).tolist() == [1, 2, 2]
    assert mean_edits_needed(made_up_attack("00", "00", "00")) is None


def test_the_restricted_mean_is_the_area_under_the_curve_of_survival() -> None:
    random = np.random.default_rng(2)
    edits = random.integers(1, 4, 60)
    flips = random.random(60) < 0.6
    after = "".join("0" if flip else "1" for flip in flips)
    record = made_up_attack("1" * 60, after, "".join(map(str, edits)))
    alive = [np.mean(~flips | (edits > t)) for t in range(4)]  # P(T > t), of no edit up to three
    assert mean_edits_needed(record) == pytest.approx(sum(alive), rel=1e-12)
    # with one edit it says what robust accuracy does
    one = {"max_edits": 1, "order": "greedy"}
    once = made_up_attack("1" * 60, after, "1" * 60, options=one)
    assert mean_edits_needed(once) == pytest.approx(1 + once.robust_accuracy, rel=1e-12)


def test_models_are_compared_where_both_are_right_before() -> None:
    first = {"characters": made_up_attack("1110", "1000", "2210", clusters=[0, 0, 2, 3])}
    second = {"characters": made_up_attack("1101", "1001", "2101", clusters=[0, 0, 2, 3])}
    found = edits_under_attacks([(first, second)])["characters"]
    # of the first two examples: 4 − 4 and 2 − 1, made from one text
    assert (found.pairs, found.clusters, found.resampled) == ([2], 1, "clusters")
    assert found.hierarchical is not None and found.hierarchical.mean == 0.5
    assert found.seeds is not None and found.seeds.mean == 0.5
    values = np.array([[0, 1, 0, 0]])
    kept = np.array([[True, True, False, False]])
    interval = hierarchical_mean(values, kept, np.array([0, 0, 2, 3]))
    assert (found.hierarchical.low, found.hierarchical.high) == (interval.low, interval.high)


def test_with_one_edit_the_comparison_is_that_of_robust_accuracies() -> None:
    random = np.random.default_rng(3)
    one = {"max_edits": 1, "order": "greedy"}

    def attack() -> dict[str, Attack]:
        after = "".join(random.choice(["0", "1"], 20))
        return {"characters": made_up_attack("1" * 20, after, "1" * 20, options=one)}

    for seeds in (1, 2, 3):
        pairs = [(attack(), attack()) for _ in range(seeds)]
        edits = edits_under_attacks(pairs)["characters"]
        robust = under_attacks(pairs)["characters"].both
        assert edits.hierarchical is not None and robust.hierarchical is not None
        assert edits.hierarchical.mean == pytest.approx(robust.hierarchical.mean, abs=1e-12)
        assert edits.hierarchical.low == pytest.approx(robust.hierarchical.low, abs=1e-12)
        assert edits.hierarchical.high == pytest.approx(robust.hierarchical.high, abs=1e-12)
        assert (edits.pairs, edits.resampled) == (robust.pairs, robust.resampled)


def test_records_that_do_not_say_the_budget_have_no_edits_needed() -> None:
    known = made_up_attack("11", "10", "12")
    words = made_up_attack("11", "10", "12", options={"max_fraction": 0.5})
    assert edits_needed(words) is None and mean_edits_needed(words) is None
    assert edits_under_attacks([({"words": words}, {"words": words})]) == {}
    found = edits_under_attacks(
        [({"a": known}, {"a": known}), ({"a": known}, {"a": structs.replace(known, options={})})]
    )
    assert found["a"].pairs == [2], "of the seed whose records say it"
    more = made_up_attack("11", "10", "12", options={"max_edits": 4, "order": "greedy"})
    assert edits_under_attacks([({"a": known}, {"a": more})]) == {}
    where_both_are_wrong = {"a": made_up_attack("00", "00", "00")}
    nothing = edits_under_attacks([(where_both_are_wrong, where_both_are_wrong)])["a"]
    assert (nothing.pairs, nothing.seeds, nothing.hierarchical) == ([0], None, None)


@pytest.mark.parametrize("attack", ["characters", "words", "pgd"])
def test_published_records_of_attacks_on_texts_have_them(attack: str) -> None:
    record = read_attack(
        STUDIES / "conditioning" / "runs" / "seed-0" / "attacks" / f"{attack}.json"
    )
    assert isinstance(record, Attack)
    assert (mean_edits_needed(record) is None) == (attack == "pgd")
