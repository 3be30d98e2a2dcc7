"""A calibration in plain lines."""

from collections.abc import Mapping
from typing import Any


def told(record: Mapping[str, Any]) -> list[str]:
    """What each fit and each row of pairs says, from a calibration's record."""
    return [
        *(_fit(row) for row in record["fits"]),
        *(_flips(name, row) for name, row in record["flips"].items()),
    ]


def _fit(row: Mapping[str, Any]) -> str:
    size = "its own size" if row["size"] is None else f"size {row['size']:g}"
    within, means = (_number(row[name]) for name in ("r_squared_within", "layer_means"))
    slope = f"slope {row['slope']:.2f} [{row['slope_low']:.2f}, {row['slope_high']:.2f}]"
    squares = (
        f"R² {row['r_squared']:.3f} (within layers {within}, of the layers' means alone {means})"
    )
    what = f"{row['kind']}, {size}, from the {row['source']} linearisation"
    return f"{what}: {squares}, {slope}, agreement {row['agreement']:.3f}"


def _flips(name: str, row: Mapping[str, Any]) -> str:
    auroc = f"AUROC {row['auroc']:.2f} [{row['auroc_low']:.2f}, {row['auroc_high']:.2f}]"
    difference = f"{row['difference']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]"
    caution = " (chosen by its own outcome)" if name == "measured" else ""
    what = f"pairs that flip against pairs that hold, {name}{caution}"
    return f"{what}: {difference}, p = {row['p_value']:.2g}, {auroc}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
