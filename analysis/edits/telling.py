"""What `odestab edits` prints: a table of at most 80 columns, and what to know of it."""

import itertools
import textwrap

import numpy as np

from analysis.edits.records import Answer, Edit, Edits, Number
from analysis.ground.words import counted

WIDEST = 80
COLUMN = 13
PREDICTED = "predicted: of the implicit step, from the secant where it starts, not measured"
MOST_KINDS = 12  # that are printed; all are in the tables


def told(record: Edits) -> list[str]:
    """The one pair step by step, or the kinds of many."""
    if len(record.edits) == 1:
        edit = record.edits[0]
        beside = (textwrap.wrap(line, WIDEST) for line in cautions(record, edit))
        return [*_pair(record, edit), *itertools.chain(*beside)]
    return _kinds(record)


def _row(*cells: str) -> str:
    return f"{cells[0]:<6}" + "".join(f"{cell:>{COLUMN}}" for cell in cells[1:])


def _number(value: Number) -> str:
    return "–" if value is None else f"{value:.3f}".replace("-", "−")


def _digits(value: Number) -> str:
    """Four of them, however small the number."""
    return "–" if value is None else f"{value:.4g}".replace("-", "−")


def _pair(record: Edits, edit: Edit) -> list[str]:
    explicit, implicit = edit.walks["explicit"], edit.walks["implicit"]
    lines = [f"growth of the edit's ‖δ‖ by layer, h = {record.step_size:g}"]
    own = edit.walks.get("model")
    heads = ["layer", "explicit", "implicit", "predicted", "converged"]
    lines.append(_row(*heads, *(["as it runs"] if own else [])))
    for step, name in enumerate(record.steps):
        cells = [explicit.growth[step], implicit.growth[step], implicit.predicted[step]]
        converged = "yes" if implicit.converged[step] else "NO"
        as_run = [_number(own.growth[step])] if own else []
        lines.append(_row(name, *map(_number, cells), converged, *as_run))
    wholes = [_number(edit.walks[method].whole) for method in record.methods]
    solved = "yes" if implicit.solved[-1] else "NO"
    lines.append(_row("all", *wholes[:2], "", solved, *wholes[2:]))
    return [*lines, PREDICTED]


def _kinds(record: Edits) -> list[str]:
    """Median growth through all layers and how much is damped, by kind and method."""
    kinds = list(dict.fromkeys(edit.kind for edit in record.edits))
    lines = [
        f"{counted(len(record.edits), 'pair')}, {counted(len(kinds), 'kind')}, h = "
        f"{record.step_size:g}: median growth "
        "of a layer, its extremes",
        "over layers, and the share of steps that damp",
        f"{'kind':<22}{'method':<10}{'pairs':>7}{'median':>10}{'least':>10}{'most':>10}"
        f"{'damped':>10}",
    ]
    for kind in kinds[:MOST_KINDS]:
        for method in record.methods:
            rows = [row for row in record.damping if (row.kind, row.method) == (kind, method)]
            growth = np.array([row.growth for row in rows], dtype=float)
            damped = np.array([row.damped for row in rows], dtype=float)
            known = growth[np.isfinite(growth)]
            numbers = (np.median(known), known.min(), known.max()) if len(known) else ()
            shown = "".join(f"{value:>10.3f}" for value in numbers) or f"{'–':>10}" * 3
            share = f"{100 * np.nanmean(damped):>8.0f} %" if len(known) else f"{'–':>10}"
            pairs = min(row.pairs for row in rows)
            lines.append(f"{kind[:21]:<22}{method:<10}{pairs:>7}{shown}{share}")
    if len(kinds) > MOST_KINDS:
        lines.append(f"and {counted(len(kinds) - MOST_KINDS, 'kind')} more, in the table damping")
    return lines


def cautions(record: Edits, edit: Edit) -> list[str]:
    """What has to be said beside the numbers of a pair."""
    lines = []
    if edit.answer is not None:
        lines.append(_product(record, edit, edit.answer))
    elif record.labels:
        one = len(record.labels) == 1
        why = "one output: a regression" if one else "outputs none of which is the answer: it"
        lines.append(f"The classifier has {why} has no margin.")
    if edit.unequal:
        lines.append(
            f"{edit.counts[0]} against {edit.counts[1]} tokens: a token of one text stands "
            "opposite nothing, whose state counts as 0."
        )
        lines.append(_read(record, edit))
    if not edit.shared:
        lines.append("The texts share no token: this is another text more than an edit.")
    unsolved = [
        f"{method} {', '.join(names)}"
        for method, walk in edit.walks.items()
        if (names := [record.steps[i] for i, one in enumerate(walk.converged) if not one])
    ]
    if unsolved:
        lines.append(
            f"Not converged: {'; '.join(unsolved)}. From there on the path is not that of the step."
        )
    return lines


def _read(record: Edits, edit: Edit) -> str:
    first, last = edit.size_read[0], edit.size_read[-1]
    if record.reads == "no head":
        what = "Of the mean over tokens"
    elif record.reads == "first token":
        what = "Of the first token, which is all that the classifier reads"
    else:
        what = "Of the mean over tokens, as the classifier reads more than the first"
    return f"{what}, the difference goes from {_number(first)} to {_number(last)}."


def _product(record: Edits, edit: Edit, answer: Answer) -> str:
    label = record.labels[answer.label]
    change = (
        None
        if answer.margin_before is None or answer.margin_after is None
        else answer.margin_after - answer.margin_before
    )
    whole = edit.walks[record.as_run].whole
    factors = f"{_digits(edit.size_whole[0])} · {_digits(whole)} · ({_digits(answer.gain)})"
    flipped = ", the answer flips" if answer.flipped else ""
    return (
        f"Margin of {label!r}: {_number(answer.margin_before)} before, "
        f"{_number(answer.margin_after)} after{flipped}; the change {_digits(change)} is "
        f"‖δ_0‖ · growth · gain of the readout = {factors}."
    )
