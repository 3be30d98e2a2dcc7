"""Checkpoints of every kind of text model load with a tokenizer that fits them, heads included."""

import pytest
import torch
import transformers
from encoders import largest, saved, tiny
from families import FAMILIES, TEXT, UNPADDED

import odestab as od

TEXTS = ["the small words", "word"]


@pytest.mark.parametrize(
    "family", ["gpt2", "llama", "t5", "bart", "clip", "albert", "opt", "deberta", "fnet"]
)
def test_a_checkpoint_loads_with_a_tokenizer_that_pads_and_cuts(family, tokenizer, tmp_path):
    made = tiny(FAMILIES[family]())
    model, loaded = od.load_encoder(saved(made, tokenizer, tmp_path))
    texts = TEXTS[:1] if family in UNPADDED else TEXTS
    batch = loaded(texts, padding=True, return_attention_mask=True, return_tensors="pt")
    trajectory = od.trace(model, batch)
    expected = od.trace(made, batch)
    for state, own in zip(trajectory.states, expected.states, strict=True):
        # rotary frequencies are stored in float32, and computed in float64 when loaded
        assert largest(state - own) <= 1e-6 * largest(own)
    assert loaded.padding_side == "right" and loaded.model_max_length <= 2**20
    assert model.config.pad_token_id is not None
    long = loaded(["word " * 99], truncation=True)["input_ids"][0]
    limit = od.position_limit(model)
    assert len(long) == (101 if limit is None else limit)


def test_a_tokenizer_without_padding_pads_with_its_end_on_the_right(tmp_path):
    words = ["[UNK]", "<|end|>", "the", "small", "word"]
    plain = transformers.PreTrainedTokenizerFast(
        tokenizer_object=word_level(words),
        unk_token="[UNK]",
        eos_token="<|end|>",
        padding_side="left",
    )
    assert plain.pad_token is None
    config = TEXT["gpt2"]()
    config.pad_token_id = None
    model, loaded = od.load_encoder(saved(tiny(config), plain, tmp_path))
    assert (loaded.pad_token, loaded.padding_side) == ("<|end|>", "right")
    assert model.config.pad_token_id == 1
    batch = loaded(["the small word", "word"], padding=True, return_tensors="pt")
    assert od.trace(model, batch).tokens == [3, 1]


def word_level(words):
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


@pytest.mark.parametrize("family", ["gpt2", "llama", "albert", "mpnet"])
def test_a_classifier_is_read_out_and_its_margin_is_that_of_each_text(family, tokenizer, tmp_path):
    config = TEXT[family]()
    config.num_labels = 2
    made = tiny(config, auto=transformers.AutoModelForSequenceClassification)
    model, loaded = od.load_classifier(saved(made, tokenizer, tmp_path), torch.float64)
    batch = dict(loaded(TEXTS, padding=True, return_tensors="pt"))
    batch.pop("token_type_ids")
    logits = model(**batch).logits
    read = od.readout(model, batch, od.trace(model, batch))
    torch.testing.assert_close(read, logits, rtol=1e-12, atol=1e-13)
    together = od.conditioning(model, batch)
    real = batch["attention_mask"][1].bool()
    alone = od.conditioning(model, {name: value[1:, real] for name, value in batch.items()})
    for name in ("margin", "gradient", "distance"):
        one, other = getattr(together, name)[1], getattr(alone, name)[0]
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    assert (together.gradient > 0).all()


def test_a_classifier_behind_a_decoder_is_one_line(tokenizer, tmp_path):
    made = tiny(TEXT["bart"](), auto=transformers.AutoModelForSequenceClassification)
    saved(made, tokenizer, tmp_path)
    message = "must be a classifier of its encoder's or decoder's states, got model_type 'bart'"
    with pytest.raises(ValueError, match=message):
        od.load_classifier(tmp_path)
