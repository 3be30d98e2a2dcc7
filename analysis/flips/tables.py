"""The numbers of a verdict as tables, one row a number that was compared."""

from pathlib import Path

import pandas as pd

from analysis.flips.records import Estimate, Flips
from analysis.ground.write_tables import write_table


def tables(record: Flips) -> dict[str, pd.DataFrame]:
    """Scores, predicted flip rates, fates and transfers, by the name of the file."""
    return {
        "scores": pd.DataFrame(_scores(record)),
        "flip_rates": pd.DataFrame(_flip_rates(record)),
        "fates": pd.DataFrame(_fates(record)),
        "transfers": pd.DataFrame(_transfers(record)),
    }


def write_tables(record: Flips, folder: Path, form: str) -> list[Path]:
    """Write every table that has rows, each file whole or not at all.

    Raises:
        OSError: if a file cannot be written.
    """
    return [
        write_table(frame, folder, name, form)
        for name, frame in tables(record).items()
        if not frame.empty
    ]


def _scores(record: Flips) -> list[dict[str, object]]:
    return [
        {
            "attack": ranking.attack,
            "models": _listed(ranking.models),
            "task": ranking.task,
            "kind": ranking.kind,
            "population": ranking.population,
            "score": score.name,
            "primary": ranking.primary and score.name == record.primary.score,
            "flipped": score.flipped,
            "held": score.held,
            "left_out": score.left_out,
            "sentences": score.sentences,
            **_ends("auroc", score.auroc),
            **_ends("confidence", score.confidence),
            **_ends("gain", score.gain),
        }
        for ranking in record.rankings
        for score in ranking.scores
    ]


def _flip_rates(record: Flips) -> list[dict[str, object]]:
    return [
        {
            "attack": ranking.attack,
            "models": _listed(ranking.models),
            "task": ranking.task,
            "kind": ranking.kind,
            "fit": fit.name,
            "bin": place,
            "inputs": each.inputs,
            "predicted": each.predicted,
            **_ends("observed", each.observed),
        }
        for ranking in record.rankings
        if ranking.calibration is not None
        for fit in ranking.calibration.fits
        for place, each in enumerate(fit.bins)
    ]


def _fates(record: Flips) -> list[dict[str, object]]:
    return [
        {
            "model": fate.model,
            "models": _listed(fate.models),
            "size": name,
            "level": level,
            "flipped": fate.flipped,
            "pairs": fate.pairs,
            **_ends("auroc", found),
            **_ends("margin", fate.margin),
            **_ends("edit_size", fate.size),
        }
        for fate in record.fates
        for name in ("whole", "first", "read")
        for level, found in enumerate(fate[name])
    ]


def _transfers(record: Flips) -> list[dict[str, object]]:
    return [
        {
            "attack": transfer.attack,
            "task": transfer.task,
            "explicit": transfer.explicit,
            "implicit": transfer.implicit,
            "seeds": _listed(transfer.seeds),
            "score": each.score,
            "other": each.other,
            "flipped": each.flipped,
            "held": each.held,
            "left_out": each.left_out,
            "sentences": each.sentences,
            **_ends("auroc", each.auroc),
            **_ends("of_other", each.of_other),
            **_ends("gain", each.gain),
        }
        for transfer in record.transfers
        for each in transfer.compared
    ]


def _ends(name: str, found: Estimate) -> dict[str, float | None]:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _listed(models: list[int]) -> str:
    return " ".join(map(str, models))
