"""What breaks one classifier is put to another one."""

import dataclasses
import json

import pytest
from tiny_classifiers import TABLE, linear, some, trained

from imbert.attacks import CharacterEdits, EmbeddingPGD, WordSubstitution, transfer
from imbert.records import plain


@pytest.mark.parametrize(
    "attack",
    [
        CharacterEdits(),
        WordSubstitution(TABLE, max_fraction=0.5),
        EmbeddingPGD(radius=0.5, steps=4, restarts=1),
    ],
)
def test_everything_transfers_to_the_same_model(attack) -> None:
    classifier, examples = trained(), some(12)
    result = attack.run(classifier, examples)
    moved = transfer(result, examples, classifier)
    assert moved.rate == 1 and moved.changed == result.changed != []
    assert (moved.target_clean_accuracy, moved.target_accuracy) == (
        result.clean_accuracy,
        pytest.approx(result.robust_accuracy),
    )


@pytest.mark.parametrize("source, target", [("bert", "im-bert"), ("im-bert", "bert")])
@pytest.mark.parametrize(
    "attack", [CharacterEdits(), EmbeddingPGD(radius=0.5, steps=4, restarts=1)]
)
def test_transfer_counts_what_the_target_had_right(source: str, target: str, attack) -> None:
    examples = some(8)
    result = attack.run(trained(source), examples)
    moved = transfer(result, examples, trained(target))
    before = trained(target).logits(examples.texts).argmax(axis=1) == examples.labels
    assert moved.broken == len(result.changed) and moved.counted == before[result.changed].sum()
    assert moved.transferred == len(moved.changed) <= moved.counted
    assert (
        moved.target_accuracy == pytest.approx((before.sum() - moved.transferred) / 8)
        or moved.counted < moved.broken
    )
    assert json.loads(json.dumps(plain(moved), allow_nan=False))["broken"] == moved.broken


def test_transfer_refuses_what_does_not_fit() -> None:
    examples = some(6)
    result = EmbeddingPGD(steps=4, radius=1.0).run(trained(), examples)
    with pytest.raises(ValueError, match="on 6 examples, got 5"):
        transfer(result, examples.take(range(5)), trained())
    with pytest.raises(
        ValueError, match=r"needs a perturbation of shape \(\d+, 6\), got \(\d+, 16\)"
    ):
        transfer(result, examples, linear())
    nothing = transfer(dataclasses.replace(result, changed=[]), examples, trained())
    assert nothing.broken == 0 and plain(nothing)["rate"] is None
