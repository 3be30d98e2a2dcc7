"""The change of the logits under a random edit as a penalty."""

import dataclasses
from typing import ClassVar

from imbert.training.regularizers.edits import edited_pair
from imbert.training.regularizers.regularizer import (
    AbstractRegularizer,
    MicroBatch,
    Passes,
    Penalised,
)


@dataclasses.dataclass(frozen=True)
class Consistency(AbstractRegularizer):
    """λ E‖z̃ − z‖², z the logits of a text and z̃ those of a random edit of it (after Zheng et al.
    2016, stability training).

    Both passes drop out the same entries, so that an unchanged text costs nothing; gradients go
    through both. An example without an edit counts as 0.

    Attributes:
        strength: λ.
        edits: "characters" or "tokens".
        max_edits: words that are edited.
    """

    perturbs_embeddings: ClassVar[bool] = False
    strength: float
    edits: str
    max_edits: int

    @property
    def passes(self) -> Passes:
        return Passes(1, 1)

    def loss(self, micro: MicroBatch) -> Penalised:
        pair = edited_pair(micro, self.edits, self.max_edits)
        output = micro.earlier_answer(pair.clean)
        edited = micro.answer(pair.edited).logits
        change = (edited - output.logits).flatten(1).square().sum(1)
        penalty = change.masked_fill(~pair.changed, 0.0).mean()
        share = pair.changed.double().mean()
        return Penalised(output.loss + self.strength * penalty, penalty.detach(), share)
