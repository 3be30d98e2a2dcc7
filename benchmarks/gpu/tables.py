"""The tables of the docs, from the committed records and from nothing else."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path("benchmarks/results/gpu")
PAGES = {
    "docs/costs.md": "summary",
    "docs/gpu.md": "whole",
    "docs/scaling.md": "spectra",
}  # and which table stands there
BEGIN, END = "<!-- gpu: {name}, written by python -m benchmarks.gpu merge -->", "<!-- /gpu -->"
TARGETS = {"fixed point": 0.08, "Anderson(3)": 0.25, "Anderson(5)": 0.35}
SPEEDUP, SHARE = 3.0, 0.6
UNMEASURED = "Nothing has been measured on a GPU yet.\n"
DASH = "–"

Record = dict[str, Any]
Row = Sequence[str]


def records(root: Path) -> list[Record]:
    """The committed records, one per machine."""
    return [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted((root / RESULTS).glob("*.json"))
    ]


def write_pages(root: Path) -> list[Path]:
    """Write every table anew between its marks.

    Returns:
        The pages that changed.

    Raises:
        ValueError: if a page lacks the marks.
    """
    changed = []
    for page, kind in PAGES.items():
        path = root / page
        text = path.read_text(encoding="utf-8")
        new = with_block(text, kind, block(kind, records(root)), str(page))
        if new != text:
            path.write_text(new, encoding="utf-8")
            changed.append(path)
    return changed


def with_block(text: str, kind: str, content: str, page: str) -> str:
    """A page with what stands between its marks replaced."""
    begin = BEGIN.format(name=kind)
    marked = re.compile(re.escape(begin) + ".*?" + re.escape(END), re.DOTALL)
    if not marked.search(text):
        raise ValueError(f"{page}: expected the marks {begin} and {END}, got none")
    return marked.sub(lambda _: f"{begin}\n{content}{END}", text)


def block(kind: str, found: Sequence[Record]) -> str:
    """One of the tables, for every machine."""
    if not found:
        return UNMEASURED
    return "\n".join(
        {"summary": summary, "whole": whole, "spectra": spectra}[kind](record) for record in found
    )


def summary(record: Record) -> str:
    """What was asked, what came, whether that is enough."""
    rows = list(verdicts(record))
    return _table([f"on {machine(record)}", "measured", "target", ""], rows)


def slug(gpu: str) -> str:
    """The name of a device in a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-")


def machine(record: Record) -> str:
    """The device, in words."""
    return f"one {record['machine']['gpu']}"


def verdicts(record: Record) -> Iterator[Row]:
    """(what, measured, target, met or missed) of everything that has a target and was measured."""
    right = numbers(record, "right")
    if "passed" in right:
        count = right["passed"] + right["failed"]
        whole = record["parts"]["right"]["status"] == "finished"
        measured = f"{right['passed']} of {count}" + ("" if whole else " that ran in time")
        yield (
            "checks on the device that pass",
            measured,
            "all",
            _met(right["failed"] == 0) if whole or right["failed"] else "",
        )
    solver = numbers(record, "solver")
    for row in solver.get("iterations", []):
        if row["form"] == "eager" and row["engine"] in TARGETS:
            target, over = TARGETS[row["engine"]], row["kernels over bare"]
            what = f"{row['engine']}: kernels of an iteration over those of F alone"
            yield what, _percent(over), f"≤ {_percent(target)}", _met(over <= target)
    if ours := [row for row in solver.get("iterations", []) if row["engine"] in TARGETS]:
        syncs = max(row["syncs"] for row in ours)
        yield "host syncs of an iteration", f"{syncs:.2g}", "0", _met(syncs == 0)
    for form in dict.fromkeys(row["form"] for row in solver.get("solves", [])):
        for layer, ratio in speedups(solver, form):
            what = f"a solve beside torchdeq's fastest, F {form}, {layer}"
            yield what, f"{ratio:.1f}×", f"≥ {SPEEDUP:g}×", _met(ratio >= SPEEDUP)
    for row in numbers(record, "spectra").get("shares", []):
        share = row["matrix products"]
        yield (
            f"spectra, {row['dtype']}: device time in matrix products",
            _percent(share),
            f"≥ {_percent(SHARE)}",
            _met(share >= SHARE),
        )
    for row in numbers(record, "training").get("steps", []):
        if row["model"] != "BERT":
            memory = (
                "" if row["memory of BERT"] is None else f", memory {row['memory of BERT']:.2f}×"
            )
            yield (
                f"training step, {row['size']}: {row['model']} over BERT",
                f"{row['of BERT']:.2f}×{memory}",
                DASH,
                "",
            )


def numbers(record: Record, part: str) -> Record:
    """What a part measured; empty where it did not run."""
    found: Record = record["parts"].get(part, {}).get("numbers", {})
    return found


def speedups(solver: Record, form: str) -> Iterator[tuple[str, float]]:
    """(layer, torchdeq's least time over ours) of solves that arrived, F in one form."""
    arrived = [row for row in solver.get("solves", []) if row["form"] == form and row["arrived"]]
    for layer in dict.fromkeys(row["layer"] for row in arrived):
        sides: dict[bool, list[float]] = {True: [], False: []}
        for row in arrived:
            if row["layer"] == layer:
                sides[row["engine"].startswith("torchdeq")].append(row["us"])
        if sides[True] and sides[False]:
            yield layer, min(sides[True]) / min(sides[False])


def spectra(record: Record) -> str:
    """Seconds of the table of every layer."""
    rows = [
        (
            f"{row['layer']}",
            row["dtype"],
            str(row["sentences"]),
            f"{row['s']:.1f}",
            str(row["products"]),
            str(row["unconverged"]),
        )
        for row in numbers(record, "spectra").get("rows", [])
    ]
    if not rows:
        return f"On {machine(record)}: not measured.\n"
    return _table(
        [
            f"layer, on {machine(record)}",
            "precision",
            "sentences of 64 tokens",
            "s",
            "products",
            "unconverged",
        ],
        rows,
    )


def whole(record: Record) -> str:
    """Everything, part by part."""
    about = record["machine"]
    versions = ", ".join(
        f"{name} {about[name]}"
        for name in ("torch", "triton", "transformers", "odestab")
        if about.get(name)
    )
    picture = f"![an iteration and a training step](../{RESULTS}/{slug(about['gpu'])}.png)\n"
    parts = [
        f"## {about['gpu']}\n",
        picture,
        f"{about['date']}, {versions}, driver {about['driver']}, {about['cores']} cores.\n",
        summary(record),
    ]
    ceilings = numbers(record, "solver").get("ceilings", {})
    parts.append(
        _table(
            ["ceiling, measured in the same run", ""],
            [(name, f"{value:.3g}") for name, value in ceilings.items()],
        )
    )
    for title, rows in details(record):
        parts.append(f"### {title}\n")
        parts.append(rows)
    return "\n".join(parts)


def details(record: Record) -> Iterator[tuple[str, str]]:
    """(title, table) of each part, and how it ended where it did not finish."""
    for name, part in record["parts"].items():
        found = numbers(record, name)
        if part["status"] != "finished":
            yield (
                f"{name}: {part['status']} after {part.get('seconds', 0):.0f} s",
                "What it had measured by then stands below.\n",
            )
        if failures := found.get("failures"):
            yield (
                f"{name}: what failed",
                _lines(
                    [
                        one if isinstance(one, str) else f"{one['what']}: {one['error']}"
                        for one in failures
                    ]
                ),
            )
        if left := found.get("left out"):
            yield f"{name}: left out", _lines([left])
        if name == "solver" and found.get("iterations"):
            yield "An iteration of an implicit layer", _iterations(found["iterations"])
            if found.get("stages"):
                yield "Its stages alone", _stages(found["stages"], found["ceilings"]["copy TB/s"])
            if found.get("solves"):
                yield "Whole solves", _solves(found["solves"])
        if name == "spectra":
            if found.get("rows"):
                yield "The table of every layer", spectra(record)
            for row in found.get("shares", []):
                yield (
                    f"Dearest operations of a search, {row['dtype']} "
                    f"(device busy {_percent(row['device busy'])})",
                    _dearest(row["dearest"]),
                )
        if name == "training" and found.get("steps"):
            yield "A training step", _steps(found["steps"])
        if name == "study" and found.get("runs"):
            yield "Runs of the study", _runs(found["runs"])


def _iterations(rows: list[Record]) -> str:
    head = ["F", "engine", "µs", "over bare F", "µs in kernels", "over bare F", "launches", "syncs"]
    return _table(
        head,
        [
            (
                *(
                    row["form"],
                    row["engine"],
                    f"{row['us']:.0f}",
                    _percent(row.get("over bare")),
                    f"{row['kernel us']:.0f}",
                ),
                *(
                    _percent(row.get("kernels over bare")),
                    f"{row['launches']:.3g}",
                    f"{row['syncs']:.2g}",
                ),
            )
            for row in rows
        ],
    )


def _stages(rows: list[Record], copy: float) -> str:
    head = [
        "stages of",
        "µs in kernels",
        "MB to be moved",
        "µs at the copy's bandwidth",
        "share of it",
        "F and stages as one graph, µs",
    ]
    found = []
    for row in rows:
        floor = 1e-6 * row["bytes"] / copy
        graph = row.get("graph with F, us")
        found.append(
            (
                *(
                    row[""],
                    f"{row['kernel us']:.1f}",
                    f"{row['bytes'] / 1e6:.0f}",
                    f"{floor:.1f}",
                    _percent(floor / row["kernel us"]),
                ),
                DASH if graph is None else f"{graph:.0f}",
            )
        )
    return _table(head, found)


def _solves(rows: list[Record]) -> str:
    head = ["layer", "F", "to a true residual of", "engine", "ms", "evaluations", "reached"]
    cells = [
        (
            *(
                row["layer"],
                row["form"],
                f"{row['rtol']:g}",
                row["engine"],
                f"{row['us'] / 1e3:.2f}",
                str(row["evaluations"]),
            ),
            f"{row['residual']:.1e}" + ("" if row["arrived"] else ", not arrived"),
        )
        for row in rows
    ]
    return _table(head, cells)


def _steps(rows: list[Record]) -> str:
    head = [
        "size",
        "model",
        "texts",
        "ms",
        "of BERT",
        "ms in kernels",
        "memory of BERT",
        "evaluations",
        "products",
        "launches",
    ]
    cells = []
    for row in rows:
        memory = row["memory of BERT"]
        cells.append(
            (
                *(
                    row["size"],
                    row["model"],
                    str(row["examples"]),
                    f"{row['ms']:.1f}",
                    f"{row['of BERT']:.2f}",
                    f"{row['kernel ms']:.1f}",
                ),
                DASH if memory is None else f"{memory:.2f}",
                *(str(row.get(name, DASH)) for name in ("evaluations", "products")),
                str(row["launches"]),
            )
        )
    return _table(head, cells)


def _runs(rows: list[Record]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row["attacks"]))
    cells = []
    for row in rows:
        pairs = ", ".join(
            f"{100 * value:.1f}" for value in row["AdvGLUE"].values() if value is not None
        )
        robust = [_percent(row["attacks"].get(name)) for name in names]
        cells.append(
            (row["run"], f"{100 * row['dev']:.1f}", pairs or DASH, *robust, f"{row['seconds']:.0f}")
        )
    return _table(
        ["run", "dev, %", "AdvGLUE, %", *(f"under {name}" for name in names), "s of training"],
        cells,
    )


def _dearest(rows: list[list[Any]]) -> str:
    return _table(
        ["operation", "calls", "ms"],
        [(f"`{name}`", str(calls), f"{us / 1e3:.1f}") for name, calls, us in rows],
    )


def _table(head: Row, rows: Sequence[Row]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(
        "| " + " | ".join(str(cell).replace("|", r"\|") for cell in line) + " |\n" for line in lines
    )


def _lines(lines: Sequence[str]) -> str:
    return "".join(f"- {line}\n" for line in lines) or "\n"


def _percent(share: float | None) -> str:
    return DASH if share is None else f"{100 * share:.0f} %"


def _met(holds: bool) -> str:
    return "met" if holds else "missed"
