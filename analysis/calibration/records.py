"""Two runs of the same perturbations, through a fine-tuned model and through the checkpoint it came
from, held against each other.
"""

import dataclasses
import hashlib
from typing import Any

import numpy as np
import xarray as xr

from analysis.calibration.fit import Fit, Linearity, fit, linearity
from analysis.calibration.flips import Flips, flips
from analysis.quantities.declared import DECLARED, PREFIX
from analysis.quantities.labelled import statistics
from analysis.quantities.propagation import FAMILIES, Growth, growths
from analysis.record import Run

SCHEMA = 1
MARGIN = "margin"
FLIPPED, HELD = "flipped", "held"  # kinds of pairs, as `imbert perturbations` names them
SOURCES = ("fine-tuned", "pretrained")  # whose linearisation predicts


@dataclasses.dataclass(frozen=True)
class Series:
    """One kind of perturbation at one size.

    Attributes:
        kind: "gaussian", "worst", "attack" or a kind of edit.
        size: relative; None where the edit or the attack decides.
        measured: log growth of each step in the fine-tuned model, `(texts, steps)`, nats; NaN where
            it was not solved.
        predicted: by source, likewise.
        total: log growth of each text after each step from the first state on, measured, and by
            source.
        edit: relative size of each perturbation.
        clusters: `(texts,)`, a number for each unperturbed text, the same in all series: pairs made
            from one original share it; None where that is not known.
        margins: `(texts,)`, of the unperturbed text: logit of the right answer less the largest
            other; None where nobody measured it.
    """

    kind: str
    size: float | None
    measured: np.ndarray
    predicted: dict[str, np.ndarray]
    total: dict[str, np.ndarray]
    edit: np.ndarray
    clusters: np.ndarray | None = None
    margins: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Predicted against measured growth of a fine-tuned model.

    Attributes:
        series: every kind of perturbation at every size.
        fits: of each series with enough points, by source.
        linearity: of the kinds with several sizes, from the fine-tuned linearisation.
        flips: by what was compared: log growth through all steps ("measured", or predicted from a
            source), measured after each step ("measured after step 1", …), and the margin of the
            unchanged text ("margin"); empty without pairs that flip and that hold.
        meta: what was compared: configurations, weights, counts.
    """

    series: tuple[Series, ...]
    fits: tuple[tuple[str, float | None, str, Fit], ...]
    linearity: dict[str, Linearity]
    flips: dict[str, Flips]
    meta: dict[str, Any]

    def record(self) -> dict[str, Any]:
        """Plain values for calibration.json; texts are not among them."""
        rows = [
            {"kind": kind, "size": size, "source": source, **dataclasses.asdict(entry)}
            for kind, size, source, entry in self.fits
        ]
        series = [
            {
                "kind": entry.kind,
                "size": entry.size,
                "sizes": statistics(entry.edit),
                "measured": entry.measured.tolist(),
                "predicted": {
                    source: values.tolist() for source, values in entry.predicted.items()
                },
                "edit": entry.edit.tolist(),
                "clusters": None if entry.clusters is None else entry.clusters.tolist(),
                "margins": None if entry.margins is None else entry.margins.tolist(),
                "total": {name: statistics(values[:, -1]) for name, values in entry.total.items()},
            }
            for entry in self.series
        ]
        plain = {
            name: {key: dataclasses.asdict(value) for key, value in getattr(self, name).items()}
            for name in ("linearity", "flips")
        }
        return {"schema": SCHEMA, "fits": rows, "series": series, **plain, "meta": self.meta}


def calibrate(
    tuned: Run, pretrained: Run, seed: int, margins: dict[str, float] | None = None
) -> Calibration:
    """Hold two calibration runs of the same texts and perturbations against each other.

    Args:
        tuned: through the fine-tuned model.
        pretrained: through the checkpoint that it came from, with the same steps.
        seed: of resamples and permutations.
        margins: of the originals of pairs in the fine-tuned model, by the sha256 of the text; None
            where nobody measured them.

    Raises:
        ValueError: if they are not of the same perturbations.
    """
    differing = [
        key
        for key in ("texts", "pairs", "tokens", "sizes", "encoder_depth", "directed")
        if tuned.config[key] != pretrained.config[key]
    ]
    if differing:
        raise ValueError(
            f"expected two runs of the same perturbations, got others in {', '.join(differing)}"
        )
    pairs = zip(_growths(tuned), _growths(pretrained), strict=True)
    series = tuple(_series(own, other, tuned.config, margins or {}) for own, other in pairs)
    meta = {
        "model": tuned.config["model"],
        "pretrained": pretrained.config["model"],
        "weights": {
            source: run.config["weights"]
            for source, run in zip(SOURCES, (tuned, pretrained), strict=True)
        },
        "steps": tuned.config["declared"],
        "texts": len(tuned.config["texts"]),
        "skipped_pairs": len(tuned.config["skipped_pairs"]),
        "dtype": tuned.config["dtype"],
        "seed": tuned.config["seed"],
        "versions": tuned.config["versions"],
    }
    return _held_together(series, seed, meta)


def _growths(run: Run) -> list[Growth]:
    """Every kind of perturbation at every size, each of the examples that it was put to: only some
    texts have an attack, and the dataset has NaN for the others.
    """
    return [
        growth._replace(values=growth.values.dropna("example", how="all", subset=["size"]))
        for growth in growths(DECLARED.dataset(run), PREFIX)
    ]


def again(record: dict[str, Any], seed: int) -> Calibration:
    """What follows from the growth that a calibration's record holds, without the models.

    Args:
        record: of a calibration; older ones know neither which pairs share an original nor margins,
            nor the size of each edit.
        seed: of resamples and permutations.

    Raises:
        ValueError: if it is no record of a calibration of this schema.
    """
    if record.get("schema") != SCHEMA or "series" not in record:
        raise ValueError(
            f"expected the record of a calibration of schema {SCHEMA}, got {record.get('schema')!r}"
        )
    return _held_together(tuple(_read(entry) for entry in record["series"]), seed, record["meta"])


def _read(row: dict[str, Any]) -> Series:
    """A series as its record has it; of a record without the size of each edit their median stands
    for all.
    """
    measured = _numbers(row["measured"])
    predicted = {source: _numbers(values) for source, values in row["predicted"].items()}
    total = {
        name: np.cumsum(values, axis=1)
        for name, values in {"measured": measured, **predicted}.items()
    }
    edit = (
        _numbers(row["edit"])
        if "edit" in row
        else np.full(len(measured), _numbers(row["sizes"]["median"]))
    )
    clusters = None if row.get("clusters") is None else np.array(row["clusters"])
    margins = None if row.get("margins") is None else _numbers(row["margins"])
    return Series(row["kind"], row["size"], measured, predicted, total, edit, clusters, margins)


def _numbers(values: Any) -> np.ndarray:
    return np.array(values, dtype=float)  # null becomes NaN


def _held_together(series: tuple[Series, ...], seed: int, meta: dict[str, Any]) -> Calibration:
    drawn = (
        (entry, source, fit(entry.predicted[source], entry.measured, seed, entry.clusters))
        for entry in series
        for source in SOURCES
    )
    fits = tuple(
        (entry.kind, entry.size, source, result)
        for entry, source, result in drawn
        if result is not None
    )
    several = {
        kind: [entry for entry in series if entry.kind == kind]
        for kind in dict.fromkeys(entry.kind for entry in series if entry.size is not None)
    }
    straight = {kind: _linearity(rows) for kind, rows in several.items()}
    return Calibration(
        series, fits, straight, _flips({entry.kind: entry for entry in series}, seed), meta
    )


def _series(
    growth: Growth, other: Growth, config: dict[str, Any], margins: dict[str, float]
) -> Series:
    """One kind of perturbation at one size, through the fine-tuned model and the other one."""
    is_edit = growth.kind not in FAMILIES
    places = growth.values["example"].values
    texts, pairs = config["texts"], config["pairs"]
    originals = [pairs[i][1] if is_edit else texts[i] for i in places]
    every = dict.fromkeys([*texts, *(pair[1] for pair in pairs)])
    number = {text: i for i, text in enumerate(every)}
    own = None
    if is_edit and margins:
        digests = [hashlib.sha256(text.encode()).hexdigest() for text in originals]
        own = np.array([margins.get(digest, np.nan) for digest in digests])
    total = {
        "measured": _where_solved(growth.values, "measured"),
        SOURCES[0]: _log(growth.values["predicted"]),
        SOURCES[1]: _where_solved(other.values, "predicted"),
    }
    steps = {name: np.diff(values, axis=1, prepend=0.0) for name, values in total.items()}
    return Series(
        kind=growth.kind,
        size=None if np.isnan(growth.size) else growth.size,
        measured=steps.pop("measured"),
        predicted=steps,
        total=total,
        edit=growth.values["size"].values,
        clusters=np.array([number[text] for text in originals]),
        margins=own,
    )


def _linearity(rows: list[Series]) -> Linearity:
    sizes = np.array([entry.size for entry in rows], dtype=float)
    return linearity(
        sizes,
        *(np.stack([entry.total[name] for entry in rows]) for name in (SOURCES[0], "measured")),
    )


def _flips(kinds: dict[str, Series], seed: int) -> dict[str, Flips]:
    """Pairs that flip beside pairs that hold: in growth through all steps, after each step, and in
    the margin of the original.
    """
    if not kinds.keys() >= {FLIPPED, HELD}:
        return {}
    a, b = kinds[FLIPPED], kinds[HELD]
    compared = {
        name: (a.total[name][:, -1], b.total[name][:, -1]) for name in ("measured", *SOURCES)
    }
    steps = a.total["measured"].shape[1]
    compared |= {
        f"measured after step {k + 1}": (a.total["measured"][:, k], b.total["measured"][:, k])
        for k in range(steps - 1)
    }
    if a.margins is not None and b.margins is not None:
        compared[MARGIN] = (a.margins, b.margins)
    clusters = None if a.clusters is None or b.clusters is None else (a.clusters, b.clusters)
    result = {
        name: flips(*groups, (a.edit, b.edit), seed, clusters) for name, groups in compared.items()
    }
    return {name: entry for name, entry in result.items() if entry is not None}


def _where_solved(values: xr.Dataset, name: str) -> np.ndarray:
    """Log growth of each text after each step, NaN from the first step on that was not solved."""
    solved = np.logical_and.accumulate(values["converged"].values, axis=1)
    return np.where(solved, _log(values[name]), np.nan)


def _log(growth: xr.DataArray) -> np.ndarray:
    """Its logarithm after each step, `(texts, steps)`; growth 0 has none."""
    after = growth.values[:, 1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(after > 0, np.log(after), np.nan))
