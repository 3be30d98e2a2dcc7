"""The gradient of the margin as a penalty."""

import dataclasses

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

import odestab as od
from imbert.model.stepping_model import implicit_layers
from imbert.model.transformers_types import Model
from imbert.training.regularizers.choice import TABLE
from imbert.training.regularizers.regularizer import (
    AbstractRegularizer,
    MicroBatch,
    Passes,
    Penalised,
)

TWICE = (od.FixedPoint, od.Anderson)  # solvers whose iterations have second derivatives


@dataclasses.dataclass(frozen=True)
class MarginGradient(AbstractRegularizer):
    """λ E‖∇_e m‖², m the logit of the label less the largest other one, e the embeddings of words
    (Mathematics, section 12; Drucker and Le Cun 1992 on double backpropagation).

    The word embeddings are those of tokens that are neither special nor padding. m/‖∇_e m‖ is the
    first-order distance to a flip.

    An implicit layer needs `UnrolledAdjoint` and the solver FixedPoint or Anderson: the other
    adjoints have no second derivative, nor has Newton's method, and that of gradient descent is
    wrong.

    Attributes:
        strength: λ.
    """

    strength: float

    @property
    def passes(self) -> Passes:
        return Passes(0, 2)

    def loss(self, micro: MicroBatch) -> Penalised:
        embeddings = micro.embed()
        # the fused kernels of attention have no second derivative
        with sdpa_kernel(SDPBackend.MATH):
            output = micro.answer(micro.embedded(embeddings))
        margin = od.logit_margin(output.logits, micro.batch["labels"])
        # examples do not meet in a model: the gradient of the sum is that of each
        gradient = torch.autograd.grad(margin.sum(), embeddings, create_graph=True)[0]
        of_words = gradient.masked_fill(~micro.words[..., None], 0.0)
        penalty = of_words.square().sum((1, 2)).mean()
        return Penalised(output.loss + self.strength * penalty, penalty.detach())

    def require(self, model: Model) -> None:
        super().require(model)
        for layer in implicit_layers(model):
            method = layer.method
            if not isinstance(method, od.ImplicitEuler):
                continue
            if not (
                isinstance(method.adjoint, od.UnrolledAdjoint) and not method.adjoint.recompute
            ):
                raise ValueError(
                    f"{TABLE}: margin-gradient needs second derivatives: expected "
                    'model.adjoint = { name = "UnrolledAdjoint" } without recompute, got '
                    f"{type(method.adjoint).__name__}"
                )
            if not isinstance(method.solver, TWICE):
                raise ValueError(
                    f"{TABLE}: margin-gradient needs second derivatives: expected "
                    f"model.solver to be {' or '.join(kind.__name__ for kind in TWICE)}, got "
                    f"{type(method.solver).__name__}"
                )
