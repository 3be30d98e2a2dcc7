"""What the implicit solvers did over many batches, summed up layer by layer."""

import collections
import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

FIXED_STEPS = (
    "GradientDescent",
)  # a given number of steps is the model: that they end before the tolerance is no failure
FAILURES_OF_FIXED_STEPS = ("DIVERGED", "NON_FINITE")


@dataclasses.dataclass
class SolverLog:
    """Sums over batches of `model.solver_statistics()`.

    Attributes:
        fixed_steps: whether the solver takes a given number of steps, so that only divergence is a
            failure.
    """

    fixed_steps: bool = False
    _layers: dict[int, "_Solves"] = dataclasses.field(default_factory=dict)
    _adjoints: dict[int, "_Solves"] = dataclasses.field(default_factory=dict)

    def add(self, statistics: Iterable[Mapping[str, Any]], backward: bool = False) -> None:
        """Take in the statistics of one batch; those of the adjoint only after a backward pass,
        else they are an older one's.
        """
        for one in statistics:
            self._layers.setdefault(one["layer"], _Solves()).add(one)
            if backward and one.get("adjoint"):
                self._adjoints.setdefault(one["layer"], _Solves()).add(one["adjoint"])

    def clear(self) -> None:
        """Forget all batches."""
        self._layers.clear()
        self._adjoints.clear()

    def summary(self) -> list[dict[str, Any]]:
        """One entry per implicit layer, plain values; empty for a model without one."""
        return [
            {
                "layer": layer,
                **solves.summary(self.fixed_steps),
                "adjoint": self._adjoints[layer].summary(False)
                if layer in self._adjoints
                else None,
            }
            for layer, solves in sorted(self._layers.items())
        ]


def solver_log(model: Any) -> SolverLog:
    """An empty log for a model; its configuration says which solver it has."""
    solver = getattr(model.config, "solver", None) or {}
    return SolverLog(solver.get("name") in FIXED_STEPS and solver.get("steps", 0) is not None)


def statistics(model: Any) -> list[dict[str, Any]]:
    """Of the last forward and backward pass; empty for plain BERT."""
    return model.solver_statistics() if hasattr(model, "solver_statistics") else []


def failures(where: str, summary: Iterable[Mapping[str, Any]], limit: float) -> list[str]:
    """One line for each layer whose solver, or adjoint solver, failed on more than `limit` of the
    examples.
    """
    found = []
    for one in summary:
        for name, solves in (("solver", one), ("adjoint", one.get("adjoint") or {})):
            share = solves.get("failed_share", 0.0)
            if share > limit:
                counts = ", ".join(
                    f"{status} {count}" for status, count in solves["statuses"].items()
                )
                failed = f"{share:.1%} of {solves['examples']} examples, limit {limit:.1%}"
                found.append(f"{where}: layer {one['layer']}: {name} failed on {failed} ({counts})")
    return found


def told(batch: Iterable[Mapping[str, Any]]) -> str:
    """The statistics of one batch in a line, for a message."""
    lines = []
    for one in batch:
        counts = ", ".join(
            f"{status} {count}" for status, count in one["statuses"].items() if count
        )
        lines.append(f"layer {one['layer']}: {counts}, largest residual {one['residual_max']:.2g}")
    return "; ".join(lines) or "no implicit layer"


@dataclasses.dataclass
class _Solves:
    """Sums of the solves of one layer."""

    examples: int = 0
    statuses: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    evaluations: float = 0.0
    evaluations_max: int = 0
    residual_max: float = 0.0
    medians: float = 0.0
    batches: int = 0

    def add(self, one: Mapping[str, Any]) -> None:
        counts = {str(status): int(count) for status, count in (one.get("statuses") or {}).items()}
        examples = int(one.get("examples") or sum(counts.values()))
        self.examples += examples
        self.statuses.update(counts)
        self.evaluations += examples * float(one.get("evaluations_mean") or 0)
        self.evaluations_max = max(self.evaluations_max, int(one.get("evaluations_max") or 0))
        self.residual_max = _larger(self.residual_max, one.get("residual_max"))
        self.medians += float(one.get("residual_median") or 0)
        self.batches += 1

    def summary(self, fixed_steps: bool) -> dict[str, Any]:
        failed = {name: count for name, count in self.statuses.items() if name != "CONVERGED"}
        if fixed_steps:
            failed = {
                name: count for name, count in failed.items() if name in FAILURES_OF_FIXED_STEPS
            }
        return {
            "examples": self.examples,
            "statuses": {name: count for name, count in sorted(self.statuses.items()) if count},
            "failed_share": sum(failed.values()) / max(self.examples, 1),
            "evaluations_mean": self.evaluations / max(self.examples, 1),
            "evaluations_max": self.evaluations_max,
            "residual_max": self.residual_max,
            "residual_median_mean": self.medians / max(self.batches, 1),
        }


def _larger(a: float, b: float | None) -> float:
    """The larger one; a residual that is not a number is the largest of all."""
    return math.inf if b is None or math.isnan(b) else max(a, b)
