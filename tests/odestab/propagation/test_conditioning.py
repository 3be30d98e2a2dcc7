import dataclasses
import math
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from problems import DTYPE, normal_numbers
from torch import Tensor, nn

from odestab.propagation.conditioning import Conditioning, conditioning

VOCABULARY, HIDDEN = 20, 4


class Toy(nn.Module):
    """logits = head(mean over real tokens of tanh(e)), a transformers-like classifier."""

    def __init__(self, head: Callable[[Tensor], Tensor], dtype: torch.dtype = DTYPE) -> None:
        super().__init__()
        self.words = nn.Embedding.from_pretrained(
            normal_numbers(VOCABULARY, HIDDEN, seed=3).to(dtype)
        )
        self.head, self.calls = head, 0

    def get_input_embeddings(self) -> nn.Module:
        return self.words

    def forward(self, inputs_embeds: Tensor, attention_mask: Tensor) -> Any:
        self.calls += 1
        real = attention_mask[..., None].to(inputs_embeds.dtype)
        mean = (real * torch.tanh(inputs_embeds)).sum(1) / real.sum(1).clamp(min=1)
        return types.SimpleNamespace(logits=self.head(mean))


def linear(outputs: int = 3, dtype: torch.dtype = DTYPE) -> Toy:
    matrix = normal_numbers(HIDDEN, outputs, seed=7).to(dtype)
    return Toy(lambda mean: mean @ matrix, dtype).eval()


def texts(*lengths: int) -> dict[str, Tensor]:
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(1, VOCABULARY, mask.shape, generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids * mask, "attention_mask": mask}


def fields(found: Conditioning) -> dict[str, Tensor]:
    return {part.name: getattr(found, part.name) for part in dataclasses.fields(found)}


def test_margin_and_gradient_are_those_of_the_closed_form() -> None:
    model, batch, labels = linear(), texts(4, 2), torch.tensor([2, 0])
    found = conditioning(model, batch, labels)
    logits = model(model.words(batch["input_ids"]), batch["attention_mask"]).logits
    matrix = model.head(torch.eye(HIDDEN, dtype=DTYPE))
    for b, length in enumerate((4, 2)):
        label = int(labels[b])
        others = logits[b].clone()
        others[label] = -torch.inf
        rival = int(others.argmax())
        e = model.words(batch["input_ids"])[b, :length]
        slope = (1 - torch.tanh(e) ** 2) * (matrix[:, label] - matrix[:, rival]) / length
        margin = logits[b, label] - logits[b, rival]
        torch.testing.assert_close(found.margin[b], margin, rtol=1e-13, atol=0)
        torch.testing.assert_close(found.gradient[b], slope.norm(), rtol=1e-13, atol=0)
        by_token = torch.nn.functional.pad(slope.norm(dim=1), (0, 4 - length))
        torch.testing.assert_close(found.by_token[b], by_token, rtol=1e-13, atol=0)
        torch.testing.assert_close(found.distance[b], margin.abs() / slope.norm())
        torch.testing.assert_close(found.relative[b], slope.norm() * e.norm() / margin.abs())
    assert torch.equal(found.labels, labels) and not found.flat.any()


def test_it_costs_one_forward_and_leaves_no_gradient_behind() -> None:
    model = linear()
    model.words.weight.requires_grad_()
    conditioning(model, texts(4, 2))
    assert model.calls == 1 and model.words.weight.grad is None
    with torch.no_grad():  # the caller's choice is no obstacle
        assert (conditioning(model, texts(4, 2)).gradient > 0).all()


def test_predicted_labels_have_positive_margins() -> None:
    model, batch = linear(), texts(4, 2, 3)
    found = conditioning(model, batch)
    assert (found.margin > 0).all()
    again = conditioning(model, batch, found.labels)
    assert all(
        torch.equal(a, b)
        for a, b in zip(*map(dict.values, map(fields, (found, again))), strict=True)
    )
    wrong = conditioning(model, batch, (found.labels + 1) % 3)
    assert (wrong.margin < 0).all() and (wrong.distance > 0).all()


def test_a_step_of_that_length_along_the_gradient_flips_to_first_order() -> None:
    # Far from saturation tanh is nearly straight.
    model = linear(2)
    model.words.weight.mul_(1e-3)
    batch = texts(3)
    found = conditioning(model, batch)
    e = model.words(batch["input_ids"]).requires_grad_()
    logits = model(e, batch["attention_mask"]).logits[0]
    label = int(found.labels[0])
    (slope,) = torch.autograd.grad(logits[label] - logits[1 - label], e)
    moved = e - found.distance * slope / slope.norm()
    after = model(moved, batch["attention_mask"]).logits[0]
    assert abs(after[label] - after[1 - label]) < 1e-4 * found.margin[0]


def test_padding_and_batch_mates_change_nothing() -> None:
    model, batch = linear(), texts(5, 2)
    together = conditioning(model, batch)
    alone = conditioning(model, {name: value[1:, :2] for name, value in batch.items()})
    for name, value in fields(together).items():
        own = value[1:, :2] if name == "by_token" else value[1:]
        torch.testing.assert_close(own, fields(alone)[name], rtol=1e-13, atol=0, msg=name)


def test_special_tokens_are_no_words() -> None:
    model, batch = linear(), texts(4)
    whole = conditioning(model, batch)
    special = torch.tensor([[1, 0, 0, 1]])
    words = conditioning(model, {**batch, "special_tokens_mask": special})
    assert words.margin == whole.margin and words.gradient < whole.gradient
    assert torch.equal(words.by_token, whole.by_token * (1 - special))
    none = conditioning(model, {**batch, "special_tokens_mask": torch.ones(1, 4)})
    assert none.flat.all() and none.distance.isinf().all()


def test_padding_alone_is_no_text() -> None:
    model, batch = linear(), texts(4, 3)
    alone = conditioning(model, batch)
    mask = batch["attention_mask"].clone()
    mask[1] = 0
    found = conditioning(model, {**batch, "attention_mask": mask}, labels=alone.labels)
    for name in ("margin", "gradient", "distance", "relative"):
        assert getattr(found, name)[1].isnan() and getattr(found, name)[0].isfinite()
    assert not found.flat.any()


def test_a_model_without_logits_is_refused() -> None:
    class Bare(Toy):
        def forward(self, **inputs: Tensor) -> Tensor:
            return super().forward(**inputs).logits

    with pytest.raises(ValueError, match="must return logits"):
        conditioning(Bare(linear().head).eval(), texts(3))


def test_a_gradient_that_vanishes_is_marked() -> None:
    constant = Toy(lambda mean: torch.tensor([[2.0, 1.0]], dtype=DTYPE).expand(len(mean), 2))
    found = conditioning(constant.eval(), texts(3, 2))
    assert found.flat.all() and found.distance.tolist() == [math.inf] * 2
    assert found.gradient.tolist() == [0.0] * 2 and found.relative.tolist() == [0.0] * 2
    tied = Toy(lambda mean: torch.zeros(len(mean), 2, dtype=DTYPE)).eval()
    nowhere = conditioning(tied, texts(3))
    assert nowhere.distance.tolist() == [0.0] and nowhere.relative.isnan().all()
    assert nowhere.flat.all()


def test_a_margin_of_zero_is_on_the_boundary() -> None:
    even = Toy(lambda mean: torch.stack([mean[:, 0], 2 * mean[:, 0]], 1)).eval()
    even.words.weight.zero_()
    found = conditioning(even, texts(3))
    assert found.margin == 0 and found.distance == 0 and not found.flat.any()


def test_logits_that_are_not_finite_are_marked_and_leave_their_mates_alone() -> None:
    model = linear()
    batch = texts(4, 2, 3)
    expected = conditioning(model, batch)
    head = model.head
    spoilt = torch.tensor([[0.0], [1.0], [0.0]], dtype=DTYPE)
    for bad in (math.nan, math.inf):
        model.head = lambda mean, bad=bad: torch.where(spoilt > 0, bad, head(mean))
        found = conditioning(model, batch, torch.tensor([0, 1, 2]))
        for name in ("margin", "gradient", "distance", "relative"):
            assert getattr(found, name)[1].isnan(), name
        assert found.by_token[1].isnan().all() and not found.flat.any()
        alone = conditioning(linear(), batch, torch.tensor([0, 1, 2]))
        assert torch.equal(found.gradient[[0, 2]], alone.gradient[[0, 2]])
    assert expected.margin.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precisions(dtype: torch.dtype) -> None:
    found, exact = conditioning(linear(3, dtype), texts(4, 2)), conditioning(linear(), texts(4, 2))
    assert found.margin.dtype == found.gradient.dtype == torch.float32
    tolerance = 20 * torch.finfo(dtype).eps
    torch.testing.assert_close(
        found.gradient.double(), exact.gradient, rtol=tolerance, atol=tolerance
    )


def test_an_empty_batch() -> None:
    batch = {name: value[:0] for name, value in texts(3).items()}
    assert conditioning(linear(), batch).margin.shape == (0,)
    labels = torch.zeros(0, dtype=torch.long)
    assert conditioning(linear(), batch, labels).flat.shape == (0,)
    assert conditioning(linear(), batch).by_token.shape == (0, 3)


TINY = {"vocab_size": VOCABULARY, "hidden_size": 8, "num_attention_heads": 2}


def transformer(kind: str) -> Any:
    """A classifier of one small layer."""
    import transformers

    torch.manual_seed(0)
    sizes = TINY | {"num_hidden_layers": 1, "intermediate_size": 8, "max_position_embeddings": 12}
    config = getattr(transformers, f"{kind}Config")(**sizes)
    return getattr(transformers, f"{kind}ForSequenceClassification")(config).eval()


@pytest.mark.parametrize("kind", ["Bert", "Roberta"])
def test_a_transformer_has_no_shape_for_an_empty_batch(kind: str) -> None:
    # Fails with torch's own error if the model is asked: its attention cannot be reshaped.
    batch = {name: value[:0] for name, value in texts(3).items()}
    record = conditioning(transformer(kind), batch)
    assert record.margin.shape == (0,) and record.labels.dtype == torch.long


@pytest.mark.parametrize("kind", ["Bert", "Roberta"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_the_logits_are_those_of_the_token_ids(kind: str, side: str) -> None:
    # Fails for padding on the left if RoBERTa is left to count positions from embeddings alone.
    model = transformer(kind)
    pad = model.config.pad_token_id
    words, padding = [5, 6, 7], [pad] * 2
    ids = torch.tensor([padding + words if side == "left" else words + padding])
    batch = {"input_ids": ids, "attention_mask": (ids != pad).long()}
    with torch.no_grad():
        logits = model(**batch).logits
    record = conditioning(model, batch)
    expected = (logits.amax(1) - logits.amin(1)).double()
    torch.testing.assert_close(record.margin.double(), expected, rtol=1e-4, atol=1e-7)
    given = conditioning(model, batch | {"position_ids": torch.arange(3, 8)[None]})
    assert not torch.equal(given.margin, record.margin)  # the caller's positions are taken


def test_a_model_that_takes_no_positions_is_given_none() -> None:
    # Fails with an unexpected argument.
    model = linear()
    model.position_embeddings = nn.Embedding(12, HIDDEN, padding_idx=1).eval()
    assert conditioning(model, texts(4, 2)).margin.isfinite().all()


def test_wrong_input() -> None:
    batch = texts(4, 2)
    with pytest.raises(ValueError, match=r"at least one token a text, got \(2, 0\)"):
        conditioning(linear(), {name: value[:, :0] for name, value in batch.items()})
    with pytest.raises(ValueError, match="model must have at least 2 outputs, got 1: a regression"):
        conditioning(linear(1), batch)
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.2, got \[-1, 3\]"):
        conditioning(linear(), batch, torch.tensor([-1, 3]))
    with pytest.raises(ValueError, match=r"labels must be whole numbers of shape \(2,\), got"):
        conditioning(linear(), batch, torch.zeros(2, dtype=DTYPE))
    with pytest.raises(ValueError, match=r"labels must be whole numbers of shape \(2,\), got"):
        conditioning(linear(), batch, torch.tensor([1]))
    with pytest.raises(ValueError, match="model must be in eval mode"):
        conditioning(linear().train(), batch)
    with pytest.raises(ValueError, match="batch must have attention_mask as a tensor"):
        conditioning(linear(), {"input_ids": batch["input_ids"]})
    with pytest.raises(ValueError, match=r"input_ids and attention_mask must be \(batch, tokens\)"):
        conditioning(linear(), {**batch, "attention_mask": torch.ones(2, 3)})
    with pytest.raises(ValueError, match=r"special_tokens_mask must be of shape \(2, 4\)"):
        conditioning(linear(), {**batch, "special_tokens_mask": torch.ones(2, 3)})
    with pytest.raises(ValueError, match=r"logits must be \(batch, outputs\) with 2 rows, got"):
        conditioning(Toy(lambda mean: mean[None]).eval(), batch)
