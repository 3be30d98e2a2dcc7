"""Two runs of the same perturbations, through a fine-tuned model and through the checkpoint it came from, held against each other."""

import dataclasses
from typing import Any

import numpy as np

from analysis.calibration.fit import Fit, Linearity, fit, linearity
from analysis.calibration.flips import Flips, flips
from analysis.record import Run
from analysis.summary import statistics
from analysis.summary.cells import grouped, merged

SCHEMA = 1
FLIPPED, HELD = "flipped", "held"  # kinds of pairs, as `imbert perturbations` names them
SOURCES = ("fine-tuned", "pretrained")  # whose linearisation predicts


@dataclasses.dataclass(frozen=True)
class Series:
    """One kind of perturbation at one size.

    Attributes:
        kind: "gaussian", "worst", "attack" or a kind of edit.
        size: relative; None where the edit or the attack decides.
        measured: log growth of each step in the fine-tuned model, `(texts, steps)`, nats; NaN where it was not solved.
        predicted: by source, likewise.
        total: log growth of each text after each step from the first state on, measured, and by source.
        edit: relative size of each perturbation.
    """

    kind: str
    size: float | None
    measured: np.ndarray
    predicted: dict[str, np.ndarray]
    total: dict[str, np.ndarray]
    edit: np.ndarray


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Predicted against measured growth of a fine-tuned model.

    Attributes:
        series: every kind of perturbation at every size.
        fits: of each series with enough points, by source.
        linearity: of the kinds with several sizes, from the fine-tuned linearisation.
        flips: by what was compared ("measured", or a source); empty without pairs that flip and pairs that hold.
        meta: what was compared: configurations, weights, counts.
    """

    series: tuple[Series, ...]
    fits: tuple[tuple[str, float | None, str, Fit], ...]
    linearity: dict[str, Linearity]
    flips: dict[str, Flips]
    meta: dict[str, Any]

    def record(self) -> dict[str, Any]:
        """Plain values for calibration.json; texts are not among them."""
        rows = [{"kind": kind, "size": size, "source": source, **dataclasses.asdict(one)} for kind, size, source, one in self.fits]
        series = [
            {
                "kind": one.kind,
                "size": one.size,
                "sizes": statistics(one.edit),
                "measured": one.measured.tolist(),
                "predicted": {source: values.tolist() for source, values in one.predicted.items()},
                "total": {name: statistics(values[:, -1]) for name, values in one.total.items()},
            }
            for one in self.series
        ]
        plain = {name: {key: dataclasses.asdict(value) for key, value in getattr(self, name).items()} for name in ("linearity", "flips")}
        return {"schema": SCHEMA, "fits": rows, "series": series, **plain, "meta": self.meta}


def calibrate(tuned: Run, pretrained: Run, seed: int) -> Calibration:
    """Hold two calibration runs of the same texts and perturbations against each other.

    Args:
        tuned: through the fine-tuned model.
        pretrained: through the checkpoint that it came from, with the same steps.
        seed: of resamples and permutations.

    Raises:
        ValueError: if they are not of the same perturbations.
    """
    differing = [
        key for key in ("texts", "pairs", "tokens", "sizes", "encoder_depth", "directed") if tuned.config[key] != pretrained.config[key]
    ]
    if differing:
        raise ValueError(f"expected two runs of the same perturbations, got others in {', '.join(differing)}")
    series = tuple(
        one for key, cells in grouped(tuned.of_kind("declared"), "perturbation").items() for one in _series(key[0], cells, pretrained)
    )
    drawn = ((one, source, fit(one.predicted[source], one.measured, seed)) for one in series for source in SOURCES)
    fits = tuple((one.kind, one.size, source, found) for one, source, found in drawn if found is not None)
    several = {
        kind: [one for one in series if one.kind == kind] for kind in dict.fromkeys(one.kind for one in series if one.size is not None)
    }
    return Calibration(
        series,
        fits,
        {kind: _linearity(rows) for kind, rows in several.items()},
        _flips({one.kind: one for one in series}, seed),
        {
            "model": tuned.config["model"],
            "pretrained": pretrained.config["model"],
            "weights": {source: run.config["weights"] for source, run in zip(SOURCES, (tuned, pretrained), strict=True)},
            **{
                part: {source: run.config.get(part) for source, run in zip(SOURCES, (tuned, pretrained), strict=True)}
                for part in ("model_config", "tokenizer", "steps_model", "directions_content")
            },
            "steps": tuned.config["declared"],
            "texts": len(tuned.config["texts"]),
            "skipped_pairs": len(tuned.config["skipped_pairs"]),
            "dtype": tuned.config["dtype"],
            "seed": tuned.config["seed"],
            "versions": tuned.config["versions"],
        },
    )


def _series(kind: str, cells: list[Any], pretrained: Run) -> list[Series]:
    others = next(group for key, group in grouped(pretrained.of_kind("declared"), "perturbation").items() if key[0] == kind)
    solved = np.logical_and.accumulate(merged(cells, "converged", 1).astype(bool), axis=2)
    foreseen = np.logical_and.accumulate(merged(others, "converged", 1).astype(bool), axis=2)  # its path counts, which is that of all sizes
    measured = np.where(solved, _log(merged(cells, "measured", 1))[..., 1:], np.nan)
    total = {
        SOURCES[0]: np.broadcast_to(_log(merged(cells, "predicted", 1))[..., 1:], measured.shape),
        SOURCES[1]: np.where(foreseen, _log(merged(others, "predicted", 1))[..., 1:], np.nan),
    }
    found = []
    for s, size in enumerate(cells[0].arrays["sizes"]):
        totals = {"measured": measured[s], **{source: values[s] for source, values in total.items()}}
        steps = {name: np.diff(values, axis=1, prepend=0.0) for name, values in totals.items()}
        edit = merged(cells, "size", 1)[s]
        found.append(Series(kind, None if np.isnan(size) else float(size), steps.pop("measured"), steps, totals, edit))
    return found


def _linearity(rows: list[Series]) -> Linearity:
    sizes = np.array([one.size for one in rows], dtype=float)
    return linearity(sizes, *(np.stack([one.total[name] for one in rows]) for name in (SOURCES[0], "measured")))


def _flips(kinds: dict[str, Series], seed: int) -> dict[str, Flips]:
    if not kinds.keys() >= {FLIPPED, HELD}:
        return {}
    a, b = kinds[FLIPPED], kinds[HELD]
    compared = {name: flips(a.total[name][:, -1], b.total[name][:, -1], (a.edit, b.edit), seed) for name in ("measured", *SOURCES)}
    return {name: one for name, one in compared.items() if one is not None}


def _log(growth: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(growth > 0, np.log(growth), np.nan))
