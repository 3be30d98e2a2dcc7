"""Attacks on texts: one edit is one edit, budgets hold, synonyms are no antonyms, and what broke is
broken when asked again.
"""

import gzip
import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from tiny_classifiers import TABLE, copied, labelled_by, linear, some, trained

from analysis.ground.character_edits import LOOK_ALIKES, OPERATIONS
from analysis.ground.stopwords import STOPWORDS
from analysis.ground.text_edits import Draft, in_case_of
from imbert.attacks import CharacterEdits, WordSubstitution, load_synonyms
from imbert.attacks.text_attack import count_edits, lockstep
from imbert.data.tasks import Examples, task
from imbert.model.classifier import Classifier


def distance(a: str, b: str) -> int:
    """Of Damerau and Levenshtein: insertions, deletions, substitutions and exchanges of
    neighbours.
    """
    table = {
        (i, j): i + j
        for i, j in itertools.product(range(len(a) + 1), range(len(b) + 1))
        if i == 0 or j == 0
    }
    for i, j in itertools.product(range(1, len(a) + 1), range(1, len(b) + 1)):
        table[i, j] = min(
            table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (a[i - 1] != b[j - 1])
        )
        if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
            table[i, j] = min(table[i, j], table[i - 2, j - 2] + 1)
    return table[len(a), len(b)]


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_exactly_one_edit_and_keeps_the_first_letter(name: str) -> None:
    draw = np.random.default_rng(0)
    for word in ("film", "Superb", "dreadful", "ab", "book"):
        edited = OPERATIONS[name](word, draw)
        if edited is None:
            assert name == "swap" and len(word) == 2
            continue
        assert distance(word, edited) == 1
        assert name == "homoglyph" or edited[0] == word[0]
        assert (
            len(edited) - len(word) == {"swap": 0, "delete": -1, "insert": 1, "homoglyph": 0}[name]
        )


def test_what_cannot_be_edited_is_told() -> None:
    draw = np.random.default_rng(0)
    assert OPERATIONS["swap"]("aaa", draw) is None
    assert OPERATIONS["delete"]("a", draw) is None
    assert OPERATIONS["homoglyph"]("zzz", draw) is None


def test_look_alikes_are_other_characters_drawn_from_another_script() -> None:
    assert all(
        latin.isascii() and "\u0400" <= other <= "\u052f" for latin, other in LOOK_ALIKES.items()
    )
    assert len(set(LOOK_ALIKES.values())) == len(LOOK_ALIKES)


@pytest.mark.parametrize("order", ["greedy", "random"])
@pytest.mark.parametrize("most", [1, 2])
def test_character_edits_stay_within_their_number_and_the_budget(order: str, most: int) -> None:
    examples = some(16)
    result = CharacterEdits(max_edits=most, order=order, queries=12).run(
        trained(), examples, seed=1
    )
    assert result.changed and result.queries_max <= 12
    for (before,), (after,), row in zip(
        examples.texts, result.texts, result.per_example, strict=True
    ):
        changed = [(a, b) for a, b in zip(before.split(), after.split(), strict=True) if a != b]
        assert len(changed) == row.edits <= most
        assert all(distance(a, b) == 1 for a, b in changed)
        assert not any(a in STOPWORDS for a, _ in changed)
        assert row.queries <= 12


@pytest.mark.slow
@pytest.mark.parametrize(
    "attack",
    [CharacterEdits(), CharacterEdits(order="random"), WordSubstitution(TABLE, max_fraction=0.5)],
)
@pytest.mark.parametrize("kind", ["bert", "im-bert"])
def test_success_and_accuracy_are_those_of_asking_again(attack, kind: str) -> None:
    classifier, examples = trained(kind), some(8)
    result = attack.run(classifier, examples)
    before, after = (
        classifier.predict(texts).argmax(axis=1) == examples.labels
        for texts in (examples.texts, result.texts)
    )
    assert result.changed == np.flatnonzero(before & ~after).tolist() != []
    assert (result.clean_accuracy, result.robust_accuracy) == (
        before.mean(),
        (before & after).mean(),
    )
    assert result.success_rate == pytest.approx((before & ~after).sum() / before.sum())


@pytest.mark.parametrize(
    "attack",
    [
        CharacterEdits(queries=7),
        CharacterEdits(order="random", queries=7),
        WordSubstitution(TABLE, queries=3),
    ],
)
def test_queries_are_the_texts_that_the_model_saw(attack) -> None:
    classifier, examples = copied(trained()), some(8)
    rows = []
    classifier.model.register_forward_pre_hook(
        lambda module, args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    result = attack.run(classifier, examples)
    attacked = sum(one.right_before for one in result.per_example)
    outside = (
        len(examples) + 2 * attacked
    )  # the first prediction, the same as probabilities, and the last check
    assert sum(rows) - outside == sum(one.queries for one in result.per_example)
    assert result.queries_max <= attack.queries


@pytest.mark.parametrize("attack", [CharacterEdits(), WordSubstitution(TABLE)])
def test_what_is_wrong_already_is_never_attacked(attack) -> None:
    examples = some(6)
    labels = np.where(np.arange(6) < 3, 1 - examples.labels, examples.labels)
    wrong = Examples(examples.task, examples.texts, labels, examples.ids, "made")
    result = attack.run(trained(), wrong)
    assert result.texts[:3] == examples.texts[:3]
    assert all(one.queries == 0 for one in result.per_example[:3]) and not set(result.changed) & {
        0,
        1,
        2,
    }


def test_only_words_of_the_table_change_into_their_mates() -> None:
    examples = some(16)
    result = WordSubstitution(TABLE, max_fraction=1.0).run(trained(), examples)
    for (before,), (after,), row in zip(
        examples.texts, result.texts, result.per_example, strict=True
    ):
        changed = [(a, b) for a, b in zip(before.split(), after.split(), strict=True) if a != b]
        assert len(changed) == row.edits
        assert all(b in TABLE[a] for a, b in changed)
        assert "the" not in [a for a, _ in changed]  # a stopword, although the table has it


def test_the_number_of_changed_words_is_bounded() -> None:
    classifier = linear()
    examples = labelled_by(classifier, some(16))
    for share, most in ((0.1, 1), (0.4, 2)):  # of five words
        result = WordSubstitution(TABLE, max_fraction=share).run(classifier, examples)
        assert max(one.edits for one in result.per_example) <= most


def test_greedy_substitution_finds_the_best_single_word_of_a_linear_model() -> None:
    """One change allowed and all of them within the budget: broken exactly where brute force over
    one word breaks.
    """
    classifier = linear()
    examples = labelled_by(classifier, some(24))
    table = {
        word: tuple(one for one in ("good", "bad", "actor", "z", "k") if one != word)
        for word in TABLE
        if word != "the"
    }
    greedy = WordSubstitution(table, max_fraction=0.01, queries=1000, candidates=10).run(
        classifier, examples
    )
    possible = []
    for index, ((text,), label) in enumerate(zip(examples.texts, examples.labels, strict=True)):
        words = text.split()
        drafts = [
            " ".join([*words[:i], mate, *words[i + 1 :]])
            for i, word in enumerate(words)
            for mate in table.get(word, ())
        ]
        if (classifier.predict(drafts).argmax(axis=1) != label).any():
            possible.append(index)
    assert set(greedy.changed) <= set(possible)
    assert (
        len(greedy.changed) >= 0.8 * len(possible) > 0
    )  # the first word that helps at all is kept, which need not be the best


def test_punctuation_case_and_spacing_are_kept() -> None:
    draft = Draft.of(("The  Film, (really) isn't GOOD - at all!",), -1)
    assert [draft.word(i) for i in range(len(draft.words))] == [
        "The",
        "Film",
        "really",
        "isn't",
        "GOOD",
        "at",
        "all",
    ]
    assert draft.changed({1: "Story", 4: "FINE"}) == ("The  Story, (really) isn't FINE - at all!",)
    assert count_edits(draft, draft.changed({1: "Story", 4: "FINE"})) == 2
    assert (
        in_case_of("GOOD", "fine"),
        in_case_of("Good", "fine"),
        in_case_of("good", "fine"),
        in_case_of("A", "one"),
    ) == (
        *("FINE", "Fine", "fine"),
        "One",
    )


def test_of_two_texts_the_last_one_is_edited_unless_told_otherwise() -> None:
    texts, labels = [text for (text,) in some(8).texts], some(8).labels
    pairs = Examples(
        task("rte"),
        tuple((text, text) for text in texts),
        labels,
        tuple(map(str, range(8))),
        "made",
    )
    classifier = trained()
    pairs = labelled_by(classifier, pairs)
    last, first = (
        WordSubstitution(TABLE, max_fraction=1.0, part=part).run(classifier, pairs)
        for part in (-1, 0)
    )
    assert all(a[0] == b[0] for a, b in zip(pairs.texts, last.texts, strict=True))
    assert all(a[1] == b[1] for a, b in zip(pairs.texts, first.texts, strict=True))
    assert last.texts != pairs.texts and first.texts != pairs.texts
    with pytest.raises(ValueError, match="part must be an index of the 2 texts, got 2"):
        WordSubstitution(TABLE, part=2).run(classifier, pairs)


def test_the_same_seed_gives_the_same_texts_whatever_the_batches() -> None:
    classifier, examples, attack = trained(), some(8), CharacterEdits(order="random", queries=30)
    other = Classifier(classifier.model, classifier.tokenizer, classifier.max_length, batch_size=3)
    assert (
        attack.run(classifier, examples, seed=4).texts == attack.run(other, examples, seed=4).texts
    )
    assert (
        attack.run(classifier, examples, seed=4).texts
        != attack.run(classifier, examples, seed=5).texts
    )


def test_a_search_gets_no_more_answers_than_its_budget_has() -> None:
    seen = []

    def search():
        while True:
            rows = yield [("a",)] * 4
            seen.append(len(rows))
            if len(rows) == 0:
                return ("end",)

    assert lockstep(lambda texts: np.zeros((len(texts), 2)), [search()], 10) == ([("end",)], [10])
    assert seen == [4, 4, 2, 0]


def test_texts_without_words_are_left_alone() -> None:
    classifier = trained()
    examples = labelled_by(
        classifier,
        Examples(task("sst2"), (("...",), ("the",)), np.array([0, 0]), ("0", "1"), "made"),
    )
    for attack in (CharacterEdits(), CharacterEdits(order="random"), WordSubstitution(TABLE)):
        result = attack.run(classifier, examples)
        assert (
            result.texts == examples.texts and result.queries == 0 and result.robust_accuracy == 1
        )


def test_no_sentence_reaches_the_record() -> None:
    examples = some(8)
    for attack in (CharacterEdits(), WordSubstitution(TABLE)):
        result = attack.run(trained(), examples)
        record = json.dumps(result.to_json(), allow_nan=False)
        assert not any(text in record for (text,) in (*examples.texts, *result.texts))


def written(path: Path, value: object) -> Path:
    path.write_bytes(
        gzip.compress(json.dumps(value).encode())
        if path.suffix == ".gz"
        else json.dumps(value).encode()
    )
    return path


@pytest.mark.parametrize("suffix", [".json", ".json.gz"])
def test_both_layouts_of_synonyms_are_read_and_antonyms_left_out(
    suffix: str, tmp_path: Path
) -> None:
    flat = written(
        tmp_path / f"flat{suffix}",
        {"Good": ["great", "bad", "good", "well-made"], "bad": ["poor", "good"], "br": []},
    )
    nested = written(
        tmp_path / f"nested{suffix}", {"good": {"n": ["goodness"], "a": ["great", "goodness"]}}
    )
    antonyms = tmp_path / "antonyms.txt"
    antonyms.write_text("Good bad \n\n")
    assert load_synonyms(flat) == {"good": ("great", "bad"), "bad": ("poor", "good")}
    assert load_synonyms(flat, antonyms) == {"good": ("great",), "bad": ("poor",)}
    assert load_synonyms(nested) == {"good": ("goodness", "great")}


def test_malformed_tables_are_refused_by_name(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    for path, message in (
        (broken, "broken.json: expected JSON"),
        (
            written(tmp_path / "list.json", ["a"]),
            "list.json: expected an object of words, got list",
        ),
        (written(tmp_path / "wrong.json", {"a": "b"}), "wrong.json: expected a list of words"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            load_synonyms(path)
    antonyms = tmp_path / "three.txt"
    antonyms.write_text("a b\na b c\n")
    with pytest.raises(ValueError, match="line 2: expected two words, got 3"):
        load_synonyms(written(tmp_path / "table.json", {"a": ["b"]}), antonyms)
    with pytest.raises(FileNotFoundError):
        load_synonyms(tmp_path / "nowhere.json")


def test_wrong_options_are_refused() -> None:
    for make, message in (
        (
            lambda: CharacterEdits(operations=("typo",)),
            "operations must be some of swap, delete, insert, homoglyph, got typo",
        ),
        (lambda: CharacterEdits(operations=()), "got none"),
        (lambda: CharacterEdits(max_edits=0), "max_edits must be >= 1, got 0"),
        (lambda: CharacterEdits(order="beam"), "order must be one of greedy, random, got 'beam'"),
        (lambda: CharacterEdits(queries=0), "queries must be >= 1, got 0"),
        (lambda: WordSubstitution({}), "synonyms must have at least 1 word"),
        (
            lambda: WordSubstitution(TABLE, max_fraction=0.0),
            "max_fraction must be > 0 and <= 1, got 0",
        ),
        (lambda: WordSubstitution(TABLE, candidates=0), "candidates must be >= 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
