"""What a prediction consists of: every layer at every step size, placements of implicit steps, and
the one that is predicted to help.
"""

import dataclasses
import hashlib
import json
from typing import Any

from analysis.ground.resampling import LEVEL

SCHEMA = 1
RESAMPLES = 2000
SHARE = 0.95  # share of resamples in which a condition must hold
SOLVED = 0.95  # share of implicit steps that must be solved
ERROR = 0.1  # of a solve, relative to what sets the implicit step apart from the explicit one
SHOWN = (
    "no primary outcome of a study here has shown that an implicit step makes a fine-tuned model "
    "more robust"
)
# What tests of such predictions have shown, the second sentence of each. Its numbers are claims of
# docs/how-to/prediction.md, where it stands too.
TESTED = (
    "Tested, a prediction that they help was not confirmed: over 12 placements of implicit "
    "steps, one seed each, predicted advantage and measured robustness have the rank "
    "correlation ρ = −0.45 [−0.66, −0.01]. That was from a pretrained checkpoint, whose "
    "linearisation explains at most 2 % of how real edits grow within a layer of the BERT or "
    "IM-BERT that was fine-tuned from it. Tested once from a fine-tuned one, over 4 seeds, of two "
    "placements of three layers the one predicted to gain more was flipped more rarely than the "
    f"other by +1.2 points [−8.8, +11.2], not told apart; {SHOWN}."
)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A statistic over texts with its percentile interval over resamples of them."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:z.2f} [{self.low:z.2f}, {self.high:z.2f}]".replace("-", "−")

    def negative(self) -> "Estimate":
        """Of the statistic with the other sign: of log(a/b) that of log(b/a)."""
        return Estimate(-self.value, -self.high, -self.low)


@dataclasses.dataclass(frozen=True)
class LayerPrediction:
    """One layer at one step size.

    Attributes:
        layer: index from 0.
        step_size: h.
        advantage: mean implicit advantage, nats.
        worst_change: median of log(worst growth implicit/explicit), nats.
        spectral_change: median of log(spectral growth implicit/explicit), nats.
        worst: method → statistics over texts.
        spectral: method → likewise; a lower bound where `certain` is not 1.
        certain: method → share of texts where the eigenvalues settle it.
        h_mu: hμ₂, statistics.
        h_mu_below_one: share of texts on which hμ₂ < 1 guarantees the step at x.
        pole_distance: |λ − 1/h| of the nearest of the leading eigenvalues, statistics.
        solved: share of texts whose implicit step was solved.
        tolerances: of the solver.
        evaluations: of f, mean over texts, for each tolerance.
        converged: share of texts, for each tolerance.
        error: ‖y_tolerance − y‖/‖y − (x + h f(x))‖, median, for each tolerance.
        truncated_advantage: advantage of the truncated solver as it runs, mean.
        share_of_resamples: share of resamples in which (a), (b) and (c) hold.
        reasons: what it fails; empty where it is eligible.
    """

    layer: int
    step_size: float
    advantage: Estimate
    worst_change: Estimate
    spectral_change: Estimate
    worst: dict[str, Any]
    spectral: dict[str, Any]
    certain: dict[str, float]
    h_mu: Any
    h_mu_below_one: float
    pole_distance: Any
    solved: float
    tolerances: tuple[float, ...]
    evaluations: tuple[float, ...]
    converged: tuple[float, ...]
    error: tuple[float, ...]
    truncated_advantage: float
    share_of_resamples: float
    reasons: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Placement:
    """Some layers implicit, and the advantages of these added up, in nats."""

    name: str
    layers: tuple[int, ...]
    step_size: float
    advantage: Estimate


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """What is predicted.

    Attributes:
        layers: that should take an implicit step; empty where none is predicted to help.
        step_size: h; None without layers.
        rtol: the solver's tolerance; None without layers.
        advantage: the layers' together; None without layers.
        cost: evaluations of layers over those of the explicit model, in prediction.
        share_of_resamples: share of resamples in which all these layers, or none, meet the
            conditions.
        sentences: why, and at the end what tests of such predictions have shown.
    """

    layers: tuple[int, ...]
    step_size: float | None
    rtol: float | None
    advantage: Estimate | None
    cost: float
    share_of_resamples: float
    sentences: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A prediction with all it rests on."""

    config: dict[str, Any]
    layers: tuple[LayerPrediction, ...]
    placements: tuple[Placement, ...]
    recommendation: Recommendation

    def record(self) -> dict[str, Any]:
        """Plain values for prediction.json; the texts stand for themselves by number and digest."""
        kept = (
            "model",
            "checkpoint",
            "field",
            "step_sizes",
            "layers",
            "encoder_depth",
            "weights",
            "model_config",
            "tokenizer",
            "seed",
            "dtype",
            "tolerances",
            "truncated_steps",
        )
        rule = {
            "resamples": RESAMPLES,
            "level": LEVEL,
            "share_of_resamples": SHARE,
            "solved": SOLVED,
            "error": ERROR,
        }
        return {
            "schema": SCHEMA,
            "config": {name: self.config.get(name) for name in (*kept, "versions")}
            | {"texts": len(self.config["texts"]), "texts_sha256": _digest(self.config["texts"])},
            "rule": rule,
            **{
                name: _plain(getattr(self, name))
                for name in ("layers", "placements", "recommendation")
            },
        }


def _digest(texts: list[str]) -> str:
    return hashlib.sha256(json.dumps(texts, ensure_ascii=False).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
