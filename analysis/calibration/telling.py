"""A calibration as tables of at most 80 columns."""

from collections.abc import Mapping
from typing import Any

from analysis.ground.terminal import wrapped

OF_FITS = (
    f"{'kind':<10}{'size':<8}{'linearised':<12}{'R²':>6} {'within':>6} {'means':>6} "
    f"{'slope':>6} {'95 %':>13} {'agree':>7}"
)
OF_PAIRS = f"{'':<23}{'less':>8} {'95 %':>16} {'p':>8} {'AUROC':>6} {'95 %':>13}"
MEANINGS = (
    "R²: of a line, measured over predicted log growth of each step; within: the same within "
    "layers; means: of the layers' means alone; slope: of the line; agree: R² of the prediction "
    "as it is, without a line."
)


def told(record: Mapping[str, Any]) -> list[str]:
    """What each fit and each row of pairs says, from a calibration's record."""
    lines = [OF_FITS, *map(_fit, record["fits"]), *wrapped(MEANINGS)]
    if record["flips"]:
        lines += ["", "Pairs that flip, less pairs that hold (growth in nats)", OF_PAIRS]
        lines += [_flips(name, row) for name, row in record["flips"].items()]
    if "measured" in record["flips"]:
        lines.append("measured: chosen by its own outcome")
    return lines


def _fit(row: Mapping[str, Any]) -> str:
    size = "its own" if row["size"] is None else f"{row['size']:g}"
    squares = [_number(row[name]) for name in ("r_squared", "r_squared_within", "layer_means")]
    slope = _number(row["slope"], ".2f")
    interval = _interval(row["slope_low"], row["slope_high"])
    return (
        f"{row['kind'][:9]:<10}{size[:7]:<8}{row['source'][:11]:<12}"
        f"{squares[0]:>6} {squares[1]:>6} {squares[2]:>6} {slope:>6} {interval:>13} "
        f"{_number(row['agreement']):>7}"
    )


def _flips(name: str, row: Mapping[str, Any]) -> str:
    difference = _number(row["difference"], "+.2f")
    interval = _interval(row["low"], row["high"], "+.2f")
    auroc = _number(row["auroc"], ".2f")
    of_auroc = _interval(row["auroc_low"], row["auroc_high"])
    return (
        f"{name[:22]:<23}{difference:>8} {interval:>16} {_number(row['p_value'], '.2g'):>8} "
        f"{auroc:>6} {of_auroc:>13}"
    )


def _interval(low: float | None, high: float | None, digits: str = ".2f") -> str:
    """The ends of an interval; a dash where one original has none."""
    return "–" if low is None or high is None else f"[{low:{digits}}, {high:{digits}}]"


def _number(value: float | None, digits: str = ".3f") -> str:
    return "–" if value is None else f"{value:{digits}}"
