"""Random drafts: within their number of words, and the same whatever is drawn beside them."""

import numpy as np
import pytest
import torch

from analysis.conditioning.drafts import CharacterDrafts, WordDrafts, drafts_of, words_of
from analysis.conditioning.neighbours import nearest_words
from analysis.ground.character_edits import OPERATIONS, editable, random_edits
from analysis.ground.stopwords import STOPWORDS
from analysis.ground.text_edits import Draft

TEXT = ("The ferry leaves the quiet harbour at noon, not later.",)
MATES = {"ferry": ("boat", "ship"), "quiet": ("calm",), "noon": ("midday",), "at": ("in",)}
FAMILIES = (CharacterDrafts(2), WordDrafts(MATES, "made", 2))


def changed(draft: str) -> list[tuple[str, str]]:
    pairs = zip(TEXT[0].split(), draft.split(), strict=True)
    return [(before, after) for before, after in pairs if before != after]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_draft_depends_on_seed_text_family_and_number_alone(family) -> None:
    few, many = (drafts_of(TEXT, family, count, seed=3) for count in (4, 20))
    assert few == many[:4] and len(set(many)) > 4
    assert drafts_of(TEXT, family, 20, seed=4) != many


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_drafts_change_at_most_so_many_words_and_no_function_words(family) -> None:
    for (draft,) in drafts_of(TEXT, family, 30, seed=0):
        words = changed(draft)
        assert 1 <= len(words) <= 2
        assert not {before.lower().strip(",.") for before, _ in words} & STOPWORDS


def test_words_are_replaced_by_their_mates_in_their_case() -> None:
    family = WordDrafts({"ferry": ("boat",), "leaves": ("parts",)}, "made", 3)
    assert drafts_of(("Ferry LEAVES",), family, 3, 0) == [("Boat PARTS",)] * 3


def test_of_a_pair_the_second_text_is_edited() -> None:
    for draft in drafts_of((TEXT[0], "a quiet harbour"), CharacterDrafts(), 5, 0):
        assert draft[0] == TEXT[0] and draft[1] != "a quiet harbour"


def test_an_edited_text_says_where_it_was_changed() -> None:
    text = Draft.of(("a pair", "the ferry leaves, at noon"), -1)
    changes = {4: "midday", 1: "boat", 2: ""}
    edited = text.edited(changes)
    assert edited.text == text.changed(changes)[1] == "the boat , at midday"
    assert [edited.text[begin:end] for begin, end in edited.changed] == ["boat", "", "midday"]


def test_a_text_without_words_to_edit_stays() -> None:
    for family in FAMILIES:
        assert drafts_of(("it is not at , .",), family, 2, 0) == [("it is not at , .",)] * 2


def test_random_edits_are_the_operations_drawn_word_by_word() -> None:
    words = ["ferry", "harbour", "noon"]
    draw, again = np.random.default_rng(7), np.random.default_rng(7)
    found = random_edits(words, editable(words), 2, draw)
    chosen = again.choice([0, 1, 2], size=2, replace=False)
    names = again.choice(list(OPERATIONS), size=2)
    expected = {
        int(i): OPERATIONS[str(name)](words[int(i)], again)
        for i, name in zip(chosen, names, strict=True)
    }
    assert found == {i: word for i, word in expected.items() if word is not None}


class Vocabulary:
    def __init__(self, *tokens: str) -> None:
        self.tokens = tokens

    def get_vocab(self) -> dict[str, int]:
        return {token: index for index, token in enumerate(self.tokens)}


def test_neighbours_are_the_nearest_whole_words_by_cosine() -> None:
    tokens = ("[CLS]", "ferry", "##s", "boat", "noon", "the", "x", "Ship", "midday")
    angles = torch.tensor([0.0, 0.0, 0.01, 0.3, 2.0, 0.02, 0.03, 0.04, 1.9])
    lengths = torch.linspace(1, 5, len(tokens))
    matrix = torch.stack([angles.cos(), angles.sin()], 1) * lengths[:, None]
    found = nearest_words(Vocabulary(*tokens), matrix, {"ferry", "noon", "unknown", "the"})
    assert found == {"ferry": ("boat", "midday", "noon"), "noon": ("midday", "boat", "ferry")}


def test_where_words_are_marked_pieces_are_no_words() -> None:
    tokens = ("Ġferry", "Ġboat", "boats", "Ġcafÿ", "ship", "Ġquay")
    matrix = torch.eye(6) + 0.1
    found = nearest_words(Vocabulary(*tokens), matrix, {"ferry", "boats", "ship"})
    assert {word: set(mates) for word, mates in found.items()} == {"ferry": {"boat", "quay"}}


def test_words_that_drafts_may_replace() -> None:
    assert words_of([TEXT, ("first", "The second")]) == {
        *("ferry", "leaves", "quiet", "harbour", "noon", "later", "second")
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the cast's well-meant café!", ["the", "cast's", "well-meant", "café"]),
        # a combining mark is part of its word: e and an acute accent, Hindi's vowel signs
        ("cafe\u0301 au lait", ["cafe\u0301", "au", "lait"]),
        ("अच्छी फिल्म", ["अच्छी", "फिल्म"]),
        ("snake_case 3.5 - 'so'", ["snake", "case", "3", "5", "so"]),
    ],
)
def test_the_words_of_a_text(text: str, words: list[str]) -> None:
    draft = Draft.of((text,), 0)
    assert [text[begin:end] for begin, end in draft.words] == words
