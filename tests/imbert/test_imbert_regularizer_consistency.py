"""λ E‖z̃ − z‖² under random edits, and the edits themselves."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from regularized import EXACT, STEPS, batch_of, penalised, regularization
from regularized import require_gradient as require
from tiny_models import implicit, plain

from imbert.training.regularizers import edits as module
from imbert.training.regularizers.edits import EditedPair, edited_pair
from imbert.training.regularizers.regularization import Regularization
from imbert.training.regularizers.regularizer import AbstractRegularizer, MicroBatch, Penalised

STRENGTH = 0.5


class Taken(AbstractRegularizer):
    """Keeps the edits of a micro-batch."""

    passes = None
    perturbs_embeddings = False

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.pair: EditedPair

    def loss(self, micro: MicroBatch) -> Penalised:
        self.pair = edited_pair(micro, **self.options)
        return Penalised(torch.zeros(()), torch.zeros(()))


def taken(folder: Path, chosen: list[int] | None = None, step: int = 3, **options: Any) -> Taken:
    made = regularization(folder, "consistency", strength=STRENGTH)
    working = Regularization(Taken(**options), made.rows, made.seed)
    penalised(working, None, chosen, step)
    assert isinstance(working.regularizer, Taken)
    return working.regularizer


@pytest.mark.parametrize("edits", ["tokens", "characters"])
@pytest.mark.parametrize("kind", ["bert", "im-bert"])
def test_the_gradient_is_that_of_differences(
    kind: str, edits: str, tiny_folder: Path, quiet: None
) -> None:
    model = plain(tiny_folder) if kind == "bert" else implicit(tiny_folder, **STEPS, adjoint=EXACT)
    model = model.double().train()
    working = regularization(tiny_folder, "consistency", strength=STRENGTH, edits=edits)
    require(model, lambda: penalised(working, model))


@pytest.mark.parametrize("kind", ["bert", "im-bert"])
def test_both_passes_drop_out_the_same_entries(
    kind: str, tiny_folder: Path, quiet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text that is its own edit costs nothing, whatever dropout draws."""
    model = plain(tiny_folder) if kind == "bert" else implicit(tiny_folder, **STEPS)
    working = regularization(tiny_folder, "consistency", strength=STRENGTH, edits="characters")
    monkeypatch.setattr(module, "_changes", lambda texts, most, draw: {})
    changed = module.EditedPair.__init__

    def all_changed(pair: Any, clean: Any, edited: Any, changed_: Any) -> None:
        changed(pair, clean, edited, torch.ones_like(changed_))

    monkeypatch.setattr(module.EditedPair, "__init__", all_changed)
    penalised(working, model.double().train())
    assert working.summary().value == 0.0


def test_an_edit_does_not_depend_on_batch_mates_and_changes_from_step_to_step(
    tiny_folder: Path,
) -> None:
    for edits in ("tokens", "characters"):
        options = {"edits": edits, "max_edits": 1, "equal_counts": False}
        whole = taken(tiny_folder, **options).pair.edited["input_ids"]
        part = taken(tiny_folder, [2, 1], **options).pair.edited["input_ids"]
        width = min(whole.shape[1], part.shape[1])
        assert torch.equal(whole[[2, 1], :width], part[:, :width])
        later = taken(tiny_folder, step=4, **options).pair.edited["input_ids"]
        assert later.shape != whole.shape or not torch.equal(later, whole)


def test_tokens_are_exchanged_for_words_of_other_texts_alone(tiny_folder: Path) -> None:
    kept = taken(tiny_folder, edits="tokens", max_edits=2)
    clean, edited = kept.pair.clean["input_ids"], kept.pair.edited["input_ids"]
    other = clean != edited
    assert bool((other.sum(1) <= 2).all()) and bool(other.any())
    rows = regularization(tiny_folder, "r3f").rows
    special = torch.tensor(rows.tokenizer.all_special_ids)
    assert not torch.isin(clean[other], special).any()
    assert not torch.isin(edited[other], special).any()
    assert torch.isin(edited[other], clean).all()
    assert torch.equal(kept.pair.changed, other.any(1)) and "labels" not in kept.pair.edited


def test_character_edits_of_equal_counts_keep_the_shape(tiny_folder: Path) -> None:
    free = taken(tiny_folder, edits="characters", max_edits=1, equal_counts=False).pair
    width = free.clean["input_ids"].shape[1]
    assert free.edited["input_ids"].shape == free.clean["input_ids"].shape
    # pieces of an edited word are more: the texts are padded to the edits
    assert width > batch_of(regularization(tiny_folder, "r3f").rows, [0])["input_ids"].shape[1]
    assert bool((free.clean["attention_mask"][:, -1] == 0).all())
    equal = taken(tiny_folder, edits="characters", max_edits=1, equal_counts=True).pair
    assert torch.equal(equal.clean["attention_mask"], equal.edited["attention_mask"])
    other = (equal.clean["input_ids"] != equal.edited["input_ids"]).any(1)
    assert torch.equal(equal.changed, other)


def test_padding_is_on_the_tokenizers_side(tiny_folder: Path) -> None:
    working = regularization(tiny_folder, "consistency", strength=STRENGTH)
    batch = batch_of(working.rows, [1])
    working.rows.tokenizer.padding_side = "left"
    wide = working.widened(batch, batch["input_ids"].shape[1] + 2)
    assert wide["attention_mask"][0, :2].tolist() == [0, 0]
    assert wide["input_ids"][0, 2:].tolist() == batch["input_ids"][0].tolist()
    assert torch.equal(wide["labels"], batch["labels"])


def test_a_text_without_words_has_no_edit(tiny_folder: Path, quiet: None) -> None:
    model = plain(tiny_folder).train()
    for edits in ("tokens", "characters"):
        working = regularization(tiny_folder, "consistency", strength=STRENGTH, edits=edits)
        working.rows.texts = ((" ",),) * 4
        working.rows.encoded = working.rows.tokenized(working.rows.texts)
        assert math.isfinite(float(penalised(working, model).detach()))
        summary = working.summary()
        assert summary.value == 0.0 and summary.edited == 0.0
