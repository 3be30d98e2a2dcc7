"""Tiny classifiers to attack: BERT and IM-BERT trained for a moment, and one that is linear in its
word embeddings.
"""

import copy
import functools
import tempfile
import types
from pathlib import Path

import numpy as np
import torch
import transformers
from tiny import save_tiny, sentences
from torch import nn

from imbert import ImBertForSequenceClassification
from imbert.data.tasks import Examples, task
from imbert.model.classifier import Classifier

TABLE = {  # synonyms among the words of the tiny vocabulary
    "good": ("great", "dull"),
    "great": ("fine", "bad"),
    "fine": ("lovely",),
    "superb": ("poor", "good"),
    "lovely": ("quite", "awful"),
    "bad": ("poor", "good"),
    "awful": ("fine",),
    "poor": ("bad",),
    "dull": ("a", "lovely"),
    "dreadful": ("film", "great"),
    "film": ("story", "actor"),
    "story": ("film",),
    "the": ("a",),
}
OFF = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
TRUNCATED = {"name": "GradientDescent", "steps": 5, "step_size": 0.1, "rtol": 0.0}


@functools.cache
def tiny_checkpoint() -> Path:
    """A tiny BERT's folder, for the whole session."""
    return save_tiny(Path(tempfile.mkdtemp()) / "bert", **OFF)


def some(count: int = 12, seed: int = 1) -> Examples:
    """Labelled sentences as a task."""
    texts, labels = sentences(count, seed)
    return Examples(
        task("sst2"),
        tuple((text,) for text in texts),
        np.array(labels),
        tuple(map(str, range(count))),
        "made",
    )


@functools.cache
def trained(kind: str = "bert") -> Classifier:
    """A classifier that gets all sentences right: "bert", "im-bert", or "truncated" with five steps
    of gradient descent.

    It is shared: whoever changes the model takes `copied`.
    """
    folder = tiny_checkpoint()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = _model(kind, folder).train()
        classifier = Classifier(
            model, transformers.AutoTokenizer.from_pretrained(folder), max_length=32, batch_size=8
        )
        examples = some(64, seed=0)
        batch, labels = classifier.encode(examples.texts), torch.tensor(examples.labels)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        for _ in range(60):
            optimizer.zero_grad()
            loss = model(**batch, labels=labels).loss
            if loss < 0.02:
                break
            loss.backward()
            optimizer.step()
    model.eval()
    return classifier


def _model(kind: str, folder: Path) -> nn.Module:
    options = {"num_labels": 2, "use_safetensors": True}
    if kind == "bert":
        return transformers.BertForSequenceClassification.from_pretrained(folder, **options)
    step = {"implicit_layers": [1, 2], "step_size": 0.5}
    if kind == "truncated":
        step |= {"solver": TRUNCATED, "adjoint": {"name": "UnrolledAdjoint"}}
    return ImBertForSequenceClassification.from_pretrained(folder, **options, **step)


def copied(classifier: Classifier) -> Classifier:
    """The same with a model of its own."""
    return Classifier(
        copy.deepcopy(classifier.model),
        classifier.tokenizer,
        classifier.max_length,
        classifier.batch_size,
    )


class LinearModel(nn.Module):
    """Logits (−s, s) with s = w·Σ e_t + bias over all real tokens."""

    def __init__(self, words: int, hidden: int = 6, bias: float = 0.0) -> None:
        super().__init__()
        self.config = types.SimpleNamespace(num_labels=2, max_position_embeddings=32)
        draw = torch.Generator().manual_seed(3)
        self.table = nn.Embedding(words, hidden)
        self.table.weight.data = torch.randn(words, hidden, generator=draw)
        self.weight = nn.Parameter(torch.randn(hidden, generator=draw))
        self.bias = bias

    @property
    def device(self) -> torch.device:
        return self.weight.device

    def get_input_embeddings(self) -> nn.Embedding:
        return self.table

    def forward(self, input_ids=None, attention_mask=None, inputs_embeds=None, **rest):
        embeddings = self.table(input_ids) if inputs_embeds is None else inputs_embeds
        score = ((embeddings @ self.weight) * attention_mask).sum(dim=1) + self.bias
        return types.SimpleNamespace(logits=self.shown(torch.stack([-score, score], dim=1)))

    def shown(self, logits: torch.Tensor) -> torch.Tensor:
        return logits


class RoundedModel(LinearModel):
    """The same with a gradient that is zero wherever it exists: logits times 1e4, rounded."""

    def shown(self, logits: torch.Tensor) -> torch.Tensor:
        return (1e4 * logits).round()


class DetachedModel(LinearModel):
    """The same, its logits cut from the graph."""

    def shown(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.detach()


def linear(kind: type[LinearModel] = LinearModel, bias: float = 0.0) -> Classifier:
    """A linear classifier on the tiny vocabulary, batches of five."""
    tokenizer = trained().tokenizer
    return Classifier(
        kind(len(tokenizer), bias=bias).eval(), tokenizer, max_length=32, batch_size=5
    )


def labelled_by(classifier: Classifier, examples: Examples) -> Examples:
    """The same texts with the classifier's own answers as labels, so that all are right."""
    labels = classifier.logits(examples.texts).argmax(axis=1)
    return Examples(examples.task, examples.texts, labels, examples.ids, examples.source)
