"""What really perturbs a fine-tuned model, for `odestab calibrate`: AdvGLUE's pairs by whether they
flip it, and directions of an attack.

The texts are those of the data, whose licence may forbid to publish them: the files are for this
machine.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from imbert.attacks.choice import AttackChoice
from imbert.attacks.embedding_pgd import EmbeddingPGD
from imbert.attacks.losses import margin
from imbert.data.advglue import ADVGLUE_TASKS, read_advglue
from imbert.data.tasks import Examples
from imbert.model.classifier import Classifier
from imbert.result import write_json
from imbert.study.attack_runs import attacked_examples
from imbert.training.evaluate import load_classifier
from imbert.training.run_config import RunConfig

PAIRS = "perturbations.tsv"
DIRECTIONS = "directions.safetensors"
MARGINS = "margins.json"
Report = Callable[[str], None]


def write_perturbations(
    checkpoint: Path, run: RunConfig, choice: AttackChoice, data: Path, out: Path, report: Report
) -> tuple[Path, Path]:
    """Write the texts with their edits, and what an attack adds to the state that enters the first
    layer.

    Of AdvGLUE's pairs those whose original is right are kept, as kind "flipped" where the
    adversarial text is wrong, else as "held". The attack is PGD on the word embeddings of those of
    the first dev examples that are right; what it does to the state after the embeddings' LayerNorm
    is the direction, at its size, whether it succeeds or not.

    Args:
        checkpoint: a folder with safetensors weights.
        run: its task, of one text an example, and its AdvGLUE file.
        choice: how many examples are attacked, and the attack's norm, first radius and seed.
        data: where relative paths start.
        out: the folder for both files.
        report: takes lines about progress.

    Returns:
        The texts, `kind<TAB>original<TAB>edited` for pairs and a text alone where there is a
        direction, and the directions, `(tokens, hidden)` by the sha256 of their text. Beside them
        margins.json has for the original of each pair, by its sha256, the logit of the
        right answer less the largest other: how far the model is from flipping before any edit.

    Raises:
        ValueError: if the task has two texts, or a file does not fit.
        OSError: if something cannot be read or written.
    """
    examples = attacked_examples(run, choice, data)
    if any(len(parts) != 1 for parts in examples.texts):
        raise ValueError(
            f"task must be of one text an example, got {run.data.task}, whose examples have two"
        )
    classifier = load_classifier(checkpoint, run)
    lines: list[str] = []
    margins: dict[str, float] = {}
    if run.evaluate.advglue is not None and run.data.task in ADVGLUE_TASKS:
        lines, margins = _pairs(classifier, data / run.evaluate.advglue, run.data.task, report)
    directions = _directions(classifier, examples, choice, report)
    lines += [text for text, _ in directions]
    out.mkdir(parents=True, exist_ok=True)
    (out / PAIRS).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    save_file({_digest(text): difference for text, difference in directions}, out / DIRECTIONS)
    write_json(out / MARGINS, margins)
    return out / PAIRS, out / DIRECTIONS


def _directions(
    classifier: Classifier, examples: Examples, choice: AttackChoice, report: Report
) -> list[tuple[str, Tensor]]:
    """Each text that PGD attacked, and what it adds to the state that enters the first layer."""
    attack = EmbeddingPGD(norm=choice.norm, radius=choice.radii[0])
    result = attack.run(classifier, examples, choice.seed)
    attacked = [i for i, delta in enumerate(result.perturbations) if delta is not None]
    report(
        f"attack: {len(attacked)} of {len(examples)} examples "
        f"attacked, {len(result.changed)} of them flipped"
    )
    texts = [_clean(examples.texts[i][0]) for i in attacked]
    return [
        (text, _state_difference(classifier, text, result.perturbations[i]))
        for text, i in zip(texts, attacked, strict=True)
    ]


def _pairs(
    classifier: Classifier, path: Path, task: str, report: Report
) -> tuple[list[str], dict[str, float]]:
    """AdvGLUE's pairs whose original is right, and the margins of these originals."""
    paired = read_advglue(path, task)
    logits = classifier.logits(paired.original.texts)
    before = logits.argmax(axis=1) == paired.original.labels
    after = classifier.logits(paired.adversarial.texts).argmax(axis=1) == paired.adversarial.labels
    margins = -margin(torch.as_tensor(logits), torch.as_tensor(paired.original.labels)).double()
    lines: list[str] = []
    margin_of: dict[str, float] = {}
    for right, still, (original,), (edited,), own in zip(
        before,
        after,
        paired.original.texts,
        paired.adversarial.texts,
        margins.tolist(),
        strict=True,
    ):
        if right and _clean(original) != _clean(edited):
            lines.append(f"{'held' if still else 'flipped'}\t{_clean(original)}\t{_clean(edited)}")
            margin_of[_digest(_clean(original))] = own
    report(
        f"AdvGLUE: {len(lines)} of {len(before)} pairs whose original is "
        f"right, {int((before & ~after).sum())} of them flipped"
    )
    return lines, margin_of


def _digest(text: str) -> str:
    """By which a file without texts names one."""
    return hashlib.sha256(text.encode()).hexdigest()


def _clean(text: str) -> str:
    """One line without tabs; what it was cut into tokens from stays the same."""
    return " ".join(text.split())


def _state_difference(classifier: Classifier, text: str, perturbation: Tensor | None) -> Tensor:
    """What a perturbation of the word embeddings does to the state that enters the first layer,
    `(tokens, hidden)`.
    """
    assert perturbation is not None
    batch = classifier.encode([text])
    embeddings: torch.nn.Module = classifier.model.base_model.embeddings
    words = classifier.embed(batch)
    rest = {name: batch[name] for name in ("token_type_ids",) if name in batch}
    with torch.no_grad():
        before = embeddings(inputs_embeds=words, **rest)
        after = embeddings(inputs_embeds=words + perturbation.to(words), **rest)
    return (after - before)[0].cpu().contiguous()
