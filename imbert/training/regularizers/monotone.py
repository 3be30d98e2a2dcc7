"""One-sided ratios of the layers over random edits as a penalty."""

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor

import odestab as od
from imbert.model.stepping_model import implicit_layers
from imbert.model.transformers_types import Model
from imbert.training.regularizers.choice import TABLE
from imbert.training.regularizers.edits import edited_pair
from imbert.training.regularizers.regularizer import (
    AbstractRegularizer,
    MicroBatch,
    Passes,
    Penalised,
)


@dataclasses.dataclass(frozen=True)
class Monotone(AbstractRegularizer):
    """λ E Σ_l softplus(a_l − c), a_l = ⟨Δf, δ⟩/‖δ‖² the one-sided ratio of layer l between a text
    and a random edit of it (Mathematics, section 10).

    A layer that takes the step y = x + h f has f = (y − x)/h from its two states, at x where the
    step is explicit (a plain layer is one, h = 1) and at y where it is implicit: no evaluation is
    spent beside the two forward passes. The secant is that of the states where f is known, x and x̃
    of an explicit layer, y and ỹ of an implicit one. There a ≤ 0 is what makes the implicit step
    damp at every h, its B-stability (Butcher 1975; Hairer and Wanner II, IV.12). Of a solver's
    tolerance f has the relative error.

    Both passes drop out the same entries: f is one field. Texts and edits have as many tokens,
    compared position by position without padding. A pair without an edit, or whose states do not
    differ, is dropped and counts as 0.

    Attributes:
        strength: λ.
        bound: c.
        layers: which layers; None is all.
        edits: "tokens" or "characters", of which only drafts are taken whose edited words keep
            their counts of tokens.
        max_edits: words that are edited.
    """

    perturbs_embeddings: ClassVar[bool] = False
    strength: float
    bound: float
    layers: tuple[int, ...] | None
    edits: str
    max_edits: int

    @property
    def passes(self) -> Passes:
        return Passes(1, 1)

    def loss(self, micro: MicroBatch) -> Penalised:
        pair = edited_pair(micro, self.edits, self.max_edits, equal_counts=True)
        output = micro.earlier_answer(pair.clean, output_hidden_states=True)
        edited = micro.answer(pair.edited, output_hidden_states=True).hidden_states
        mask = pair.clean["attention_mask"].bool()
        ratios = self.ratios(micro.model, output.hidden_states, edited, mask)
        known = pair.changed[:, None] & ratios.isfinite()
        # what is not known must not reach the gradient: 0·NaN would be NaN
        excess = torch.nn.functional.softplus(torch.where(known, ratios, 0.0) - self.bound)
        penalty = excess.masked_fill(~known, 0.0).sum(1).mean()
        share = pair.changed.double().mean()
        return Penalised(output.loss + self.strength * penalty, penalty.detach(), share)

    def ratios(
        self, model: Model, states: tuple[Tensor, ...], edited: tuple[Tensor, ...], mask: Tensor
    ) -> Tensor:
        """a_l, `(batch, layers)`; NaN where the states do not differ."""
        steps = {layer.layer_index: layer for layer in implicit_layers(model)}
        columns = []
        for index in range(len(states) - 1) if self.layers is None else self.layers:
            step = steps.get(index)
            before = _difference(states[index], edited[index], mask)
            after = _difference(states[index + 1], edited[index + 1], mask)
            is_implicit = step is not None and isinstance(step.method, od.ImplicitEuler)
            at = after if is_implicit else before
            size = at.square().sum(1)
            # a safe divisor: the gradient of x/0 is not finite even where it is masked
            along = ((after - before) * at).sum(1) / torch.where(size > 0, size, 1.0)
            ratio = along / (1.0 if step is None else _step_size(step))
            columns.append(torch.where(size > 0, ratio, torch.nan))
        return torch.stack(columns, 1)

    def require(self, model: Model) -> None:
        super().require(model)
        depth = model.config.num_hidden_layers
        if self.layers is not None and max(self.layers) >= depth:
            raise ValueError(
                f"{TABLE}.layers must be indices from 0 to {depth - 1} of the {depth} layers, got "
                f"{list(self.layers)}"
            )
        for layer in implicit_layers(model):
            if layer.substeps > 1:
                raise ValueError(
                    f"{TABLE}: monotone reads f from where a step begins and ends: expected "
                    f"model.substeps = 1, got {layer.substeps}"
                )
            method = layer.method
            if isinstance(method, od.ImplicitEuler) and method.solver.keeps_last:
                raise ValueError(
                    f"{TABLE}: monotone needs a solver that ends at a solution, where f = (y - x)/h"
                    f", got {type(method.solver).__name__} with a given number of steps"
                )


def _difference(x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """y − x on real tokens, `(batch, tokens · hidden)`."""
    return (y - x).masked_fill(~mask[..., None], 0.0).flatten(1)


def _step_size(layer: object) -> Tensor | float:
    """h of a layer, learnt or not."""
    learnt = layer.log_step_size  # type: ignore[attr-defined]
    return layer.method.step_size if learnt is None else learnt.exp()  # type: ignore[attr-defined]
