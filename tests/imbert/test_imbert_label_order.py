"""A checkpoint's outputs are read by their names, everywhere; trained models carry the task's."""

import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from tiny import WORDS, save_tiny, tiny_config
from tiny_classifiers import labelled_by, some, trained
from tiny_runs import tiny_run

from imbert.attacks import CharacterEdits, EmbeddingPGD, transfer
from imbert.data.label_order import name_outputs, output_order
from imbert.data.tasks import Examples, task
from imbert.model.choice import ModelChoice
from imbert.model.classifier import Classifier
from imbert.model.loading import load_model
from imbert.training.evaluate import evaluate, load_classifier

MNLI = ("entailment", "neutral", "contradiction")
SPELLINGS = [
    ("qnli", ("NOT_ENTAILMENT", "Entailment"), (1, 0)),
    ("rte", ("not entailment", "entailment"), (1, 0)),
    ("wnli", ("entailment", "not-entailment"), (1, 0)),
    ("mrpc", ("Not Equivalent", "Equivalent"), (0, 1)),
    ("cola", ("acceptable", "unacceptable"), (1, 0)),
    ("qqp", ("1", "0"), (1, 0)),
    ("sst2", ("LABEL_0", "LABEL_1"), (0, 1)),
    ("sst2", ("label_0", "label_1"), (0, 1)),
    ("mnli", ("CONTRADICTION", "NEUTRAL", "ENTAILMENT"), (2, 1, 0)),
    ("mnli", ("contradiction", "entailment", "neutral"), (1, 2, 0)),
    ("stsb", ("similarity",), (0,)),
]


def named(names: tuple[str, ...], **others: object) -> SimpleNamespace:
    return SimpleNamespace(num_labels=len(names), id2label=dict(enumerate(names)), **others)


@pytest.mark.parametrize(("name", "names", "order"), SPELLINGS)
def test_the_output_of_each_label(
    name: str, names: tuple[str, ...], order: tuple[int, ...]
) -> None:
    assert output_order(named(names), task(name)) == order


@pytest.mark.parametrize(
    ("name", "config", "said"),
    [
        (
            "mrpc",
            named(("entailment", "not_entailment")),
            "outputs named not_equivalent, equivalent in any order, got 'entailment'",
        ),
        (
            "mnli",
            named(("entailment", "entailment", "neutral")),
            "named entailment, neutral, contradiction",
        ),
        ("sst2", named(("LABEL_1", "LABEL_0")), "got 'LABEL_1', 'LABEL_0'"),
        ("sst2", named(("LABEL_0", "positive")), "got 'LABEL_0', 'positive'"),
        ("sst2", named(MNLI), "has 2 labels, got a model with 3"),
        ("stsb", named(("negative", "positive")), "has 1 labels, got a model with 2"),
        (
            "sst2",
            named(("negative", "positive"), label2id={"negative": 1, "positive": 0}),
            "label2id to be id2label read backwards",
        ),
    ],
)
def test_names_that_contradict_the_task_are_refused(
    name: str, config: SimpleNamespace, said: str
) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        output_order(config, task(name), "here")
    assert str(raised.value).startswith("here: ") and "\n" not in str(raised.value)


def saved(folder: Path, names: tuple[str, ...], rows: list[int]) -> Path:
    """A checkpoint whose head's rows are those of one and the same head, reordered, under the
    names.
    """
    save_tiny(
        folder,
        num_labels=len(names),
        id2label=dict(enumerate(names)),
        label2id={name: i for i, name in enumerate(names)},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        model = transformers.BertForSequenceClassification(tiny_config(num_labels=len(names)))
    model.classifier.weight.data.mul_(20)
    bare = Classifier(model.eval(), trained().tokenizer, 32)
    model.classifier.bias.data -= torch.tensor(
        bare.logits(pairs().texts).mean(axis=0), dtype=torch.float32
    )
    for parameter in model.classifier.parameters():
        parameter.data = parameter.data[rows].clone()
    model.config.id2label, model.config.label2id = (
        dict(enumerate(names)),
        {name: i for i, name in enumerate(names)},
    )
    model.save_pretrained(folder)
    return folder


def pairs(count: int = 12) -> Examples:
    """Pairs of texts as MNLI has them."""
    texts = tuple(
        (first[0], second[0])
        for first, second in zip(some(count).texts, some(count, seed=5).texts, strict=True)
    )
    return Examples(
        task("mnli"), texts, np.zeros(count, dtype=int), tuple(map(str, range(count))), "made"
    )


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_every_order_of_the_outputs_is_one_model(order: tuple[int, ...], tmp_path: Path) -> None:
    here = saved(tmp_path / "here", tuple(MNLI[i] for i in order), list(order))
    there = saved(tmp_path / "there", MNLI, [0, 1, 2])
    ours, theirs = (Classifier.load(folder, 32, 8, task("mnli")) for folder in (here, there))
    examples = labelled_by(theirs, pairs())
    assert np.array_equal(ours.logits(examples.texts), theirs.logits(examples.texts))
    assert len(set(examples.labels.tolist())) > 1
    found = [EmbeddingPGD(radius=0.5, restarts=1).run(one, examples) for one in (ours, theirs)]
    assert found[0].clean_accuracy == 1 and found[0].changed == found[1].changed
    edited = CharacterEdits().run(ours, examples)
    assert transfer(edited, examples, theirs).transferred == len(edited.changed) > 0
    run = tiny_run(
        here,
        data={"task": "mnli", "source": "dev.tsv", "max_length": 32},
        evaluate={"advglue": None},
    )
    lines = [
        f"{a}\t{b}\t{MNLI[label]}"
        for (a, b), label in zip(examples.texts, examples.labels, strict=True)
    ]
    (tmp_path / "dev.tsv").write_text("\n".join(["premise\thypothesis\tlabel", *lines]) + "\n")
    assert evaluate(here, run, tmp_path).dev.metrics["accuracy"] == 1


def test_a_classifier_in_another_order_is_not_attacked(tmp_path: Path) -> None:
    folder = saved(tmp_path, ("contradiction", "entailment", "neutral"), [2, 0, 1])
    with pytest.raises(
        ValueError,
        match=r"in the order of 'mnli', \(1, 2, 0\), got None: load the classifier with task=",
    ):
        CharacterEdits().run(Classifier.load(folder, 32), pairs())


@pytest.mark.parametrize("kind", ["bert", "ex-bert", "im-bert"])
def test_a_head_is_trained_on_in_the_order_of_the_task(kind: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "start", ("contradiction", "entailment", "neutral"), [2, 0, 1])
    model = load_model(
        ModelChoice(str(folder), kind, (2,) if kind == "im-bert" else None), task("mnli"), 0
    )
    assert tuple(model.config.id2label.values()) == MNLI and model.config.label2id == {
        name: i for i, name in enumerate(MNLI)
    }
    model.save_pretrained(tmp_path / "end")
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path / "end")
    run = tiny_run(folder, data={"task": "mnli"})
    if kind == "bert":  # the others have other layers than the checkpoint
        before, after = (
            load_classifier(tmp_path / one, run).logits(pairs().texts) for one in ("start", "end")
        )
        assert np.array_equal(before, after)
    again = load_model(ModelChoice(str(tmp_path / "end"), kind), task("mnli"), 0)
    assert torch.equal(model.classifier.weight, again.classifier.weight)


def test_a_head_of_another_task_is_not_trained_on(tmp_path: Path) -> None:
    folder = saved(tmp_path, ("not_equivalent", "equivalent"), [0, 1])
    with pytest.raises(
        ValueError,
        match="expected outputs named negative, positive in any "
        "order, got 'not_equivalent', 'equivalent'",
    ):
        load_model(ModelChoice(str(folder)), task("sst2"), 0)


def test_a_regression_keeps_its_name() -> None:
    config = transformers.BertConfig(num_labels=1)
    name_outputs(config, task("stsb"))
    assert config.id2label == {0: "LABEL_0"}


def test_the_texts_are_cut_where_the_positions_end(tmp_path: Path) -> None:
    config = transformers.RobertaConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=11,
        pad_token_id=2,
    )
    model = transformers.RobertaForSequenceClassification(config)
    tokenizer = trained().tokenizer
    assert Classifier(model, tokenizer).encode(["good " * 30])["input_ids"].shape == (1, 8)


@pytest.mark.parametrize("limit", [-5, 0, 2, True, "long"])
def test_a_tokenizer_that_cuts_everything_is_refused(limit: object) -> None:
    tokenizer = transformers.BertTokenizer(vocab={word: index for index, word in enumerate(WORDS)})
    tokenizer.model_max_length = limit
    with pytest.raises(ValueError, match="model_max_length of the tokenizer must be"):
        Classifier(trained().model, tokenizer).encode(["good"])
