"""One self-contained page about a run: an answer, a finding above each figure, the numbers, and
what did not converge.
"""

import json
from pathlib import Path
from typing import Any

from analysis.record import write_bytes
from analysis.summary import METHODS, NonNormality, Summary
from figures import findings, full_findings, page, pseudospectra, selection, slider, story, style
from figures.findings import number, ranges
from figures.gallery import Picture, pictures_of
from figures.shortfalls import Shortfall
from figures.tables import LayerRow, tables

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
    folder = Path(folder)
    h = selection.of_run(summary, step_size)
    numbers = tables(summary)
    pieces = [
        _head(summary, h),
        story.question(summary.config["model"]),
        *(_pictured(summary, picture, h, folder / "figures") for picture in pictures_of(summary)),
        _sliding(summary),
        _layer_tables(summary, numbers["layers"], h),
        _nonnormality_table(summary),
        *story.told(
            told,
            folder / "figures",
            full_findings.of_refinement(summary, h) if summary.refinements else "",
        ),
        _convergence(summary, numbers["shortfalls"]),
        _definitions(summary, h),
        _inputs(summary.config),
    ]
    path, body = folder / "report.html", "\n".join(piece for piece in pieces if piece)
    write_bytes(
        path, page.document(f"Numerical stability of {summary.config['model']}", body).encode()
    )
    return path


def _head(summary: Summary, h: float) -> str:
    config = summary.config
    steps = ", ".join(number(step) for step in config["step_sizes"])
    facts = [
        f"vector field “{config['field']}”",
        f"step sizes h = {steps}",
        f"figures at h = {number(h)}",
    ]
    facts += [
        style.counted(len(config[f"{name}s"]), name)
        for name in ("layer", "text")
        if config.get(f"{name}s")
    ]
    title = f"<h1>Numerical stability of {page.escape(config['model'])}</h1>"
    facts_line = page.paragraph("; ".join(facts)[:1].upper() + "; ".join(facts)[1:] + ".", "facts")
    return "\n".join(
        [
            f"<header>\n{title}\n{facts_line}\n</header>",
            page.paragraph(findings.opening(summary, h), "answer"),
        ]
    )


def _pictured(summary: Summary, picture: Picture, h: float, folder: Path) -> str:
    drawn, finding = picture.draw(summary, h), picture.finding(summary, h)
    svg = style.save(drawn, folder, picture.name)["svg"]
    shown = page.figure(
        svg,
        f"{picture.caption.split('.')[0]}. {finding}",
        picture.caption,
        float(drawn.get_figwidth()),
    )
    return page.section(
        picture.title, f"figure-{picture.name}", page.paragraph(finding, "finding"), shown
    )


def _sliding(summary: Summary) -> str:
    """The spectra at every step size of the map; nothing where the run has no map."""
    drawn = slider.part(summary)
    told = (
        "What another step size does: the spectrum moves as z = hλ, while "
        "of the regions only a truncated solver's depends on h."
    )
    return (
        page.section("Every step size", "step-sizes", page.paragraph(told), drawn) if drawn else ""
    )


def _layer_tables(summary: Summary, by_step: dict[float, list[LayerRow]], h: float) -> str:
    grid = [float(step) for step in summary.config["map_step_sizes"]]
    if not by_step:
        return page.section("Layer by layer", "layers", page.paragraph(findings.NOTHING))
    pieces = [_layer_table(by_step[h], grid)]
    pieces += [
        page.details(f"The same at h = {number(step)}", _layer_table(rows, grid))
        for step, rows in by_step.items()
        if step != h
    ]
    return page.section("Layer by layer", "layers", *pieces)


def _nonnormality_table(summary: Summary) -> str:
    """The measures of non-normality on one short text; nothing where they were not measured."""
    records = pseudospectra.of_layers(summary.nonnormality)
    if not records:
        return ""
    at = [number(float(epsilon)) for epsilon in records[0].epsilons]
    single = ("layer", "dep(J)/‖J‖_F", "α", "ω", "ω − α")
    first = "".join(f'<th scope="col" rowspan="2">{name}</th>' for name in single)
    groups = [(name, [f"ε = {epsilon}" for epsilon in at]) for name in ("α_ε", "ρ_ε(E)")] + [
        ("Kreiss constant", ["value", "of E over"])
    ]
    first += "".join(
        f'<th scope="colgroup" colspan="{len(columns)}" class="group">{name}</th>'
        for name, columns in groups
    )
    second = "".join(
        f'<th scope="col">{column}</th>' for _, columns in groups for column in columns
    )
    caption = (
        f"Non-normality of J on text {records[0].text}: departure from "
        "normality, rightmost eigenvalue α and rightmost point ω of the "
        "numerical range, rightmost point α_ε of the ε-pseudospectrum, largest "
        "modulus ρ_ε of that of E = I + J; ≥ where only a lower "
        "bound is known."
    )
    table = page.table(
        caption, f"<tr>{first}</tr>\n<tr>{second}</tr>", [_cells(one) for one in records]
    )
    return page.section("Non-normality layer by layer", "nonnormality", table)


def _cells(one: NonNormality) -> list[str]:
    extremum, kreiss = (
        "≥ " if kind == "bound" else "" for kind in (one.extremum_kind, one.kreiss_kind)
    )
    cells = [str(one.layer), number(one.henrici / one.frobenius if one.frobenius else float("nan"))]
    cells += [
        number(value)
        for value in (
            one.spectral_abscissa,
            one.logarithmic_norm,
            one.logarithmic_norm - one.spectral_abscissa,
        )
    ]
    cells += [
        extremum + number(float(value))
        for value in (*one.pseudospectral_abscissa, *one.pseudospectral_radius)
    ]
    return [*cells, kreiss + number(one.kreiss), number(one.kreiss_scale)]


def _layer_table(rows: list[LayerRow], grid: list[float]) -> str:
    caption = (
        f"Steps of size h = {number(rows[0].step_size)}. Medians over texts; "
        "the advantage is a mean over texts ± its standard error; "
        f"stable step sizes are those of the grid from {number(min(grid))} to {number(max(grid))}."
        if grid
        else f"Steps of size h = {number(rows[0].step_size)}. Medians over texts; "
        "the advantage is a mean over texts ± its standard error."
    )
    pairs = ("worst growth", "spectral growth", "margin", "stable step sizes")
    first = "".join(f'<th scope="col" rowspan="2">{name}</th>' for name in ("layer", "μ₂", "hμ₂"))
    first += "".join(
        f'<th scope="colgroup" colspan="2" class="group">{name}</th>' for name in pairs
    )
    first += "".join(
        f'<th scope="col" rowspan="2">{name}</th>'
        for name in ("implicit<br>advantage", "outside<br>lemniscate", "solver<br>evaluations")
    )
    second = "".join(f'<th scope="col">{method}</th>' for _ in pairs for method in METHODS)
    return page.table(
        caption, f"<tr>{first}</tr>\n<tr>{second}</tr>", [_layer_cells(row, grid) for row in rows]
    )


def _layer_cells(row: LayerRow, grid: list[float]) -> list[str]:
    cells = [
        str(row.layer),
        number(row.logarithmic_norm),
        number(row.step_size * row.logarithmic_norm),
    ]
    cells += [number(row.worst[method]) for method in METHODS]
    cells += [
        ("≥ " if row.lower_bound[method] else "") + number(row.spectral[method])
        for method in METHODS
    ]
    cells += [
        ("≤ " if row.lower_bound[method] else "") + number(1 - row.spectral[method])
        for method in METHODS
    ]
    cells += [
        _steps(row.stable_steps[method], row.unsettled_steps[method], grid) for method in METHODS
    ]
    outside = "–" if row.outside != row.outside else f"{100 * row.outside:.0f} %"
    return [
        *cells,
        f"{number(row.advantage)} ± {number(row.advantage_error, 2)}",
        outside,
        number(row.evaluations),
    ]


def _steps(stable: list[float] | None, unsettled: list[float], grid: list[float]) -> str:
    if stable is None:
        return "–"
    return ranges(stable, grid) + (f" (unsettled: {ranges(unsettled, grid)})" if unsettled else "")


def _convergence(summary: Summary, found: list[Shortfall]) -> str:
    head = "".join(
        f'<th scope="col"{kind}>{name}</th>'
        for name, kind in (
            ("quantity", ' class="text"'),
            ("where", ' class="text"'),
            ("what", ' class="text"'),
            ("h", ""),
            ("how many", ""),
        )
    )
    rows = [
        [
            one.quantity,
            one.where,
            one.fault,
            "any" if one.step_size is None else number(one.step_size),
            f"{one.count} of {one.total}",
        ]
        for one in found
    ]
    listed = (
        page.table(
            "What did not converge, is only a lower bound, or is not finite.",
            f"<tr>{head}</tr>",
            rows,
            texts=2,
        )
        if rows
        else ""
    )
    warnings = [page.paragraph(f"Warning: {text}") for text in summary.config.get("warnings") or []]
    statement = page.paragraph(findings.of_convergence(summary), "finding")
    solves = page.paragraph(findings.of_solves(summary)) if summary.growth else ""
    return page.section(
        "What did not converge",
        "convergence",
        statement,
        solves,
        *warnings,
        page.details("The list", listed) if listed else "",
    )


def _definitions(summary: Summary, h: float) -> str:
    name = summary.config["field"]
    field = (
        f"Vector field “{name}”",
        FIELDS.get(name, f"the field named {name} in the run's configuration."),
    )
    held = page.paragraph(findings.guarantee(summary, h))
    terms = [(term, meaning) for table, term, meaning in FULL_TERMS if getattr(summary, table)]
    return page.section(
        "Definitions", "definitions", page.definitions([field, *TERMS, *terms]), held
    )


def _inputs(config: dict[str, Any]) -> str:
    texts, tokens = config.get("texts") or [], config.get("tokens") or []
    pieces = []
    if texts:
        counts = [f" ({tokens[i]} tokens)" if i < len(tokens) else "" for i in range(len(texts))]
        items = "".join(
            f"<li>{page.escape(text)}{page.escape(count)}</li>"
            for text, count in zip(texts, counts, strict=True)
        )
        pieces.append(page.details(f"Texts ({len(texts)})", f'<ol start="0">{items}</ol>'))
    if pairs := config.get("pairs") or []:
        reasons = dict(config.get("skipped_pairs") or [])
        items = "".join(
            f"<li>{page.escape(_pair(pair, reasons.get(i)))}</li>" for i, pair in enumerate(pairs)
        )
        pieces.append(
            page.details(
                f"Edited pairs ({len(pairs)}, of which {len(reasons)} skipped)",
                f'<ol start="0">{items}</ol>',
            )
        )
    shown = json.dumps(config, indent=1, sort_keys=True, ensure_ascii=False, default=str)
    pieces.append(page.details("Configuration and versions", f"<pre>{page.escape(shown)}</pre>"))
    return page.section("Inputs", "inputs", *pieces)


def _pair(pair: list[str], reason: str | None) -> str:
    kind, original, edited = pair
    return f"{kind}: “{original}” → “{edited}”" + (f" (skipped: {reason})" if reason else "")
