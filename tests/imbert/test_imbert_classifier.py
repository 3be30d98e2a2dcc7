"""The classifier: batches, embeddings and texts give the same answers; nothing of the model is
changed.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_classifiers import copied, some, tiny_checkpoint, trained

from imbert.model.classifier import Classifier, evaluating, frozen

KINDS = ("bert", "im-bert")
# of logits of order one; a solver of rtol 1e-3 stops each example on its own, whatever its batch
# mates are
FLOAT32 = 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_are_those_of_the_logits_whatever_the_batches(kind: str) -> None:
    classifier, texts = trained(kind), some().texts
    together = classifier.predict(texts)
    alone = np.concatenate([classifier.predict([text]) for text in texts])
    np.testing.assert_allclose(together.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(together, alone, atol=FLOAT32)
    np.testing.assert_array_equal(together.argmax(axis=1), classifier.logits(texts).argmax(axis=1))


@pytest.mark.parametrize("kind", KINDS)
def test_plain_strings_and_tuples_are_the_same(kind: str) -> None:
    texts = some().texts
    np.testing.assert_array_equal(
        trained(kind).logits(texts), trained(kind).logits([text for (text,) in texts])
    )


@pytest.mark.parametrize("kind", KINDS)
def test_word_embeddings_give_the_logits_of_the_ids(kind: str) -> None:
    classifier = trained(kind)
    batch = classifier.encode(some().texts)
    with torch.no_grad():
        torch.testing.assert_close(
            classifier.forward_embedded(classifier.embed(batch), batch),
            classifier.model(**batch).logits,
            atol=FLOAT32,
            rtol=0,
        )


def test_words_are_neither_special_nor_padding() -> None:
    classifier = trained()
    batch = classifier.encode(["the film is good", "dull"])
    assert classifier.words(batch).tolist() == [
        [False, True, True, True, True, False],
        [False, True, False, False, False, False],
    ]
    pair = classifier.encode([("good", "the film")])
    assert classifier.words(pair).tolist() == [[False, True, False, True, True, False]]


def test_weights_saved_in_half_precision_are_computed_with_in_single(tmp_path: Path) -> None:
    classifier = copied(trained())
    classifier.model.half().save_pretrained(tmp_path)
    classifier.tokenizer.save_pretrained(tmp_path)
    assert {one.dtype for one in Classifier.load(tmp_path).model.parameters()} == {torch.float32}


def test_texts_are_cut_to_what_the_model_has_positions_for() -> None:
    classifier = Classifier(trained().model, trained().tokenizer, max_length=512)
    assert classifier.encode(["good " * 100])["input_ids"].shape == (1, 32)
    assert Classifier(trained().model, trained().tokenizer, max_length=8).encode(["good " * 100])[
        "input_ids"
    ].shape == (1, 8)


def test_modes_and_gradients_of_parameters_are_restored_even_by_an_error() -> None:
    classifier = copied(trained())
    first = next(classifier.model.parameters())
    first.requires_grad_(False)
    classifier.model.train()
    with pytest.raises(RuntimeError, match="inside"), frozen(classifier.model):
        assert not classifier.model.training
        assert not any(one.requires_grad for one in classifier.model.parameters())
        raise RuntimeError("inside")
    assert classifier.model.training
    assert [one.requires_grad for one in classifier.model.parameters()][:2] == [False, True]
    with evaluating(classifier.model):
        assert not classifier.model.training
    assert classifier.model.training


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_classifier_comes_back(kind: str, tmp_path: Path) -> None:
    classifier, texts = trained(kind), some().texts
    classifier.model.save_pretrained(tmp_path)
    classifier.tokenizer.save_pretrained(tmp_path)
    back = Classifier.load(tmp_path, max_length=32, batch_size=8)
    np.testing.assert_allclose(back.logits(texts), classifier.logits(texts), atol=FLOAT32)
    assert back.is_implicit == classifier.is_implicit == (kind == "im-bert")


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"expected safetensors weights, got pytorch_model\.bin"):
        Classifier.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="expected the folder of a classifier"):
        Classifier.load(tmp_path / "nowhere")


def test_wrong_texts_and_sizes_are_refused() -> None:
    classifier = trained()
    with pytest.raises(ValueError, match=r"one part or all two, got \[1, 2\]"):
        classifier.encode([("a",), ("a", "b")])
    with pytest.raises(ValueError, match="got no text"):
        classifier.encode([])
    with pytest.raises(ValueError, match="max_length must be >= 1, got 0"):
        Classifier(classifier.model, classifier.tokenizer, max_length=0)
    with pytest.raises(ValueError, match="batch_size must be >= 1, got -1"):
        Classifier(classifier.model, classifier.tokenizer, batch_size=-1)
    assert classifier.logits([]).shape == (0, 2)


def test_a_regression_has_no_probabilities() -> None:
    import transformers

    model = transformers.BertForSequenceClassification.from_pretrained(
        tiny_checkpoint(), num_labels=1, use_safetensors=True
    )
    classifier = Classifier(model, trained().tokenizer)
    assert classifier.logits(["good"]).shape == (1, 1)
    with pytest.raises(ValueError, match="use logits"):
        classifier.predict(["good"])


def test_batches_hold_texts_of_like_length_in_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    # characters tell little of tokens: punctuation is one token a character
    texts = ["!" * 6, "the film", "!" * 9, "good bad"]
    classifier = dataclasses.replace(trained(), batch_size=2)
    padded = []
    encode = Classifier.encode

    def counted(self: Classifier, chosen: list[str]) -> dict[str, torch.Tensor]:
        batch = encode(self, chosen)
        padded.append(int((batch["attention_mask"] == 0).sum()))
        return batch

    monkeypatch.setattr(Classifier, "encode", counted)
    lengths = [int(encode(classifier, [text])["attention_mask"].sum()) for text in texts]
    classifier.logits(texts)
    ordered = sorted(lengths)
    assert sum(padded) == sum(b - a for a, b in zip(ordered[::2], ordered[1::2], strict=True))
    by_characters = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    pairs = zip(by_characters[::2], by_characters[1::2], strict=True)
    assert sum(padded) < sum(abs(lengths[i] - lengths[j]) for i, j in pairs)
