"""The model of a run, with every weight of its checkpoint and the same new head for every kind."""

import contextlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers.utils import logging as messages

import odestab as od
from imbert.data.label_order import name_outputs, output_order
from imbert.data.tasks import Task
from imbert.model.choice import FAMILIES, ModelChoice, checkpoint_folder
from imbert.model.transformers_types import Config, Model, Tokenizer
from imbert.toml_tables import in_range

WEIGHTS = "model.safetensors"
DROPOUTS = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "classifier_dropout",
    *("dropout", "attention_dropout", "seq_classif_dropout"),  # DistilBERT's names
)
# what a checkpoint may lack: it is new, or not used
HEAD = ("classifier", "pooler", "bert.pooler", "pre_classifier")
STEP_SIZE = ".log_step_size"  # of a layer, learnt from that of the configuration


def load_model(choice: ModelChoice, task: Task, seed: int, data: Path = Path()) -> Model:
    """A model for sequence classification, or regression where the task has one label.

    The seed is set just before, so that equal seeds give equal heads whatever the kind is. A
    checkpoint that has a head already keeps it, its outputs put in the task's order; the model
    names its outputs as the task does.

    Args:
        choice: of the run.
        task: what is learnt.
        seed: of the head, if it is new.
        data: where relative paths of the run start.

    Raises:
        ValueError: if weights are pickled, the architecture is another one, a choice does not fit
            the checkpoint, or its head has other labels than the task.
        OSError: if there is no such checkpoint.
    """
    folder = checkpoint_folder(choice.checkpoint, data)
    require_safe_weights(folder)
    own = transformers.AutoConfig.from_pretrained(folder)
    architecture = _architecture(choice, own.model_type, folder)
    transformers.set_seed(seed)
    with quiet(), reading(folder):
        model, loading = architecture.from_pretrained(
            folder, **_options(choice, task, own), output_loading_info=True
        )
    # a checkpoint of the plain model has no step sizes: training begins at that of the choice
    lacking = [name for name in loading["missing_keys"] if not name.endswith(STEP_SIZE)]
    require_all_weights(folder, {"missing_keys": lacking}, HEAD)
    # no new head: its outputs mean what the checkpoint's labels say
    if not any(name.startswith(HEAD[0]) for name in loading["missing_keys"]):
        _order_head(model, output_order(own, task, folder))
    name_outputs(model.config, task)
    for name in DROPOUTS:
        in_range(f"{folder}: {name}", getattr(model.config, name, None), 0, 1, high_allowed=False)
    # else Trainer sums BERT's loss over accumulated micro-batches (transformers issue 47688)
    model.accepts_loss_kwargs = False
    return model


def _architecture(choice: ModelChoice, model_type: str, folder: str) -> Model:
    """The class of the model: the plain one's, or that of its family with steps."""
    from imbert.model import modeling_imbert, modeling_imkin  # noqa: F401 -- they are registered
    from imbert.model.configuration_imbert import steps_config

    # kind "bert" promises plain layers, and a checkpoint of IM-BERT would bring its steps
    if choice.kind == "bert" and model_type in FAMILIES:
        return transformers.AutoModelForSequenceClassification
    config = None if choice.kind == "bert" else steps_config(model_type)
    if config is None:
        raise ValueError(
            f"{folder}: expected a checkpoint of {', '.join(FAMILIES)}, got one of {model_type}"
        )
    architectures: Any = transformers.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    return architectures[config]


def _options(choice: ModelChoice, task: Task, own: Config) -> dict[str, object]:
    """What a run changes of the configuration of its checkpoint."""
    options: dict[str, object] = {
        "num_labels": task.labels,
        "use_safetensors": True,
        "dtype": "float32",
        **choice.options(),
    }
    if task.labels == 1:
        options["problem_type"] = "regression"
    if choice.dropout is not None:
        names = [name for name in DROPOUTS if hasattr(own, name)]
        options |= dict.fromkeys(names, choice.dropout)
    return options


def _order_head(model: Model, order: tuple[int, ...]) -> None:
    """Put a head's outputs in that order."""
    head = (
        model.classifier
        if isinstance(model.classifier, torch.nn.Linear)
        else model.classifier.out_proj
    )
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(parameter[list(order)])


def load_tokenizer(checkpoint: str, data: Path = Path()) -> Tokenizer:
    """The tokenizer of a checkpoint; relative paths start at `data`.

    Raises:
        OSError: if there is none.
    """
    return transformers.AutoTokenizer.from_pretrained(checkpoint_folder(checkpoint, data))


def require_safe_weights(folder: str | Path) -> None:
    """Refuse a local checkpoint whose weights are pickled, lie outside it, or are no floating-point
    numbers.

    Raises:
        ValueError: if it has no safetensors file, or a file named by its index is not one inside
            the folder; it is named.
    """
    if Path(folder).is_dir():
        # the headers tell the types: no weight is loaded for this
        types = od.stored_types(od.weight_files(folder))
        other = sorted(
            f"{name} ({kind})" for name, kind in types.items() if not kind.startswith(("F", "BF"))
        )
        # older checkpoints hold indices, whose names end so
        other = [weight for weight in other if not weight.split(" ")[0].endswith("_ids")]
        if other:
            raise ValueError(
                f"{folder}: expected floating-point weights, got {', '.join(other[:3])}"
            )


def require_all_weights(
    folder: str | Path, loading: Mapping[str, Iterable[str]], new: tuple[str, ...] = ()
) -> None:
    """Refuse a model with weights that its checkpoint did not have, from what transformers tells of
    loading it.

    Raises:
        ValueError: if there are such weights whose names do not begin with one of `new`.
    """
    if lacking := sorted(name for name in loading["missing_keys"] if not name.startswith(new)):
        raise ValueError(
            f"{folder}: expected weights of every layer, got none of "
            f"{', '.join(lacking[:3])} and {len(lacking[3:])} more"
        )


@contextlib.contextmanager
def reading(folder: str | Path) -> Iterator[None]:
    """Weights that are damaged are a ValueError with their place."""
    try:
        yield
    except SafetensorError as error:
        raise ValueError(
            f"{folder}: expected safetensors weights, got a damaged file: {error}"
        ) from None


@contextlib.contextmanager
def saving(folder: Path) -> Iterator[None]:
    """A training state that cannot be written, on a full disk for instance, is an OSError with its
    place.
    """
    try:
        yield
    except (SafetensorError, RuntimeError) as error:
        # torch names the writer of its archives in errors of a full disk; others are passed on
        if isinstance(error, RuntimeError) and not any(
            name in str(error) for name in ("inline_container", "PytorchStreamWriter")
        ):
            raise
        raise OSError(
            f"{folder}: a training state could not be written (is the disk full?): {error}"
        ) from error


class quiet:
    """Silence transformers' bars and its report that the head is new, while any thread is inside;
    the last one out puts back what the first one found.
    """

    _lock = threading.Lock()
    _inside = 0
    _level = 0
    _bars = False

    def __enter__(self) -> None:
        with quiet._lock:
            if quiet._inside == 0:
                quiet._level = messages.get_verbosity()
                quiet._bars = messages.is_progress_bar_enabled()
                messages.set_verbosity_error()
                messages.disable_progress_bar()
            quiet._inside += 1

    def __exit__(self, *raised: object) -> None:
        with quiet._lock:
            quiet._inside -= 1
            if quiet._inside == 0:
                messages.set_verbosity(quiet._level)
                if quiet._bars:
                    messages.enable_progress_bar()
