"""The page of `odestab edits`: many edits by kind, then the first ones in full."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from analysis.edits.records import Damping, Edit, Edits, Method, Words
from analysis.ground.files import write_bytes
from analysis.ground.resampling import FEW
from figures import edits_growth, edits_kinds, edits_secants, edits_waterfall, style
from figures.edits_map import TokenMap, token_map
from figures.findings import number
from figures.records import not_a_number
from figures.template import Heading, Shown, Table, render, shown

DRAWN = 6  # pairs in full
PICTURES = {"growth": edits_growth, "waterfall": edits_waterfall, "secants": edits_secants}
WORDS: dict[Method, str] = {
    "explicit": "with explicit steps",
    "implicit": "with implicit ones",
    "model": "as the model runs",
}
TERMS = {
    "Difference δ": "Edited less original, of the states at one level, over all tokens. ‖δ‖ is its "
    "length; level 0 is before the first layer.",
    "Convention": "Tokens of both texts are aligned. A token of one text alone stands opposite "
    "nothing, and the state of nothing counts as 0. Where token counts differ, every ‖δ‖ over all "
    "tokens rests on that; the difference of the first token, or of the mean, does not.",
    "Growth": "‖δ‖ after a layer over ‖δ‖ before it. Below 1 the layer damps the edit. Growth "
    "multiplies through depth, so its logarithms add up.",
    "Explicit and implicit": "The explicit step of size h goes from x to x + hf(x), with f(x) = "
    "F(x) − x for a layer F unless the checkpoint declares another field; at h = 1 it is the layer "
    "itself. The implicit one ends at the y that solves y = x + hf(y).",
    "Secant ζ": "Of f between the two states: a + i(L² − a²)^½ with a = ⟨Δf, δ⟩/‖δ‖² and "
    "L = ‖Δf‖/‖δ‖. The explicit step grows the edit by |1 + hζ| exactly, at any size of the edit; "
    "the implicit one by 1/|1 − hζ| with ζ where it ends.",
    "Predicted": "1/|1 − hζ| with ζ where the implicit step starts. The step moves both states and "
    "so the secant: this is no measurement.",
    "Margin": "The logit of what the classifier says of the original less the largest other one. "
    "At 0 or below the answer has changed.",
    "Gain of the readout": "Change of the margin over ‖δ‖ after the last layer, with its sign. The "
    "change of the margin is ‖δ‖ before the first layer · growth through all layers · gain, "
    "exactly.",
}


@dataclasses.dataclass(frozen=True)
class Drawn:
    """One pair in full."""

    title: str
    name: str
    original: str
    edited: str
    cautions: Sequence[str]
    steps: Table
    pictures: list[Shown]
    map: TokenMap


@dataclasses.dataclass(frozen=True)
class Kinds:
    """The pairs together, by kind."""

    finding: str
    pictures: list[Shown]
    table: Table


def write_page(
    record: Edits, words: Mapping[int, Words], cautions: Mapping[int, Sequence[str]], folder: Path
) -> Path:
    """Write `folder/edits.html`, which needs no other file, and `folder/figures`.

    Args:
        record: of what was measured.
        words: of each pair by its index.
        cautions: what has to be said beside the numbers of each pair.
        folder: of the page.

    Returns:
        The path of the page.

    Raises:
        OSError: if the folder cannot be written.
    """
    figures = folder / "figures"
    page = render(
        "edits.html.j2",
        model=record.model,
        facts=_facts(record),
        answer=_answer(record),
        kinds=_kinds(record, figures) if len(record.edits) > 1 else None,
        pairs=[
            _drawn(record, edit, words[edit.index], cautions[edit.index], figures)
            for edit in record.edits[:DRAWN]
        ],
        more=max(len(record.edits) - DRAWN, 0),
        left_out=[(int(place), reason) for place, reason in record.left_out.items()],
        terms=TERMS.items(),
        configuration=_configuration(record),
    )
    path = folder / "edits.html"
    write_bytes(path, page.encode())
    return path


def _facts(record: Edits) -> str:
    facts = [
        f"Step size h = {number(record.step_size)}",
        style.counted(record.layers, "step" if "." in "".join(record.steps) else "layer"),
        style.counted(len(record.edits), "pair") + " measured",
        f"{len(record.left_out)} left out",
        record.dtype,
    ]
    if record.as_run == "model":
        facts.append("“as the model runs” is what the checkpoint itself does, measured beside")
    return "; ".join(facts) + "."


def _answer(record: Edits) -> str:
    """The first thing to know."""
    single = len(record.edits) == 1
    wholes = "; ".join(
        f"{number(_median_whole(record, method))} {WORDS[method]}" for method in record.methods
    )
    who = "the edit grows" if single else f"the median of {len(record.edits)} edits grows"
    sentences = [f"Through all layers {who} by a factor of {wholes}."]
    if not single:
        shares = "; ".join(
            f"{number(100 * _damped(record, method), 2)} % {WORDS[method]}"
            for method in record.methods
        )
        sentences.append(f"Of all steps through a layer, these make an edit smaller: {shares}.")
    answers = [edit.answer for edit in record.edits if edit.answer is not None]
    if answers:
        flipped = sum(answer.flipped for answer in answers)
        what = "The edit changes" if single and flipped else f"{flipped} of {len(answers)} change"
        if single and not flipped:
            what = "The edit does not change"
        sentences.append(f"{what} what the classifier says.")
    return " ".join(sentences)


def _median_whole(record: Edits, method: Method) -> float:
    """Of ‖δ_L‖/‖δ_0‖ over the pairs that were solved to the end."""
    walks = [edit.walks[method] for edit in record.edits]
    known = [not_a_number(walk.whole) for walk in walks if walk.solved[-1]]
    return float(np.median(known)) if known else float("nan")


def _damped(record: Edits, method: Method) -> float:
    """The share of the solved steps of all pairs whose growth is below 1."""
    walks = [edit.walks[method] for edit in record.edits]
    growth = [
        value
        for walk in walks
        for value, solved in zip(walk.growth, walk.solved, strict=True)
        if solved and value is not None
    ]
    return float(np.mean(np.array(growth) < 1)) if growth else float("nan")


def _kinds(record: Edits, folder: Path) -> Kinds:
    answer, intervals = _answer(record), edits_kinds.on_intervals(record)
    drawn = {
        "growth": (edits_kinds.draw_growth(record), edits_kinds.GROWTH),
        "damped": (edits_kinds.draw_damped(record), edits_kinds.DAMPED),
    }
    pictures = [
        shown(figure, folder, f"kinds_{name}", answer, f"{caption} {intervals}")
        for name, (figure, caption) in drawn.items()
    ]
    kinds = edits_kinds.kinds_of(record)
    finding = f"{style.counted(len(kinds), 'kind')} of edits."
    if len(kinds) > edits_kinds.MOST:
        finding += (
            f" The {edits_kinds.MOST} with the most pairs are drawn; the table has all of them."
        )
    return Kinds(finding, pictures, _kinds_table(record))


def _kinds_table(record: Edits) -> Table:
    singles = ("kind", "method", "layer", "pairs", "originals")
    groups = ("median growth", "share that is damped")
    return Table(
        caption="Edits by kind, method and layer, with 95 % intervals over originals; a dash "
        f"where fewer than {FEW} originals say little of them. Pairs are those whose solves "
        "converged up to the layer, of all of the kind.",
        head=[
            [Heading(name, words=place < 2) for place, name in enumerate(singles)]
            + [Heading(name) for group in groups for name in (group, "95 % interval")]
        ],
        rows=[_kinds_row(record, row) for row in record.damping],
        words=1,
    )


def _kinds_row(record: Edits, row: Damping) -> list[str]:
    enough = edits_kinds.is_enough(row)
    return [
        row.kind,
        row.method,
        record.steps[row.step],
        f"{row.pairs} of {row.of}",
        str(row.clusters),
        number(row.growth),
        f"{number(row.growth_low)} to {number(row.growth_high)}" if enough else "–",
        number(row.damped, 2),
        f"{number(row.damped_low, 2)} to {number(row.damped_high, 2)}" if enough else "–",
    ]


def _drawn(record: Edits, edit: Edit, words: Words, cautions: Sequence[str], folder: Path) -> Drawn:
    name = f"pair-{edit.index}"
    pictures = [
        shown(
            picture.draw(record, edit),
            folder,
            f"{name}_{what}",
            f"Pair {edit.index}.",
            picture.CAPTION,
            kinds=("svg",),
        )
        for what, picture in PICTURES.items()
    ]
    return Drawn(
        title=f"Pair {edit.index}: {edit.kind}",
        name=name,
        original=words.original,
        edited=words.edited,
        cautions=cautions,
        steps=_steps(record, edit),
        pictures=pictures,
        map=token_map(record, edit, words),
    )


def _steps(record: Edits, edit: Edit) -> Table:
    """Growth by step, and sizes after it."""
    read = {"first token": "first token", "other tokens too": "mean", "no head": "mean"}
    groups = {
        "explicit": ["growth", "log"],
        "implicit": ["growth", "log", "predicted", "converged"],
        **({"as it runs": ["growth", "log"]} if record.as_run == "model" else {}),
        "‖δ‖ after it, as it runs": ["all tokens", read[record.reads]],
    }
    return Table(
        caption="Growth of the edit by layer, and the size of its difference after the layer; the "
        "first row is before the first layer.",
        head=[
            [
                Heading("layer", rows=2),
                *(Heading(name, columns=len(columns)) for name, columns in groups.items()),
            ],
            [Heading(column) for columns in groups.values() for column in columns],
        ],
        rows=[
            _steps_row(record, edit, None),
            *(_steps_row(record, edit, step) for step in range(record.layers)),
        ],
    )


def _steps_row(record: Edits, edit: Edit, step: int | None) -> list[str]:
    level = 0 if step is None else step + 1
    sizes = [number(edit.size_whole[level]), number(edit.size_read[level])]
    cells: list[str] = []
    for method in record.methods:
        if step is None:
            cells += ["–"] * (4 if method == "implicit" else 2)
            continue
        walk = edit.walks[method]
        cells += [number(walk.growth[step]), number(walk.log_growth[step])]
        if method == "implicit":
            converged = "yes" if walk.converged[step] else "no"
            cells += [number(walk.predicted[step]), converged]
    name = "before" if step is None else record.steps[step]
    return [name, *cells, *sizes]


def _configuration(record: Edits) -> str:
    kept = ("model", "identity", "step_size", "steps", "reads", "labels", "dtype", "seed")
    entries = {name: record[name] for name in (*kept, "versions")}
    return json.dumps(entries, indent=1, ensure_ascii=False, default=str)
