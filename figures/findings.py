"""The words that findings are made of, and the report's sentences about all of a run."""

from collections.abc import Sequence

import numpy as np

from analysis.ground.words import counted
from analysis.quantities.growth import status_name
from analysis.run import Measurements
from figures.layer_rows import LayerRow, layer_rows

NOTHING = "Not measured in this run."
CONVERGED = 0  # the code of a solve that did
ONE_SOLVE = "The one implicit solve converged."


def number(value: float | None, digits: int = 3) -> str:
    """A number to a few significant digits, with a true minus sign; a dash for none."""
    if value is None or np.isnan(value):
        return "–"
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.{digits}g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        superscript = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        text = f"{mantissa} · 10{superscript}"
    return text.replace("-", "−")


def per_cent(shares: Sequence[float]) -> str:
    """Per cent from the smallest to the largest: "53–87 %"."""
    low, high = (f"{100 * value:.0f}" for value in (min(shares), max(shares)))
    return f"{low} %" if low == high else f"{low}–{high} %"


def largest(values: Sequence[float]) -> float:
    """The largest finite value; NaN where there is none."""
    return max((value for value in values if np.isfinite(value)), default=float("nan"))


def ranges(members: Sequence[float], everything: Sequence[float]) -> str:
    """Members of an ordered list in words, neighbours joined: "0–2, 5"; "none" if there are
    none.
    """
    order = sorted(everything)
    places = sorted(order.index(member) for member in members)
    groups: list[list[int]] = []
    for place in places:
        if groups and groups[-1][-1] == place - 1:
            groups[-1].append(place)
        else:
            groups.append([place])
    words = [
        number(order[group[0]], 4) + (f"–{number(order[group[-1]], 4)}" if len(group) > 1 else "")
        for group in groups
    ]
    return ", ".join(words) or "none"


def share(some: Sequence[int], layers: Sequence[int]) -> str:
    """How many of the layers, and which: "2 of 6 layers (layers 0, 3)"."""
    if len(layers) == 1:
        return f"layer {layers[0]}" if some else "no layer measured"
    if len(layers) > 1 and len(some) in (0, len(layers)):
        return f"all {len(layers)} layers" if some else f"none of the {len(layers)} layers"
    if not layers:
        return "0 of 0 layers"
    which = "layer" if len(some) == 1 else "layers"
    return f"{len(some)} of {len(layers)} layers ({which} {ranges(some, layers)})"


def numbers_of(rows: Sequence[LayerRow]) -> list[int]:
    """The layers of some rows."""
    return [row.layer for row in rows]


def with_verdict(rows: Sequence[LayerRow], method: str, name: str = "stable") -> list[int]:
    """The layers with a verdict on a method."""
    return [row.layer for row in rows if row.verdict[method] == name]


def guarantee(run: Measurements, step_size: float | None = None) -> str:
    """In which layers hμ₂ < 1, so that the implicit step exists, is unique and is Lipschitz."""
    rows = layer_rows(run, step_size)
    if not any(np.isfinite(row.logarithmic_norm) for row in rows):
        return NOTHING
    layers = numbers_of(rows)
    held = [row.layer for row in rows if row.norm_below_one() is True]
    violated = [row for row in rows if row.norm_below_one() is False]
    unsettled = [row.layer for row in rows if row.norm_below_one() is None]
    h = number(rows[0].step_size)
    text = f"At h = {h} the median text has hμ₂ < 1 in {share(held, layers)}"
    if violated:
        worst = max(violated, key=lambda row: row.logarithmic_norm)
        text += (
            f" and violates it in {share(numbers_of(violated), layers)}"
            f"{f', most in layer {worst.layer}' if len(rows) > 1 else ''} (hμ₂ = "
            f"{number(worst.step_size * worst.logarithmic_norm)}): there the guarantee is void"
        )
    if unsettled:
        text += f"; μ₂ that did not converge leaves it open in {share(unsettled, layers)}"
    return f"{text}."


def of_convergence(run: Measurements) -> str:
    """Whether everything converged, and if not how much did not."""
    if not any(run[name] for name in ("growth", "propagation", "stability_map")):
        return "Nothing was measured, so nothing could fail to converge."
    found = run.shortfalls()
    if not found:
        return (
            "Everything converged: every eigenvalue, singular value and "
            "solve; and every maximum over a spectrum is settled."
        )
    faults: dict[str, int] = {}
    for one in found:
        name = f"{one.quantity}: {one.fault}"
        faults[name] = faults.get(name, 0) + one.count
    return (
        "Not everything converged. Values over all texts, layers and step sizes: "
        + "; ".join(f"{name} ({k})" for name, k in faults.items())
        + "."
    )


def of_solves(run: Measurements) -> str:
    """How the implicit solves of the layers ended, by name of status."""
    if not run["growth"]:
        return NOTHING
    status = run["growth"]["solve_status"]
    codes, counts = np.unique(status.values, return_counts=True)
    if codes.tolist() == [CONVERGED]:
        return f"All {status.size} implicit solves converged." if status.size > 1 else ONE_SOLVE
    names = [
        f"{count} with the status {status_name(status, code)}"
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True)
    ]
    return f"Of {counted(status.size, 'implicit solve')} there ended {', '.join(names)}."
