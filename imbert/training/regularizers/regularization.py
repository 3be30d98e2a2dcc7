"""The regularizer of a run at work: micro-batches for it, and what it measured since the last log
entry.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from imbert.model.solver_log import LayerBatch
from imbert.model.transformers_types import Model
from imbert.records import Regularized
from imbert.training.batches import Padding, Rows
from imbert.training.regularizers.regularizer import (
    AbstractRegularizer,
    Batch,
    Encoded,
    MicroBatch,
    Penalised,
    Texts,
)

FILLED = {"input_ids": "pad_token_id", "token_type_ids": "pad_token_type_id"}  # others are 0


@dataclasses.dataclass
class Regularization:
    """Penalises the micro-batches of a training.

    Attributes:
        regularizer: what is added.
        rows: the training examples.
        seed: of the run.
    """

    regularizer: AbstractRegularizer
    rows: Rows
    seed: int
    _penalties: list[Penalised] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        ids = [np.asarray(row) for row in self.rows.encoded["input_ids"]]
        seen = np.unique(np.concatenate(ids))
        # nor is an unknown token put into a text
        self._vocabulary = np.setdiff1d(seen, self.rows.tokenizer.all_special_ids)

    @functools.cached_property
    def _special(self) -> list[list[int]]:
        """Which tokens of each row are none of its text."""
        return self.rows.special(self.rows.texts)

    def loss(
        self,
        model: Model,
        batch: Batch,
        indices: Sequence[int],
        step: int,
        backward: Callable[[Tensor], None],
        log_solves: Callable[[list[LayerBatch]], None],
    ) -> Tensor:
        """The penalised loss of a micro-batch.

        Args:
            model: in training mode.
            batch: on its device, labels included.
            indices: of the examples among the rows.
            step: of the optimiser.
            backward: see `MicroBatch`.
            log_solves: likewise.
        """
        ids = batch["input_ids"]
        texts = tuple(self.rows.texts[index] for index in indices)
        penalised = self.regularizer.loss(
            MicroBatch(
                model=model,
                batch=batch,
                words=self._words(batch, indices),
                texts=texts,
                draws=tuple(np.random.default_rng((self.seed, step, index)) for index in indices),
                vocabulary=self._vocabulary,
                encode=lambda texts, width: self._encoded(texts, width, ids.device),
                count=self.rows.counts,
                widen=self.widened,
                backward=backward,
                log_solves=log_solves,
            )
        )
        self._penalties.append(dataclasses.replace(penalised, loss=penalised.loss.detach()))
        return penalised.loss

    def summary(self) -> Regularized:
        """Means since the last call."""
        penalties = self._penalties
        self._penalties = []
        shares = [float(part.edited) for part in penalties if part.edited is not None]
        passes = self.regularizer.passes
        return Regularized(
            value=float(np.mean([float(part.value) for part in penalties])),
            forward_passes=passes.forward,
            backward_passes=passes.backward,
            edited=float(np.mean(shares)) if shares else None,
        )

    def widened(self, batch: Batch, width: int) -> Encoded:
        """A batch padded to so many tokens, on the tokenizer's side."""
        wide = {}
        for name, value in batch.items():
            extra = width - value.shape[1] if value.ndim == 2 else 0
            fill = getattr(self.rows.tokenizer, FILLED[name]) if name in FILLED else 0
            side = (0, extra) if self.rows.tokenizer.padding_side == "right" else (extra, 0)
            wide[name] = torch.nn.functional.pad(value, side, value=fill) if extra else value
        return wide

    def _words(self, batch: Batch, indices: Sequence[int]) -> Tensor:
        """True on tokens of the texts."""
        real = batch["attention_mask"].bool()
        words = torch.zeros_like(real)
        inside = [not special for index in indices for special in self._special[index]]
        # an example's real tokens are its tokens in order, on whichever side padding is
        words[real] = torch.tensor(inside, device=real.device)
        return words

    def _encoded(self, texts: list[Texts], width: int, device: torch.device) -> Encoded:
        encoded = self.rows.tokenized(texts)
        rows = [
            {name: values[index] for name, values in encoded.items()} for index in range(len(texts))
        ]
        padded = Padding(self.rows.tokenizer).padded(rows)
        wide = self.widened(padded, max(width, padded["input_ids"].shape[1]))
        return {name: value.to(device) for name, value in wide.items()}
