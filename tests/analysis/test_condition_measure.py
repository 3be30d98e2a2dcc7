"""Measured inputs against the library's own quantities, in float64."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from classifiers import save_classifier

import odestab as od
from analysis.conditioning.drafts import (
    CharacterDrafts,
    WordDrafts,
    drafts_of,
    text_digest,
    weakest_of,
)
from analysis.conditioning.measure import Classifier, Row, measure
from analysis.conditioning.records import Input, Steepest
from analysis.conditioning.steepest import steepest_word

TEXTS = ("the cat sat on the mat", "the dog ran", "cat", "the mats ran on the dog")
# "cats" is two tokens, so that drafts have more tokens than the text
FAMILIES = (CharacterDrafts(), WordDrafts({"cat": ("cats", "dog"), "dog": ("mats",)}, "made"))
LABELS = (1, 0, 1, 1)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    folder = save_classifier(tmp_path_factory.mktemp("classifier"))
    model, tokenizer = od.load_classifier(folder, torch.float64)
    return Classifier(model, tokenizer, 12, FAMILIES, 6, 5)


def rows(labels: tuple[int | None, ...] = LABELS) -> list[Row]:
    return [
        Row(index, (text,), 3, label)
        for index, (text, label) in enumerate(zip(TEXTS, labels, strict=True))
    ]


def close(left: float | None, right: float, rtol: float = 1e-12) -> bool:
    return left == pytest.approx(right, rel=rtol, abs=1e-13)


def test_margin_and_gradient_are_those_of_the_library(classifier: Classifier) -> None:
    batch = classifier.encode([(text,) for text in TEXTS])
    expected = od.conditioning(classifier.model, batch, torch.tensor(LABELS))
    for place, row in enumerate(measure(classifier, rows())):
        for name in ("margin", "gradient", "distance", "relative"):
            assert close(getattr(row, name), float(getattr(expected, name)[place])), name
        assert row.right == (row.margin is not None and row.margin > 0)
        assert row.finite and not row.flat
        assert row.text == text_digest((TEXTS[place],))
        assert row.words == len(TEXTS[place].split()) and row.tokens == row.words + 2


def squares(classifier: Classifier, texts: tuple[str, ...], label: int) -> torch.Tensor:
    """‖∇m‖² at each token of a text, special ones included."""
    batch = classifier.encode([texts])
    embeddings = classifier.model.get_input_embeddings()(batch["input_ids"]).detach()
    embeddings.requires_grad_()
    rest = {name: batch[name] for name in ("attention_mask", "token_type_ids")}
    logits = classifier.model(inputs_embeds=embeddings, **rest).logits[0]
    (slope,) = torch.autograd.grad(logits[label] - logits[1 - label], embeddings)
    return slope[0].square().sum(1)


def require_steepest(row: Input, texts: tuple[str, ...], words: dict[str, torch.Tensor]) -> None:
    """The word with the largest of these squared gradients, and its share of g²."""
    expected = max(words, key=lambda word: float(words[word]))
    assert row.steepest is not None and row.gradient is not None
    assert row.steepest.word(texts) == expected
    assert close(row.steepest.share, float(words[expected]) / row.gradient**2)


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("text", ["the cats, ran dog", "matz sat"])
def test_the_steepest_word_has_most_of_the_squared_gradient(
    classifier: Classifier, text: str, label: int
) -> None:
    pieces = {"the cats, ran dog": [[1], [2, 3], [5], [6]], "matz sat": [[1, 2], [3]]}[text]
    by_token = squares(classifier, (text,), label)
    words = text.replace(",", "").split()
    assert len(by_token) == max(map(max, pieces)) + 2  # the last one ends the text
    summed = {word: by_token[own].sum() for word, own in zip(words, pieces, strict=True)}
    beside = Row(1, ("the dog sat on the mat",), 8, 0)  # longer: the other is padded
    row, _ = measure(classifier, [Row(0, (text,), 8, label), beside])
    assert close(row.gradient, math.sqrt(by_token[1:-1].sum()))
    require_steepest(row, (text,), summed)


def test_the_steepest_word_of_a_pair_is_of_the_text_that_is_edited(classifier: Classifier) -> None:
    texts = ("the dog ran", "cats sat")
    by_token = squares(classifier, texts, 1)  # [CLS] the dog ran [SEP] cat ##s sat [SEP]
    (row,) = measure(classifier, [Row(0, texts, 9, 1)])
    assert close(row.gradient, math.sqrt(by_token[[1, 2, 3, 5, 6, 7]].sum()))
    require_steepest(row, texts, {"cats": by_token[5:7].sum(), "sat": by_token[7]})


def test_pieces_of_a_word_count_together_and_punctuation_by_itself() -> None:
    spans = [None, (0, 3), (3, 4), (4, 8), (8, 9), None]  # "cat" "s" " ran" "!"
    found = steepest_word(("cats ran!",), np.array([0, 2.0, 2.0, 2.5, 9.0, 0]), spans)
    assert found == Steepest(0, 4, pytest.approx(8 / (8 + 2.5**2 + 81)))
    assert steepest_word(("cats ran!",), np.zeros(6), spans) is None
    assert steepest_word(("cats ran!",), np.full(6, np.nan), spans) is None
    assert steepest_word(("!?",), np.ones(2), [(0, 1), (1, 2)]) is None


def test_without_places_of_tokens_no_word_is_named(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(classifier.tokenizer), "is_fast", False)
    assert [row.steepest for row in measure(classifier, rows())] == [None] * len(TEXTS)


def test_without_labels_the_predicted_ones_stand_for_them(classifier: Classifier) -> None:
    for row in measure(classifier, rows((None,) * 4)):
        assert row.label == row.predicted and row.margin is not None and row.margin > 0


def trajectory(classifier: Classifier, text: tuple[str, ...]) -> tuple[od.Trajectory, torch.Tensor]:
    batch = classifier.encode([text])
    return od.trace(classifier.model, batch), batch["input_ids"]


def margin(classifier: Classifier, text: tuple[str, ...], label: int) -> float:
    logits = classifier.run(classifier.encode([text])).logits[0]
    return float(logits[label] - logits[1 - label])


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_growth_of_drafts_is_the_product_of_their_secants(classifier: Classifier, family) -> None:
    unequal = False
    for row, found in zip(rows(), measure(classifier, rows()), strict=True):
        before, ids = trajectory(classifier, row.texts)
        drafts = [d for d in drafts_of(row.texts, family, 6, 5) if d != row.texts]
        growth, margins = [], []
        for draft in drafts:
            after, others = trajectory(classifier, draft)
            unequal = unequal or ids.shape != others.shape
            path = od.secants(before, after, alignment=od.align(ids, others))
            growth.append(path.cumulative[0].numpy())
            margins.append(margin(classifier, draft, LABELS[row.index]))
        drafted = found.drafts[family.name]
        moved = [path for path in growth if np.isfinite(path).all()]  # others tokenise alike
        assert drafted.count == len(drafts)
        if not drafts:
            assert (drafted.spread, drafted.least, drafted.flipped) == (None, None, 0)
            assert drafted.weakest is None
            assert drafted.growth == [None, None, None]
            continue
        assert np.allclose(
            np.array(drafted.growth, dtype=float), np.median(moved, axis=0), rtol=1e-10, atol=0
        )
        assert close(drafted.spread, float(np.std(margins, ddof=1)), 1e-9)
        assert close(drafted.least, min(margins), 1e-9)
        assert drafted.flipped == sum(value <= 0 for value in margins)
        assert drafted.weakest is not None
        weakest = drafts_of(row.texts, family, 6, 5)[drafted.weakest]
        assert close(margin(classifier, weakest, LABELS[row.index]), min(margins), 1e-9)
        shown = weakest_of(found, row.texts, FAMILIES, 5)[family.name]
        assert shown.text == weakest[0] != row.texts[0] and shown.changed
    assert unequal or family.name == "characters"


def numbers(row: Input) -> list[float]:
    assert row.steepest is not None
    own = [row.margin, row.gradient, row.distance, row.relative, row.steepest.share]
    drafts = row.drafts.values()
    drafted = [value for d in drafts for value in (d.count, d.spread, d.least, d.flipped)]
    growth = [value for d in drafts for value in d.growth]
    return [float("nan") if value is None else value for value in (*own, *drafted, *growth)]


def test_no_number_depends_on_what_is_measured_beside_it(classifier: Classifier) -> None:
    together = measure(classifier, rows())
    for row, own in zip(rows(), together, strict=True):
        (alone,) = measure(classifier, [row])
        np.testing.assert_allclose(numbers(alone), numbers(own), rtol=1e-9, atol=1e-12)


def test_a_text_that_is_too_long_is_cut_and_marked(classifier: Classifier) -> None:
    (row,) = measure(classifier, [Row(0, ("the cat " * 10,), 22, 1)])
    assert row.truncated and row.tokens == 12 and row.words == 20


def test_a_vanishing_gradient_is_flat(tmp_path: Path) -> None:
    model, tokenizer = od.load_classifier(save_classifier(tmp_path / "flat", head=0.0))
    (row,) = measure(Classifier(model, tokenizer, 12, FAMILIES, 2, 0), [Row(0, (TEXTS[0],), 8, 0)])
    assert row.flat and row.finite and row.margin == 1.0
    assert row.gradient == 0.0 and row.distance is None and row.relative == 0.0
    assert row.steepest is None


def test_steps_that_were_not_solved_are_marked(classifier: Classifier) -> None:
    made = measure(classifier, rows())
    assert all(row.solved for row in made)
    texts = [classifier.tokenizer(*row.texts)["input_ids"] for row in rows()]
    hooks = [
        # as a model that declares steps does: here it solves all texts but the first one, or
        # nothing but the texts themselves
        lambda ids: [row[row > 0].tolist() != texts[0] for row in ids],
        lambda ids: [row[row > 0].tolist() in texts for row in ids],
    ]
    for solved, expected in zip(hooks, (lambda place: place > 0, lambda _: False), strict=True):

        def note(model: Any, args: Any, keywords: Any, output: Any, solved: Any = solved) -> None:
            if "input_ids" in keywords:
                model.solved = torch.tensor(solved(keywords["input_ids"]))

        handle = classifier.model.register_forward_hook(note, with_kwargs=True)
        try:
            found = [row.solved for row in measure(classifier, rows())]
        finally:
            handle.remove()
            del classifier.model.solved
        assert found == [expected(place) for place in range(len(found))]


def test_logits_that_are_no_numbers_are_marked(tmp_path: Path) -> None:
    model, tokenizer = od.load_classifier(save_classifier(tmp_path / "lost"))
    with torch.no_grad():
        model.classifier.bias[0] = torch.nan
    for row in measure(Classifier(model, tokenizer, 12, FAMILIES, 2, 0), rows()):
        assert not row.finite and not row.right and not row.flat
        assert (row.margin, row.gradient, row.distance, row.relative) == (None,) * 4
        assert all(drafted.least is drafted.weakest is None for drafted in row.drafts.values())
        assert row.steepest is None
