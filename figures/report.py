"""One self-contained page about a run: an answer, a finding above each figure, the numbers, and
what did not converge.
"""

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import xarray as xr

from analysis.quantities import METHODS, Shortfall
from analysis.quantities.registry import terms
from analysis.record import write_bytes
from analysis.run import Measurements
from figures import findings, refinement, selection, slider, story, style
from figures.answers import answers
from figures.findings import number, ranges
from figures.layer_rows import LayerRow, layer_rows
from figures.listings import listings
from figures.picture import Picture
from figures.pictures import pictures_of
from figures.records import RunConfig, typed
from figures.spectra import SPECTRA
from figures.template import Heading, Shown, Table, render, shown

FIELDS = {
    "increment": "f(x) = F(x) − x, where F is the whole layer. The explicit Euler "
    "step of size h = 1 is then the pretrained layer itself.",
    "outer": "f(x) = F(x), where F is the whole layer. The explicit Euler step "
    "x + hF(x) adds one more residual around the layer.",
}


OF_ONE = " Here there is one text: its value stands for medians, and has no percentiles."


@dataclasses.dataclass(frozen=True)
class Pictured:
    """A picture of the page under its heading and its finding; None shown where the page draws it
    itself, for every step size.
    """

    title: str
    name: str
    finding: str
    shown: Shown | None


@dataclasses.dataclass(frozen=True)
class Layers:
    """The numbers of every layer at the step size of the figures, and at the others by name."""

    main: Table
    others: list[tuple[str, Table]]


@dataclasses.dataclass(frozen=True)
class Convergence:
    """What did not converge: a finding, a sentence on the solves, warnings, and the list."""

    finding: str
    solves: str
    warnings: Sequence[str]
    table: Table | None


@dataclasses.dataclass(frozen=True)
class Definitions:
    """Terms with their meanings, and what is guaranteed of this run."""

    terms: list[tuple[str, str]]
    guarantee: str


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What the run was made of: lists under their titles, and the configuration as JSON."""

    lists: list[tuple[str, list[str]]]
    configuration: str


def write_report(
    run: Measurements,
    folder: Path,
    step_size: float | None = None,
    told: story.Story = story.Story(),  # noqa: B008
) -> Path:
    """Write `folder/figures/*.{svg,pdf,png}` and the page `folder/report.html`, which needs no
    other file and no network.

    Args:
        run: what was measured.
        folder: the run folder.
        step_size: h of the figures; by default 1, or the largest measured.
        told: what was predicted of this model, and what fine-tuning showed.

    Returns:
        The path of the page.

    Raises:
        ValueError: if the step size was not measured.
        OSError: if the folder cannot be written.
    """
    h = selection.of_run(run, step_size)
    path = Path(folder) / "report.html"
    write_bytes(path, _page(run, path.parent / "figures", h, told).encode())
    return path


def _page(run: Measurements, folder: Path, h: float, told: story.Story) -> str:
    """The page; its figures are written into the folder."""
    config = typed(dict(run.config), RunConfig, "config.json")
    planes = slider.prepare(run, h)
    refined = refinement.REFINEMENT.told(run, h) if run["refinement"] else ""
    return render(
        "page.html.j2",
        model=config.model,
        facts=_facts(config, h),
        answers=answers(run, h),
        texts=listings(run, config, h),
        pictures=[
            _pictured(run, picture, h, folder, planes is not None and picture is SPECTRA)
            for picture in pictures_of(run)
        ],
        slider=planes,
        colours=slider.COLOURS,
        layers=_layers(run, config, h),
        nothing=findings.NOTHING,
        nonnormality=_nonnormality(run["nonnormality"]),
        told=story.tell(told, folder, refined),
        convergence=_convergence(run, config),
        definitions=_definitions(run, config, h),
        inputs=_inputs(config, run.config),
    )


def _facts(config: RunConfig, h: float) -> str:
    """One line on what was measured."""
    facts = [
        f"Vector field “{config.field}”",
        f"step sizes h = {', '.join(number(step) for step in config.step_sizes)}",
        f"figures at h = {number(h)}",
    ]
    if config.layers:
        facts.append(style.counted(len(config.layers), "layer"))
    if config.texts:
        facts.append(style.counted(len(config.texts), "text"))
    return "; ".join(facts) + "."


def _pictured(
    run: Measurements, picture: Picture, h: float, folder: Path, on_the_page: bool
) -> Pictured:
    drawn = picture.draw(run, h)
    finding = picture.told(run, h)
    inside = None
    if on_the_page:
        style.save(drawn, folder, picture.name)
    else:
        one = picture.medians and len(run.config.get("texts", ())) == 1
        caption = picture.caption + (OF_ONE if one else "")
        inside = shown(drawn, folder, picture.name, finding, caption)
    return Pictured(picture.title, picture.name, finding, inside)


def _layers(run: Measurements, config: RunConfig, h: float) -> Layers | None:
    steps = selection.steps_of(run, "growth")
    if not steps:
        return None
    grid = list(config.map_step_sizes)
    tables = {step: _layer_table(layer_rows(run, step), grid) for step in steps}
    main = tables.pop(h)
    return Layers(main, [(number(step), table) for step, table in tables.items()])


def _layer_table(rows: list[LayerRow], grid: list[float]) -> Table:
    caption = (
        f"Steps of size h = {number(rows[0].step_size)}. Medians over texts; "
        "the advantage is a mean over texts ± its standard error"
    )
    if grid:
        caption += (
            "; stable step sizes are those of the grid "
            f"from {number(min(grid))} to {number(max(grid))}"
        )
    by_method = ("worst growth", "spectral growth", "margin", "stable step sizes")
    last = ("implicit\nadvantage", "outside\nlemniscate", "solver\nevaluations")
    first_row = [
        *(Heading(name, rows=2) for name in ("layer", "μ₂", "hμ₂")),
        *(Heading(name, columns=len(METHODS)) for name in by_method),
        *(Heading(name, rows=2) for name in last),
    ]
    second_row = [Heading(method) for _ in by_method for method in METHODS]
    return Table(f"{caption}.", [first_row, second_row], [_layer_cells(row, grid) for row in rows])


def _layer_cells(row: LayerRow, grid: list[float]) -> list[str]:
    at_least = {method: "≥ " if row.lower_bound[method] else "" for method in METHODS}
    at_most = {method: "≤ " if row.lower_bound[method] else "" for method in METHODS}
    outside = "–" if row.outside != row.outside else f"{100 * row.outside:.0f} %"  # NaN: unknown
    return [
        str(row.layer),
        number(row.logarithmic_norm),
        number(row.step_size * row.logarithmic_norm),
        *(number(row.worst[method]) for method in METHODS),
        *(at_least[method] + number(row.spectral[method]) for method in METHODS),
        *(at_most[method] + number(1 - row.spectral[method]) for method in METHODS),
        *(_steps(row.stable_steps[m], row.unsettled_steps[m], grid) for m in METHODS),
        f"{number(row.advantage)} ± {number(row.advantage_error, 2)}",
        outside,
        number(row.evaluations),
    ]


def _steps(stable: list[float] | None, unsettled: list[float], grid: list[float]) -> str:
    if stable is None:
        return "–"
    return ranges(stable, grid) + (f" (unsettled: {ranges(unsettled, grid)})" if unsettled else "")


def _nonnormality(found: xr.Dataset) -> Table | None:
    """The measures of non-normality on one short text; None where they were not measured."""
    if not found:
        return None
    found = found.sortby("layer")
    levels = [f"ε = {number(float(epsilon))}" for epsilon in found["epsilon"]]
    groups = {"α_ε": levels, "ρ_ε(E)": levels, "Kreiss constant": ["value", "of E over"]}
    single = ("layer", "dep(J)/‖J‖_F", "α", "ω", "ω − α")
    return Table(
        caption=f"Non-normality of J on text {int(found['nonnormality_text'][0])}: departure from "
        "normality, rightmost eigenvalue α and rightmost point ω of the numerical range, rightmost "
        "point α_ε of the ε-pseudospectrum, largest modulus ρ_ε of that of E = I + J; ≥ where only "
        "a lower bound is known.",
        head=[
            [
                *(Heading(name, rows=2) for name in single),
                *(Heading(name, columns=len(columns)) for name, columns in groups.items()),
            ],
            [Heading(column) for columns in groups.values() for column in columns],
        ],
        rows=[_nonnormality_cells(found.isel(layer=i)) for i in range(found.sizes["layer"])],
    )


def _nonnormality_cells(one: xr.Dataset) -> list[str]:
    extremum = "≥ " if one["extremum_kind"].item() == "bound" else ""
    kreiss = "≥ " if one["kreiss_kind"].item() == "bound" else ""
    frobenius = float(one["frobenius_norm"])
    departure = float(one["departure"]) / frobenius if frobenius else float("nan")
    alpha, omega = float(one["spectral_abscissa"]), float(one["numerical_abscissa"])
    extrema = (*one["pseudospectral_abscissa"].values, *one["pseudospectral_radius"].values)
    return [
        str(int(one["layer"])),
        number(departure),
        number(alpha),
        number(omega),
        number(omega - alpha),
        *(extremum + number(float(value)) for value in extrema),
        kreiss + number(float(one["kreiss_constant"])),
        number(float(one["kreiss_scale"])),
    ]


def _convergence(run: Measurements, config: RunConfig) -> Convergence:
    shortfalls = run.shortfalls()
    words = [Heading(name, words=True) for name in ("quantity", "where", "what")]
    listed = Table(
        caption="What did not converge, is only a lower bound, or is not finite.",
        head=[[*words, Heading("h"), Heading("how many")]],
        rows=[_shortfall_cells(shortfall) for shortfall in shortfalls],
        words=2,
    )
    return Convergence(
        finding=findings.of_convergence(run),
        solves=findings.of_solves(run) if run["growth"] else "",
        warnings=config.warnings or (),
        table=listed if shortfalls else None,
    )


def _shortfall_cells(shortfall: Shortfall) -> list[str]:
    h = "any" if shortfall.step_size is None else number(shortfall.step_size)
    count = f"{shortfall.count} of {shortfall.total}"
    return [shortfall.quantity, shortfall.where, shortfall.fault, h, count]


def _definitions(run: Measurements, config: RunConfig, h: float) -> Definitions:
    other = f"the field named {config.field} in the run's configuration."
    field = (f"Vector field “{config.field}”", FIELDS.get(config.field, other))
    return Definitions([field, *terms(run.datasets)], findings.guarantee(run, h))


def _inputs(config: RunConfig, every_entry: Mapping[str, object]) -> Inputs:
    lists = []
    if config.texts:
        counts = [f" ({tokens} tokens)" for tokens in config.tokens or ()]
        counted = itertools.zip_longest(config.texts, counts[: len(config.texts)], fillvalue="")
        lists.append((f"Texts ({len(config.texts)})", ["".join(pair) for pair in counted]))
    if config.pairs:
        reasons = dict(config.skipped_pairs or ())
        title = (
            f"Edited pairs ({len(config.pairs)}, of which {len(reasons)} left out of propagation)"
        )
        pairs = [_pair(*pair, reasons.get(place)) for place, pair in enumerate(config.pairs)]
        lists.append((title, pairs))
    shown = json.dumps(every_entry, indent=1, sort_keys=True, ensure_ascii=False, default=str)
    return Inputs(lists, shown)


def _pair(kind: str, original: str, edited: str, reason: str | None) -> str:
    left_out = f" (left out of propagation: {reason})" if reason else ""
    return f"{kind}: “{original}” → “{edited}”{left_out}"
