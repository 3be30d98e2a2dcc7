"""One self-contained page about a run: an answer, a finding above each figure, the numbers, and
what did not converge.
"""

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from analysis.record import write_bytes
from analysis.summary import METHODS, NonNormality, Summary
from figures import findings, full_findings, pseudospectra, selection, slider, story, style
from figures.findings import number, ranges
from figures.gallery import Picture, pictures_of
from figures.records import RunConfig, typed
from figures.shortfalls import Shortfall
from figures.tables import LayerRow, tables
from figures.template import Heading, Shown, Table, render, shown

FIELDS = {
    "increment": "f(x) = F(x) − x, where F is the whole layer. The explicit Euler "
    "step of size h = 1 is then the pretrained layer itself.",
    "outer": "f(x) = F(x), where F is the whole layer. The explicit Euler step "
    "x + hF(x) adds one more residual around the layer.",
}
TERMS = (
    (
        "Explicit Euler step of size h",
        "y = x + h f(x), with derivative E = I + hJ(x) and "
        "stability function R(z) = 1 + z, z = hλ.",
    ),
    (
        "Implicit Euler step of size h",
        "y = x + h f(y), with derivative M⁻¹ = (I − hJ(y))⁻¹ "
        "and stability function R(z) = 1/(1 − z).",
    ),
    (
        "Worst growth",
        "the largest factor by which one step can stretch a small "
        "perturbation: the largest singular value of its derivative.",
    ),
    (
        "Spectral growth",
        "max |R(hλ)| over the eigenvalues λ of the Jacobian J = ∂f/∂x. "
        "The margin is 1 minus it; negative means unstable.",
    ),
    (
        "Logarithmic norm μ₂(J)",
        "the largest eigenvalue of (J + Jᵀ)/2. Where hμ₂ < 1 holds on all "
        "of the space, or on a large enough ball about x, "
        "the implicit step exists, is unique and is Lipschitz with constant "
        "1/(1 − hμ₂). Here it is measured at the states of the texts.",
    ),
    (
        "Implicit advantage",
        "the mean of log(‖Eδ‖/‖M⁻¹δ‖) over random perturbations "
        "δ. Positive: the implicit step damps more. "
        "An eigenvalue is damped more by the implicit step "
        "exactly outside the lemniscate |z² − 1| = 1.",
    ),
    (
        "Stable step sizes",
        "the step sizes of the grid at which max |R(hλ)| ≤ 1 for most "
        "texts; a lower bound below 1 leaves it unsettled.",
    ),
)

# of quantities that only a run of full depth measures: the table they come from, the term, its
# meaning
FULL_TERMS = (
    (
        "nonnormality",
        "Normal",
        "a matrix whose eigenvectors are orthogonal, so that its "
        "eigenvalues tell all about growth. The departure dep(J) = "
        "(‖J‖_F² − Σ|λ|²)^½ measures how far J is from that; it "
        "is 0 for a normal matrix and at most ‖J‖_F.",
    ),
    (
        "nonnormality",
        "ε-pseudospectrum",
        "all points z with σ_min(zI − J) ≤ ε: those that some change of J of "
        "norm at most ε makes an eigenvalue. Of a normal matrix it is "
        "the discs of radius ε about the eigenvalues; where it is "
        "much larger, eigenvalues alone say little.",
    ),
    (
        "nonnormality",
        "Numerical range",
        "all values v*Jv with ‖v‖ = 1. It contains the eigenvalues; its "
        "rightmost point ω is μ₂(J), that of the eigenvalues is α.",
    ),
    (
        "nonnormality",
        "Kreiss constant",
        "the supremum of (ρ_ε − 1)/ε over ε > 0: some power of the matrix "
        "stretches some perturbation at least so many times.",
    ),
    (
        "densities",
        "Spectral density",
        "how many of all singular values or eigenvalues lie near a value, "
        "per unit of the axis, estimated with random probes.",
    ),
    (
        "sublayers",
        "Halves of a layer",
        "the attention half and the feed-forward half, each with its "
        "residual and its LayerNorm, each taken as a layer of its own.",
    ),
    (
        "refinements",
        "Step-size refinement",
        "the layer taken as m steps of size h/m instead of one of size h. Both "
        "methods then tend to the exact flow, so a difference that "
        "vanishes was an error of the step and not a property of the layer.",
    ),
    (
        "exponents",
        "Finite-time Lyapunov exponents",
        "(1/L) log σ_i of the product of the derivatives of all L steps, σ_i its "
        "singular values: mean growth per layer in nats; 0.69 nats "
        "is a factor of 2.",
    ),
)


@dataclasses.dataclass(frozen=True)
class Pictured:
    """A picture of the page under its heading and its finding."""

    title: str
    name: str
    finding: str
    shown: Shown


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
    summary: Summary,
    folder: Path,
    step_size: float | None = None,
    told: story.Story = story.Story(),  # noqa: B008
) -> Path:
    """Write `folder/figures/*.{svg,pdf,png}` and the page `folder/report.html`, which needs no
    other file and no network.

    Args:
        summary: the records.
        folder: the run folder.
        step_size: h of the figures; by default 1, or the largest measured.
        told: what was predicted of this model, and what fine-tuning showed.

    Returns:
        The path of the page.

    Raises:
        ValueError: if the step size was not measured.
        OSError: if the folder cannot be written.
    """
    h = selection.of_run(summary, step_size)
    path = Path(folder) / "report.html"
    write_bytes(path, _page(summary, path.parent / "figures", h, told).encode())
    return path


def _page(summary: Summary, folder: Path, h: float, told: story.Story) -> str:
    """The page; its figures are written into the folder."""
    config = typed(summary.config, RunConfig, "config.json")
    numbers = tables(summary)
    refinement = full_findings.of_refinement(summary, h) if summary.refinements else ""
    return render(
        "page.html.j2",
        model=config.model,
        facts=_facts(config, h),
        answer=findings.opening(summary, h),
        pictures=[_pictured(summary, picture, h, folder) for picture in pictures_of(summary)],
        slider=slider.prepare(summary),
        colours=slider.COLOURS,
        layers=_layers(config, numbers["layers"], h),
        nothing=findings.NOTHING,
        nonnormality=_nonnormality(summary),
        told=story.tell(told, folder, refinement),
        convergence=_convergence(summary, config, numbers["shortfalls"]),
        definitions=_definitions(summary, config, h),
        inputs=_inputs(config, summary.config),
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


def _pictured(summary: Summary, picture: Picture, h: float, folder: Path) -> Pictured:
    drawn = picture.draw(summary, h)
    finding = picture.finding(summary, h)
    return Pictured(
        title=picture.title,
        name=picture.name,
        finding=finding,
        shown=shown(drawn, folder, picture.name, finding, picture.caption),
    )


def _layers(config: RunConfig, by_step: dict[float, list[LayerRow]], h: float) -> Layers | None:
    if not by_step:
        return None
    grid = list(config.map_step_sizes)
    others = [
        (number(step), _layer_table(rows, grid)) for step, rows in by_step.items() if step != h
    ]
    return Layers(_layer_table(by_step[h], grid), others)


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


def _nonnormality(summary: Summary) -> Table | None:
    """The measures of non-normality on one short text; None where they were not measured."""
    records = pseudospectra.of_layers(summary.nonnormality)
    if not records:
        return None
    levels = [f"ε = {number(float(epsilon))}" for epsilon in records[0].epsilons]
    groups = {"α_ε": levels, "ρ_ε(E)": levels, "Kreiss constant": ["value", "of E over"]}
    single = ("layer", "dep(J)/‖J‖_F", "α", "ω", "ω − α")
    return Table(
        caption=f"Non-normality of J on text {records[0].text}: departure from normality, "
        "rightmost eigenvalue α and rightmost point ω of the numerical range, rightmost point α_ε "
        "of the ε-pseudospectrum, largest modulus ρ_ε of that of E = I + J; ≥ where only a lower "
        "bound is known.",
        head=[
            [
                *(Heading(name, rows=2) for name in single),
                *(Heading(name, columns=len(columns)) for name, columns in groups.items()),
            ],
            [Heading(column) for columns in groups.values() for column in columns],
        ],
        rows=[_nonnormality_cells(record) for record in records],
    )


def _nonnormality_cells(record: NonNormality) -> list[str]:
    extremum = "≥ " if record.extremum_kind == "bound" else ""
    kreiss = "≥ " if record.kreiss_kind == "bound" else ""
    departure = record.henrici / record.frobenius if record.frobenius else float("nan")
    extrema = (*record.pseudospectral_abscissa, *record.pseudospectral_radius)
    return [
        str(record.layer),
        number(departure),
        number(record.spectral_abscissa),
        number(record.logarithmic_norm),
        number(record.logarithmic_norm - record.spectral_abscissa),
        *(extremum + number(float(value)) for value in extrema),
        kreiss + number(record.kreiss),
        number(record.kreiss_scale),
    ]


def _convergence(summary: Summary, config: RunConfig, shortfalls: list[Shortfall]) -> Convergence:
    words = [Heading(name, words=True) for name in ("quantity", "where", "what")]
    listed = Table(
        caption="What did not converge, is only a lower bound, or is not finite.",
        head=[[*words, Heading("h"), Heading("how many")]],
        rows=[_shortfall_cells(shortfall) for shortfall in shortfalls],
        words=2,
    )
    return Convergence(
        finding=findings.of_convergence(summary),
        solves=findings.of_solves(summary) if summary.growth else "",
        warnings=config.warnings or (),
        table=listed if shortfalls else None,
    )


def _shortfall_cells(shortfall: Shortfall) -> list[str]:
    h = "any" if shortfall.step_size is None else number(shortfall.step_size)
    count = f"{shortfall.count} of {shortfall.total}"
    return [shortfall.quantity, shortfall.where, shortfall.fault, h, count]


def _definitions(summary: Summary, config: RunConfig, h: float) -> Definitions:
    other = f"the field named {config.field} in the run's configuration."
    field = (f"Vector field “{config.field}”", FIELDS.get(config.field, other))
    full = [(term, meaning) for table, term, meaning in FULL_TERMS if getattr(summary, table)]
    return Definitions([field, *TERMS, *full], findings.guarantee(summary, h))


def _inputs(config: RunConfig, every_entry: Mapping[str, object]) -> Inputs:
    lists = []
    if config.texts:
        counts = [f" ({tokens} tokens)" for tokens in config.tokens or ()]
        counted = itertools.zip_longest(config.texts, counts[: len(config.texts)], fillvalue="")
        lists.append((f"Texts ({len(config.texts)})", ["".join(pair) for pair in counted]))
    if config.pairs:
        reasons = dict(config.skipped_pairs or ())
        title = f"Edited pairs ({len(config.pairs)}, of which {len(reasons)} skipped)"
        pairs = [_pair(*pair, reasons.get(place)) for place, pair in enumerate(config.pairs)]
        lists.append((title, pairs))
    shown = json.dumps(every_entry, indent=1, sort_keys=True, ensure_ascii=False, default=str)
    return Inputs(lists, shown)


def _pair(kind: str, original: str, edited: str, reason: str | None) -> str:
    skipped = f" (skipped: {reason})" if reason else ""
    return f"{kind}: “{original}” → “{edited}”{skipped}"
