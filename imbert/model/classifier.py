"""A fine-tuned model with its tokenizer: texts in, probabilities out, and the same from word
embeddings.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import transformers
from torch import Tensor

import odestab as od
from imbert.data.label_order import output_order
from imbert.data.tasks import Task
from imbert.model.choice import DEFAULT_LENGTH
from imbert.model.loading import reading, require_all_weights, require_safe_weights
from imbert.model.transformers_types import Model, Tokenizer

Text = str | tuple[str, ...]
Batch = Mapping[str, Tensor]


@dataclasses.dataclass(frozen=True, eq=False)
class Classifier:
    """A BERT or IM-BERT for sequence classification or regression; evaluation leaves its training
    mode as it was.

    Attributes:
        model: a transformers model whose output has `logits` and whose forward takes
            `inputs_embeds`.
        tokenizer: a transformers tokenizer.
        max_length: texts are cut to so many tokens, or to what the model has positions for.
        batch_size: so many texts go through the model at once.
        outputs: of each label the model's output that means it; None is the model's own order.

    Raises:
        ValueError: if max_length or batch_size is no whole number of 1 or more.
    """

    model: Model
    tokenizer: Tokenizer
    max_length: int = DEFAULT_LENGTH
    batch_size: int = 32
    outputs: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("max_length", "batch_size"):
            if type(getattr(self, name)) is not int:
                raise ValueError(f"{name} must be a whole number, got {getattr(self, name)!r}")
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")

    @classmethod
    def load(
        cls,
        folder: str | Path,
        max_length: int = DEFAULT_LENGTH,
        batch_size: int = 32,
        task: Task | None = None,
    ) -> Self:
        """The classifier of a folder that holds safetensors weights and a tokenizer, in float32
        whatever it was saved in.

        Args:
            folder: as `save_pretrained` writes it.
            max_length: texts are cut to so many tokens.
            batch_size: so many texts go through the model at once.
            task: whose labels the logits are in the order of, by the names of the checkpoint; None
                leaves the checkpoint's own order.

        Raises:
            ValueError: if the folder has no safetensors weights, or not all of the model's; pickled
                ones are never read. If the checkpoint has other labels than the task.
            OSError: if the folder or its configuration is missing.
        """
        path = Path(folder)
        if not path.is_dir():
            raise FileNotFoundError(f"expected the folder of a classifier, got {path}")
        # else transformers would fall back on pickled weights
        if not any(path.glob("*.safetensors")):
            raise ValueError(
                f"{path}: expected safetensors weights, got "
                f"{', '.join(sorted(entry.name for entry in path.iterdir())) or 'nothing'}"
            )
        require_safe_weights(path)
        with reading(path):
            model, loading = transformers.AutoModelForSequenceClassification.from_pretrained(
                path, use_safetensors=True, dtype="float32", output_loading_info=True
            )
        require_all_weights(path, loading)
        outputs = None if task is None else output_order(model.config, task, path)
        return cls(
            model.eval(),
            transformers.AutoTokenizer.from_pretrained(path),
            max_length,
            batch_size,
            outputs,
        )

    @property
    def labels(self) -> int:
        """How many classes; 1 is a regression."""
        return int(self.model.config.num_labels)

    @property
    def is_implicit(self) -> bool:
        """Whether some layer solves an implicit equation, whose adjoint and tolerance matter."""
        chosen = getattr(self.model.config, "method", None) == "implicit_euler"
        return chosen and getattr(self.model.config, "implicit_layers", None) != []

    def encode(self, texts: Sequence[Text]) -> dict[str, Tensor]:
        """Token ids and masks `(batch, tokens)` on the model's device, padded to the longest.

        Raises:
            ValueError: if there is no text, or the texts have not all one part or all two.
        """
        batch = self._tokenized(texts, padding=True, return_tensors="pt")
        return {name: value.to(self.model.device) for name, value in batch.items()}

    def by_length(self, texts: Sequence[Text]) -> list[int]:
        """Places of the texts, those of fewest tokens first: neighbours share a batch with little
        padding.

        Raises:
            ValueError: if the texts have not all one part or all two.
        """
        if not texts:
            return []
        lengths = [len(ids) for ids in self._tokenized(texts)["input_ids"]]
        return sorted(range(len(texts)), key=lengths.__getitem__)

    def _tokenized(self, texts: Sequence[Text], **options: Any) -> Mapping[str, Any]:
        """What the tokenizer makes of texts, cut to what the model takes."""
        parts = [(text,) if isinstance(text, str) else tuple(text) for text in texts]
        counts = sorted({len(part) for part in parts})
        if counts not in ([1], [2]):
            raise ValueError(f"texts must have all one part or all two, got {counts or 'no text'}")
        columns = [list(column) for column in zip(*parts, strict=True)]
        limit = longest_text(self.model, self.tokenizer, self.max_length, pair=counts == [2])
        tokenized: Mapping[str, Any] = self.tokenizer(
            *columns, truncation=True, max_length=limit, **options
        )
        return tokenized

    def logits(self, texts: Sequence[Text]) -> np.ndarray:
        """Logits `(N, labels)` in the order of the texts; batches hold texts of like length."""
        order = self.by_length(texts)
        logits = np.zeros((len(texts), self.labels), dtype=np.float64)
        # not inference_mode: a solver may differentiate
        with evaluating(self.model), torch.no_grad():
            for start in range(0, len(order), self.batch_size):
                indices = order[start : start + self.batch_size]
                values = self._ordered(
                    self.model(**self.encode([texts[i] for i in indices])).logits
                )
                logits[indices] = values.double().cpu().numpy()
        return logits

    def predict(self, texts: Sequence[Text]) -> np.ndarray:
        """Probabilities `(N, labels)`.

        Raises:
            ValueError: for a regression, which has no probabilities.
        """
        if self.labels == 1:
            raise ValueError("probabilities need at least 2 labels, got a regression: use logits")
        return torch.softmax(torch.from_numpy(self.logits(texts)), dim=1).numpy()

    def embed(self, batch: Batch) -> Tensor:
        """Word embeddings `(batch, tokens, hidden)`, before positions, segments and LayerNorm."""
        return self.model.get_input_embeddings()(batch["input_ids"])

    def forward_embedded(self, embeddings: Tensor, batch: Batch) -> Tensor:
        """Logits `(batch, labels)` from word embeddings, differentiable in them."""
        rest = {name: value for name, value in batch.items() if name != "input_ids"}
        return self._ordered(self.model(inputs_embeds=embeddings, **rest).logits)

    def _ordered(self, logits: Tensor) -> Tensor:
        """Outputs in the order of the labels."""
        return logits if self.outputs is None else logits[:, list(self.outputs)]

    def words(self, batch: Batch) -> Tensor:
        """Which tokens `(batch, tokens)` come from the text: neither padding nor [CLS] nor
        [SEP].
        """
        tokenizer = self.tokenizer
        candidates = (tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id)
        ids = batch["input_ids"]
        special = torch.tensor([id_ for id_ in candidates if id_ is not None], device=ids.device)
        return batch["attention_mask"].bool() & ~torch.isin(ids, special)


def longest_text(model: Model, tokenizer: Tokenizer, max_length: int, pair: bool) -> int:
    """Tokens after which texts are cut: `max_length`, or less where the tokenizer or the model's
    positions end before.

    Raises:
        ValueError: if not one token of the text would be left between the special ones.
    """
    limits = {
        "max_length": max_length,
        "model_max_length of the tokenizer": tokenizer.model_max_length,
        "positions of the model": od.position_limit(model),
    }
    known = {name: value for name, value in limits.items() if value is not None}
    for name, value in known.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name} must be a number, got {value!r}")
    name = min(known, key=lambda limit: known[limit])
    least = tokenizer.num_special_tokens_to_add(pair=pair) + (2 if pair else 1)
    if known[name] < least:
        raise ValueError(
            f"{name} must be >= {least}, the special tokens and one of each text, got {known[name]}"
        )
    return int(known[name])


def require_length(model: Model, tokenizer: Tokenizer, max_length: int) -> None:
    """Refuse a length of texts that a run asks for and its model does not take.

    Raises:
        ValueError: naming the most that it takes.
    """
    limits = (tokenizer.model_max_length, od.position_limit(model))
    longest = min(limit for limit in limits if limit is not None)
    # nobody chose the default: it is a ceiling, and texts are cut to what there is
    if max_length > max(longest, DEFAULT_LENGTH):
        raise ValueError(
            f"data.max_length must be <= {longest}, the tokens that the model takes, "
            f"got {max_length}"
        )


@contextlib.contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode while inside, then what it was."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


@contextlib.contextmanager
def frozen(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients of parameters while inside, then what it was."""
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    with evaluating(model):
        try:
            model.requires_grad_(False)
            yield
        finally:
            for parameter, before in wanted:
                parameter.requires_grad_(before)
