"""What the implicit solvers did over many batches, summed up layer by layer."""

import collections
import dataclasses
import math
from collections.abc import Iterable

import msgspec

from imbert.model.transformers_types import Model
from imbert.records import LayerSolves, Number, Solves

# a given number of steps is the model: that they end before the tolerance is no failure
FIXED_STEPS = ("GradientDescent",)
FAILURES_OF_FIXED_STEPS = ("DIVERGED", "NON_FINITE")


class BatchSolves(msgspec.Struct, frozen=True):
    """How the solves of one layer, or of its adjoint, went in one batch; residuals are relative."""

    examples: int
    statuses: dict[str, int]
    residual_max: Number = 0.0
    residual_median: float = 0.0
    evaluations_mean: float = 0.0
    evaluations_max: int = 0


class LayerBatch(BatchSolves, frozen=True, kw_only=True):
    """The same of one implicit layer, with the linear solves of its last backward pass."""

    layer: int
    adjoint: BatchSolves | None = None


@dataclasses.dataclass
class SolverLog:
    """Sums over batches of `model.layer_solves()`.

    Attributes:
        fixed_steps: whether the solver takes a given number of steps, so that only divergence is a
            failure.
    """

    fixed_steps: bool = False
    _layers: dict[int, "_Sums"] = dataclasses.field(default_factory=dict)
    _adjoints: dict[int, "_Sums"] = dataclasses.field(default_factory=dict)

    def add(self, batch: Iterable[LayerBatch], backward: bool = False) -> None:
        """Take in the statistics of one batch; those of the adjoint only after a backward pass,
        else they are an older one's.
        """
        for layer in batch:
            self._layers.setdefault(layer.layer, _Sums()).add(layer)
            # in a forward pass alone the adjoint still holds the numbers of an earlier batch
            if backward and layer.adjoint is not None:
                self._adjoints.setdefault(layer.layer, _Sums()).add(layer.adjoint)

    def clear(self) -> None:
        """Forget all batches."""
        self._layers.clear()
        self._adjoints.clear()

    def summary(self) -> list[LayerSolves]:
        """One entry per implicit layer; empty for a model without one."""
        return [
            LayerSolves(
                layer=layer,
                adjoint=self._adjoints[layer].summary(False) if layer in self._adjoints else None,
                **msgspec.structs.asdict(sums.summary(self.fixed_steps)),
            )
            for layer, sums in sorted(self._layers.items())
        ]


def solver_log(model: Model) -> SolverLog:
    """An empty log for a model; its configuration says which solver it has."""
    solver = getattr(model.config, "solver", None) or {}
    return SolverLog(solver.get("name") in FIXED_STEPS and solver.get("steps", 0) is not None)


def statistics(model: Model) -> list[LayerBatch]:
    """Of the last forward and backward pass; empty for plain BERT."""
    return model.layer_solves() if hasattr(model, "layer_solves") else []


def failures(where: str, summary: Iterable[LayerSolves], limit: float) -> list[str]:
    """One line for each layer whose solver, or adjoint solver, failed on more than `limit` of the
    examples.
    """
    lines = []
    for layer in summary:
        for name, solves in (("solver", layer), ("adjoint", layer.adjoint)):
            if solves is not None and solves.failed_share > limit:
                share = f"{solves.failed_share:.1%} of {solves.examples} examples"
                lines.append(
                    f"{where}: layer {layer.layer}: {name} failed on {share}, "
                    f"limit {limit:.1%} ({_counted(solves.statuses)})"
                )
    return lines


def in_words(batch: Iterable[LayerBatch]) -> str:
    """The statistics of one batch in a line, for a message."""
    lines = [
        f"layer {layer.layer}: {_counted(layer.statuses)}, "
        f"largest residual {_larger(0.0, layer.residual_max):.2g}"
        for layer in batch
    ]
    return "; ".join(lines) or "no implicit layer"


@dataclasses.dataclass
class _Sums:
    """Sums of the solves of one layer."""

    examples: int = 0
    statuses: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    evaluations: float = 0.0
    evaluations_max: int = 0
    residual_max: float = 0.0
    medians: float = 0.0
    batches: int = 0

    def add(self, batch: BatchSolves) -> None:
        self.examples += batch.examples
        self.statuses.update(batch.statuses)
        self.evaluations += batch.examples * batch.evaluations_mean
        self.evaluations_max = max(self.evaluations_max, batch.evaluations_max)
        self.residual_max = _larger(self.residual_max, batch.residual_max)
        self.medians += batch.residual_median
        self.batches += 1

    def summary(self, fixed_steps: bool) -> Solves:
        failed = {name: count for name, count in self.statuses.items() if name != "CONVERGED"}
        # they end at the limit of iterations by design
        if fixed_steps:
            failed = {
                name: count for name, count in failed.items() if name in FAILURES_OF_FIXED_STEPS
            }
        return Solves(
            examples=self.examples,
            statuses={name: count for name, count in sorted(self.statuses.items()) if count},
            failed_share=sum(failed.values()) / max(self.examples, 1),
            evaluations_mean=self.evaluations / max(self.examples, 1),
            evaluations_max=self.evaluations_max,
            residual_max=self.residual_max,
            residual_median_mean=self.medians / max(self.batches, 1),
        )


def _counted(statuses: dict[str, int]) -> str:
    return ", ".join(f"{status} {count}" for status, count in statuses.items() if count)


def _larger(a: float, b: Number) -> float:
    """The larger one; a residual that is not a number is the largest of all."""
    return math.inf if b is None or math.isnan(b) else max(a, b)
