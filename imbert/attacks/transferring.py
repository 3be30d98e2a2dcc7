"""Whether what breaks one classifier breaks another one."""

import math
from collections.abc import Iterator

import numpy as np
import torch

from imbert.attack_records import Transfer as Transfer
from imbert.attacks.attack import AttackResult, require_classification
from imbert.attacks.embedding_attack import EmbeddedBatch, embedded
from imbert.attacks.losses import margin
from imbert.data.tasks import Examples
from imbert.model.classifier import Classifier, frozen


def transfer(result: AttackResult, examples: Examples, target: Classifier) -> Transfer:
    """Put what broke the attacked classifier to another one; call it again the other way round for
    both ways.

    Texts are put as they are. Perturbations of word embeddings are added to the target's own
    embeddings, so that both need the same tokens and hidden size.

    Args:
        result: of an attack on the source, on these examples.
        examples: that were attacked.
        target: another classifier of the same task.

    Raises:
        ValueError: if the result is not of these examples, or perturbations do not fit the target.
    """
    require_classification(target, examples)
    if len(examples) != result.examples:
        raise ValueError(f"the attack was on {result.examples} examples, got {len(examples)}")
    before = target.logits(examples.texts).argmax(axis=1) == examples.labels
    after = before.copy()
    if result.changed:
        after[result.changed] = _after(result, examples, target) == examples.labels[result.changed]
    # what the target had wrong before says nothing of a transfer
    counted = [i for i in result.changed if before[i]]
    moved = [i for i in counted if not after[i]]
    rate = len(moved) / len(counted) if counted else math.nan
    return Transfer(
        attack=result.attack,
        broken=len(result.changed),
        counted=len(counted),
        transferred=len(moved),
        rate=rate,
        target_clean_accuracy=float(before.mean()),
        target_accuracy=float(after.mean()),
        changed=moved,
    )


def _after(result: AttackResult, examples: Examples, target: Classifier) -> np.ndarray:
    if result.perturbations[result.changed[0]] is None:
        return target.logits([result.texts[i] for i in result.changed]).argmax(axis=1)
    return perturbed_logits(result, examples, target, result.changed).argmax(axis=1)


def perturbed_logits(
    result: AttackResult, examples: Examples, target: Classifier, indices: list[int]
) -> np.ndarray:
    """Logits of a classifier at the perturbed embeddings of some examples; see `perturbed`."""
    with frozen(target.model), torch.no_grad():
        logits = [
            target.forward_embedded(batch.embeddings + delta, batch.batch).double().cpu().numpy()
            for batch, delta in perturbed(result, examples, target, indices)
        ]
    return np.concatenate(logits) if logits else np.zeros((0, target.labels))


def perturbed(
    result: AttackResult, examples: Examples, target: Classifier, indices: list[int]
) -> Iterator[tuple[EmbeddedBatch, torch.Tensor]]:
    """Batches of some examples with the perturbations `(batch, tokens, hidden)` of their word
    embeddings.

    Raises:
        ValueError: if a perturbation is missing, or does not fit the tokens or the hidden size.
    """
    for start in range(0, len(indices), target.batch_size):
        rows = indices[start : start + target.batch_size]
        batch = embedded(target, [examples.texts[i] for i in rows], examples.labels[rows], margin)
        delta = torch.zeros_like(batch.embeddings)
        lengths = batch.batch["attention_mask"].sum(dim=1).tolist()
        for row, (index, length) in enumerate(zip(rows, lengths, strict=True)):
            own = result.perturbations[index]
            expected = (int(length), delta.shape[2])
            if own is None or tuple(own.shape) != expected:
                got = None if own is None else tuple(own.shape)
                raise ValueError(
                    f"example {index} needs a perturbation of shape {expected}, got {got}"
                )
            delta[row, : expected[0]] = own.to(delta)
        yield batch, delta
