"""A model whose steps are compared on pairs of texts, and texts traced through it."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import odestab as od
from analysis.edits.records import Method, Reads
from analysis.ground.answers import margins_decide
from analysis.study import Study


@dataclasses.dataclass(frozen=True, eq=False)
class Side:
    """One text of each pair of a batch.

    Attributes:
        batch: its tokens, padded.
        trajectory: as the model runs.
    """

    batch: Any
    trajectory: od.Trajectory

    def first(self, state: Tensor) -> Tensor:
        """The state of the first token, `(batch, hidden)`."""
        mask = self.trajectory.mask
        return state[torch.arange(len(mask), device=mask.device), mask.long().argmax(1)]

    def mean(self, state: Tensor) -> Tensor:
        """The mean over tokens, `(batch, hidden)`: states are 0 on padding."""
        return state.sum(1) / self.trajectory.mask.sum(1, keepdim=True)


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """A model and the steps of its layers.

    Attributes:
        study: with the model and the step size h of a layer.
        substeps: for each step, how many its layer takes.
        reads: what decides about the logits.
    """

    study: Study
    substeps: tuple[int, ...]
    reads: Reads

    @property
    def steps(self) -> list[str]:
        """Their names: that of the layer, of several substeps with a number from 1."""
        names: list[str] = []
        layer = 0
        while len(names) < len(self.substeps):
            count = self.substeps[len(names)]
            parts = [f"{layer}.{part}" for part in range(1, count + 1)]
            names += parts if count > 1 else [str(layer)]
            layer += 1
        return names

    @property
    def step_size(self) -> float:
        """Of a layer: its substeps share it."""
        return self.study.config.step_sizes[0]

    @property
    def declares(self) -> bool:
        """The checkpoint declares steps of its own."""
        return getattr(self.study.encoder.config, "declared_steps", None) is not None

    @property
    def as_run(self) -> Method:
        """The walk that the model takes itself."""
        return "explicit" if self.step_size == 1 and not self.declares else "model"

    @property
    def has_margins(self) -> bool:
        """Its head answers with the largest of its outputs."""
        return self.reads != "no head" and margins_decide(self.study.encoder.config)

    @property
    def labels(self) -> list[str]:
        """Names of the outputs; none without a head."""
        if self.reads == "no head":
            return []
        config = self.study.encoder.config
        return [str(config.id2label[output]) for output in range(config.num_labels)]

    def methods(
        self, trajectory: od.Trajectory
    ) -> dict[Method, Sequence[od.AbstractOneStepMethod]]:
        """Of each walk, one method for each step."""
        sizes = [self.step_size / count for count in self.substeps]
        walks: dict[Method, Sequence[od.AbstractOneStepMethod]] = {
            "explicit": [od.ExplicitEuler(size) for size in sizes],
            "implicit": [self.study.implicit(size) for size in sizes],
        }
        if self.as_run == "model":
            own = trajectory.methods or [od.ExplicitEuler(1.0)] * trajectory.depth
            walks["model"] = own
        return walks

    def trace(self, texts: Sequence[str]) -> Side:
        """Some texts as the model runs, with the fields that it declares."""
        return _traced(self.study, texts)


def inspected(study: Study, text: str) -> Model:
    """What a model does to a text: its steps, and what its head reads."""
    side = _traced(study, [text])
    layers = [id(getattr(field, "layer", field)) for field in side.trajectory.fields]
    counts = [len(list(group)) for _, group in itertools.groupby(layers)]
    substeps = tuple(count for count in counts for _ in range(count))
    return Model(study, substeps, _reads(study, side))


def _traced(study: Study, texts: Sequence[str]) -> Side:
    batch = study.tokenize(list(texts))
    return Side(batch, od.trace(study.encoder, batch))


def _reads(study: Study, side: Side) -> Reads:
    """Whether logits stay as they are when the last states of all tokens but the first vanish."""
    encoder = study.encoder
    if encoder.base_model is encoder:
        return "no head"
    first = torch.zeros_like(side.trajectory.states[-1])
    place = side.trajectory.mask.long().argmax(1)
    rows = torch.arange(len(first), device=first.device)
    first[rows, place] = side.trajectory.states[-1][rows, place]
    whole, alone = (
        od.readout(encoder, side.batch, side.trajectory, state) for state in (None, first)
    )
    same = torch.allclose(whole, alone, rtol=1e-5, atol=0, equal_nan=True)
    return "first token" if same else "other tokens too"
