"""What perturbs a model is written as it is: pairs by whether they flip, and the attack's direction
where it enters the first layer.
"""

import hashlib
import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file
from tiny_runs import tiny_run, write_data

from imbert.attacks import EmbeddingPGD
from imbert.attacks.choice import AttackChoice
from imbert.data.advglue import read_advglue
from imbert.study.attack_runs import attacked_examples
from imbert.study.perturbations import write_perturbations
from imbert.training.evaluate import load_classifier

CHOICE = AttackChoice(kinds=("pgd",), examples=8, radius=3.0, masking=False)


@pytest.fixture
def model(tiny_folder: Path, tmp_path: Path) -> Path:
    """The tiny model with a head."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.BertForSequenceClassification.from_pretrained(
            tiny_folder, num_labels=2
        ).save_pretrained(tmp_path / "model")
    transformers.AutoTokenizer.from_pretrained(tiny_folder).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_pairs_and_directions_are_those_of_the_model(model: Path, tmp_path: Path) -> None:
    data, run, told = write_data(tmp_path / "data"), tiny_run(model), list[str]()
    texts, directions = write_perturbations(model, run, CHOICE, data, tmp_path / "out", told.append)
    classifier = load_classifier(model, run)
    rows = [line.split("\t") for line in texts.read_text().splitlines()]
    paired = read_advglue(data / "advglue.json", "sst2")
    right = classifier.logits(paired.original.texts).argmax(1) == paired.original.labels
    still = classifier.logits(paired.adversarial.texts).argmax(1) == paired.original.labels
    expected = [
        ["held" if s else "flipped", original, edited]
        for r, s, (original,), (edited,) in zip(
            right, still, paired.original.texts, paired.adversarial.texts, strict=True
        )
        if r
    ]
    assert [row for row in rows if len(row) == 3] == expected and len(expected) > 0
    margins = json.loads((tmp_path / "out/margins.json").read_text())
    logits = classifier.logits([(row[1],) for row in expected])
    labels = [int(y) for r, y in zip(right, paired.original.labels, strict=True) if r]
    for row, one, label in zip(expected, logits, labels, strict=True):
        own = margins[hashlib.sha256(row[1].encode()).hexdigest()]
        assert own > 0 and own == pytest.approx(one[label] - one[1 - label], rel=1e-4)
    examples = attacked_examples(run, CHOICE, data)
    attacked = EmbeddingPGD(radius=3.0).run(classifier, examples, 0)
    moved = [i for i, one in enumerate(attacked.perturbations) if one is not None]
    originals = [examples.texts[i][0] for i in moved]
    assert [row[0] for row in rows if len(row) == 1] == originals and originals
    found = load_file(directions)
    assert set(found) == {hashlib.sha256(text.encode()).hexdigest() for text in originals}
    first = moved[0]
    batch = classifier.encode([originals[0]])
    states = []
    classifier.model.bert.encoder.register_forward_pre_hook(
        lambda module, inputs: states.append(inputs[0])
    )
    words = classifier.embed(batch).detach()
    for one in (words, words + attacked.perturbations[first]):
        classifier.forward_embedded(one, batch)
    torch.testing.assert_close(
        found[hashlib.sha256(originals[0].encode()).hexdigest()],
        (states[1] - states[0])[0].detach(),
    )
    assert len(told) == 2


def test_two_texts_are_refused(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "dev.tsv").write_text("sentence1\tsentence2\tlabel\na\tb\t0\n")
    run = tiny_run(tiny_folder, data={"task": "rte", "source": "."}, evaluate={"advglue": None})
    with pytest.raises(ValueError, match="must be of one text an example, got rte"):
        write_perturbations(tiny_folder, run, CHOICE, folder, tmp_path / "out", print)
