"""What every regularizer shares: a micro-batch, the passes that it may ask of the model, and what
it makes of them.
"""

import abc
import contextlib
import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import msgspec
import numpy as np
import torch
from torch import Tensor

from imbert.model.solver_log import LayerBatch, statistics
from imbert.model.transformers_types import Model
from imbert.training.regularizers.choice import TABLE

Texts = tuple[str, ...]
Batch = Mapping[str, Tensor]
Encoded = dict[str, Tensor]


@dataclasses.dataclass(frozen=True)
class Passes:
    """Passes through the model over one batch, beside the one forward and one backward of plain
    training.

    Attributes:
        forward: evaluations of the model.
        backward: passes of reverse mode through it; the derivative of a gradient is one more.
    """

    forward: int
    backward: int


@dataclasses.dataclass(frozen=True, eq=False)
class Penalised:
    """The loss of a micro-batch with its penalty.

    Attributes:
        loss: to be minimised, with its graph.
        value: the penalty before it is multiplied by λ, a number without graph.
        edited: share of the examples that have an edit to compare; None where nothing is edited.
    """

    loss: Tensor
    value: Tensor
    edited: Tensor | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class MicroBatch:
    """The examples of one forward pass of training.

    Attributes:
        model: in training mode.
        batch: what it is called with, labels included, `(batch, tokens)`.
        words: `(batch, tokens)`, True on tokens of the texts, neither special nor padding.
        texts: of each example.
        draws: a source of randomness for each example, which depends on the run's seed, the
            optimiser's step and the example alone, never on its batch mates.
        vocabulary: token ids that occur as words of the training texts.
        encode: token ids and masks of texts, padded to at least so many tokens.
        count: tokens of texts that are not cut.
        widen: a batch padded to so many tokens.
        backward: accumulates a part of the loss into the gradients, scaled as the trainer does.
        log_solves: takes how the implicit solves of a pass before the last went, with those of its
            gradient if it had a backward pass of its own.
    """

    model: Model
    batch: Batch
    words: Tensor
    texts: tuple[Texts, ...]
    draws: tuple[np.random.Generator, ...]
    vocabulary: np.ndarray
    encode: Callable[[list[Texts], int], Encoded]
    count: Callable[[list[Texts]], list[int]]
    widen: Callable[[Batch, int], Encoded]
    backward: Callable[[Tensor], None]
    log_solves: Callable[[list[LayerBatch]], None]

    @property
    def real(self) -> Tensor:
        """`(batch, tokens)`, True where there is no padding."""
        return self.batch["attention_mask"].bool()

    def embed(self) -> Tensor:
        """Word embeddings `(batch, tokens, hidden)`, attached to their table."""
        embeddings: Tensor = self.model.get_input_embeddings()(self.batch["input_ids"])
        return embeddings

    def answer(self, batch: Batch, **options: Any) -> Any:
        """The last pass of a micro-batch, whose solves the trainer logs.

        Autograd goes back through what was computed last first. Where one backward pass goes
        through two passes, the text as it is comes earlier: so the gradient's solves that are left
        to be logged are its own.
        """
        return self.model(**batch, **options)

    def earlier_answer(self, batch: Batch, **options: Any) -> Any:
        """A pass before the last, whose solves are logged too. What it draws does not change what
        the later passes draw: of equal shapes all passes drop out the same entries.
        """
        with self.same_dropout():
            output = self.model(**batch, **options)
        self.log_forward()
        return output

    def log_forward(self) -> None:
        """Log the solves of a pass without those of its gradient, which is yet to come."""
        layers = statistics(self.model)
        self.log_solves([msgspec.structs.replace(layer, adjoint=None) for layer in layers])

    def log_backward(self) -> None:
        """Log the solves of a pass and of its gradient, after its own backward pass."""
        self.log_solves(statistics(self.model))

    def same_dropout(self) -> contextlib.AbstractContextManager[None]:
        """Inside, torch draws random numbers that are drawn again afterwards."""
        device = self.batch["input_ids"].device
        return torch.random.fork_rng([device] if device.type == "cuda" else [])

    def embedded(self, embeddings: Tensor) -> Encoded:
        """The batch with word embeddings in place of token ids."""
        rest = {name: value for name, value in self.batch.items() if name != "input_ids"}
        return {**rest, "inputs_embeds": embeddings}

    def noise(self, draw: Callable[[np.random.Generator, tuple[int, int]], np.ndarray]) -> Tensor:
        """A perturbation of the word embeddings `(batch, tokens, hidden)`, each example's from its
        own source, 0 on padding.
        """
        table = self.model.get_input_embeddings().weight
        hidden = table.shape[1]
        drawn = torch.zeros(*self.real.shape, hidden, dtype=table.dtype)
        for example, (mask, generator) in enumerate(zip(self.real.cpu(), self.draws, strict=True)):
            values = draw(generator, (int(mask.sum()), hidden))
            drawn[example, mask] = torch.from_numpy(values).to(drawn)
        return drawn.to(table.device)


class AbstractRegularizer(abc.ABC):
    """What is minimised in place of the plain loss; a frozen dataclass of its options."""

    perturbs_embeddings: ClassVar[bool] = True  # whether the model is called with embeddings

    @property
    @abc.abstractmethod
    def passes(self) -> Passes:
        """What a batch costs beside plain training."""

    @abc.abstractmethod
    def loss(self, micro: MicroBatch) -> Penalised:
        """The penalised loss of a micro-batch."""

    def require(self, model: Model) -> None:
        """Refuse a model that it cannot be used with.

        Raises:
            ValueError: naming what is expected of it.
        """
        accepted = inspect.signature(model.forward).parameters
        if self.perturbs_embeddings and "inputs_embeds" not in accepted:
            raise ValueError(
                f"{TABLE}: {type(self).__name__} needs a model whose forward takes inputs_embeds, "
                f"got {type(model).__name__}"
            )


@contextlib.contextmanager
def seeded(micro: MicroBatch) -> Iterator[None]:
    """Inside, torch draws what belongs to the micro-batch's first example; outside as before."""
    with micro.same_dropout():
        torch.manual_seed(int(micro.draws[0].integers(2**63)))
        yield
