"""The model of a run, with every weight of its checkpoint and the same new head for every kind."""

from pathlib import Path
from typing import Any

import transformers
from transformers.utils import logging as messages

from imbert.result import file_digest
from imbert.run_config import ModelChoice, checkpoint_folder
from imbert.tasks import Task

WEIGHTS = "model.safetensors"


def load_model(choice: ModelChoice, task: Task, seed: int) -> Any:
    """A model for sequence classification, or regression where the task has one label.

    The seed is set just before, so that equal seeds give equal heads whatever the kind is.

    Raises:
        ValueError: if weights are pickled, the architecture is another one, or a choice does not fit the checkpoint.
        OSError: if there is no such checkpoint.
    """
    folder = checkpoint_folder(choice.checkpoint)
    require_safe_weights(folder)
    options: dict[str, Any] = {"num_labels": task.labels, "use_safetensors": True, "dtype": "float32"}
    if task.labels == 1:
        options["problem_type"] = "regression"
    if choice.dropout is not None:
        options |= dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"), choice.dropout)
    transformers.set_seed(seed)
    with quiet():
        if choice.kind == "bert":
            model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, **options)
        else:
            from imbert import ImBertForSequenceClassification

            model = ImBertForSequenceClassification.from_pretrained(folder, **options, **choice.options())
    model.accepts_loss_kwargs = False  # else Trainer sums BERT's loss over accumulated micro-batches (transformers issue 47688)
    return model


def load_tokenizer(checkpoint: str) -> Any:
    """The tokenizer of a checkpoint.

    Raises:
        OSError: if there is none.
    """
    return transformers.AutoTokenizer.from_pretrained(checkpoint_folder(checkpoint))


def require_safe_weights(folder: str) -> None:
    """Refuse a local checkpoint whose only weights are pickled.

    Raises:
        ValueError: if it has no safetensors file; the pickled ones are named.
    """
    path = Path(folder)
    if path.is_dir() and not any(path.glob("*.safetensors")):
        pickled = sorted(one.name for pattern in ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt") for one in path.glob(pattern))
        found = f"pickled weights ({', '.join(pickled)}), which are refused" if pickled else "no weights"
        raise ValueError(f"{folder}: expected weights in {WEIGHTS}, got {found}")


def weights_digest(folder: str) -> str | None:
    """Sha256 of a local checkpoint's weights; None for one of the hub."""
    path = Path(folder) / WEIGHTS
    return file_digest(path) if path.is_file() else None


class quiet:
    """Silence transformers' bars and its report that the head is new, while inside."""

    def __enter__(self) -> None:
        self.level, self.bars = messages.get_verbosity(), messages.is_progress_bar_enabled()
        messages.set_verbosity_error()
        messages.disable_progress_bar()

    def __exit__(self, *raised: object) -> None:
        messages.set_verbosity(self.level)
        if self.bars:
            messages.enable_progress_bar()
