"""The pictures of the report in their order, each with the finding that stands above it and its
caption.
"""

import dataclasses
from collections.abc import Callable, Sequence

from matplotlib.figure import Figure

from analysis.summary import Curves, Directions, Exponents, Refinement, SublayerGrowth, Summary
from figures import (
    density,
    directions,
    exponents,
    findings,
    full_findings,
    growth,
    propagation,
    pseudospectra,
    refinement,
    spectra,
    stability_map,
    sublayers,
)


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure of the report.

    Attributes:
        title: its heading.
        name: of its files.
        draw: summary and step size → figure.
        finding: summary and step size → a sentence computed from the numbers.
        caption: what is drawn; its first sentence names the figure.
        table: the field of the summary without which there is no such picture; None for a picture
            of every run.
    """

    title: str
    name: str
    draw: Callable[[Summary, float], Figure]
    finding: Callable[[Summary, float], str]
    caption: str
    table: str | None = None


def pictures_of(summary: Summary) -> list[Picture]:
    """The pictures of a run: those of every run, and those whose quantities it measured."""
    return [
        picture for picture in PICTURES if picture.table is None or getattr(summary, picture.table)
    ]


def _step(
    records: Sequence[Curves | Directions | SublayerGrowth | Refinement | Exponents], h: float
) -> float | None:
    """h where the records have it, else None: whatever step size they were measured with."""
    return h if any(one.step_size == h for one in records) else None


PICTURES = (
    Picture(
        "Growth over one step of each layer",
        "growth",
        lambda summary, h: growth.draw(summary, step_size=h),
        findings.of_growth,
        "Worst and spectral growth over one step of each layer, and below it "
        "hμ₂. Medians over texts, whiskers from the 10th to the 90th "
        "percentile; hollow where some text did not converge or has only a lower bound.",
    ),
    Picture(
        "Which step damps random perturbations more",
        "advantage",
        lambda summary, h: growth.draw_advantage(summary),
        lambda summary, h: findings.of_advantage(summary),
        "Implicit advantage of each layer and step size. Medians over "
        "texts, whiskers from the 10th to the 90th percentile.",
    ),
    Picture(
        "Worst growth over the halves of each layer",
        "sublayers",
        lambda summary, h: sublayers.draw(summary, step_size=_step(summary.sublayers, h)),
        lambda summary, h: full_findings.of_sublayers(summary, _step(summary.sublayers, h)),
        "Worst growth over the attention half, the feed-forward half and the "
        "whole of each layer, and below it hμ₂. Each half is taken as "
        "a layer of its own. Medians over texts, whiskers from the 10th to the "
        "90th percentile; hollow where some text did not converge.",
        "sublayers",
    ),
    Picture(
        "Is it stability or the size of the step?",
        "refinement",
        lambda summary, h: refinement.draw(summary, step_size=_step(summary.refinements, h)),
        lambda summary, h: full_findings.of_refinement(summary, _step(summary.refinements, h)),
        "Worst growth over each layer, taken as one step or as several smaller "
        "ones. Towards the left both methods tend to the exact "
        "solution of the layer's equation: a difference that vanishes there is "
        "discretisation error, not stability. The dashed flow is "
        "that of the Jacobian at the start of the layer, so on a strongly curved "
        "layer the curves may tend to something else. Medians and "
        "10–90 % bands over texts.",
        "refinements",
    ),
    Picture(
        "Eigenvalues over the stability regions",
        "spectra",
        lambda summary, h: spectra.draw(summary, step_size=h),
        findings.of_spectra,
        "Eigenvalues z = hλ of each layer over the stability regions. Shaded: "
        "where the explicit step is stable (left disc), and where the "
        "implicit step is unstable (right disc). A solver "
        "stopped early has a bounded region of its own.",
    ),
    Picture(
        "How far the eigenvalues can be trusted",
        "pseudospectra",
        lambda summary, h: pseudospectra.draw(summary, step_size=h),
        lambda summary, h: full_findings.of_pseudospectra(summary),
        "Pseudospectra of each layer on one short text, exact on a grid. Left: "
        "around the numerical range, with a grey square where the "
        "close-up on the right lies. The line labelled −1 encloses every point "
        "that a change of J of norm 0.1 can make an eigenvalue. "
        "dep(J)/‖J‖_F and ω − α are 0 for a normal matrix; K is the Kreiss "
        "constant of E = I + J, over its spectral radius where "
        "that is above 1; ≥ marks a lower bound. Each left panel has "
        "its own scale; the circles, of radius 1/h, give it.",
        "nonnormality",
    ),
    Picture(
        "The same on a longer text, bounded from inside",
        "pseudospectrum_bounds",
        lambda summary, h: pseudospectra.draw_bounds(summary, step_size=h),
        lambda summary, h: full_findings.of_bounds(summary),
        "Inner bounds of the pseudospectra on one of the longer texts. The true "
        "pseudospectra are at least as large as these dashed lines, "
        "which come from a projection on a small space; so is the true "
        "numerical range. Faint: the numerical ranges of the other texts. "
        "Hollow: boundary points that did not converge.",
        "bounds",
    ),
    Picture(
        "How many directions each layer stretches",
        "density",
        lambda summary, h: density.draw(summary),
        lambda summary, h: full_findings.of_densities(summary),
        "Spectral densities of each layer: singular values of ∂F on the left, "
        "eigenvalues of the symmetric part of J on the right. The "
        "area over an interval is the share of directions with values in it; "
        "both axes of density are logarithmic. Line: median over "
        "texts, band: 10–90 % of texts, dotted: standard error "
        "over the random probes of the estimate.",
        "densities",
    ),
    Picture(
        "Stability over layer and step size",
        "stability_map",
        lambda summary, h: stability_map.draw(summary),
        lambda summary, h: findings.of_map(summary),
        "Spectral growth over layer and step size, median over texts. Purple "
        "amplifies, green damps; the black line is growth 1. "
        "Triangles mark the step sizes of the run.",
    ),
    Picture(
        "Where in a text the worst perturbation sits",
        "directions",
        lambda summary, h: directions.draw(summary, step_size=_step(summary.directions, h)),
        lambda summary, h: full_findings.of_directions(summary, _step(summary.directions, h)),
        "Share of the worst perturbation of one step on each token, where it "
        "enters the step and where it leaves. Numbers are per cent of "
        "its squared norm, medians over texts; shares under half a per cent "
        "have no number. Token 0 is the first of the text (the class "
        "token of BERT's family), “rest” is the sum of all tokens not shown. "
        "Below: the share of the first token, whiskers from the 10th "
        "to the 90th percentile.",
        "directions",
    ),
    Picture(
        "Perturbations through depth",
        "propagation",
        lambda summary, h: propagation.draw(summary, step_size=_step(summary.curves, h)),
        lambda summary, h: findings.of_propagation(summary, _step(summary.curves, h)),
        "Growth of perturbations through depth, relative to their size at the "
        "start. Solid: measured, median over examples with the "
        "10–90 % band. Dashed: predicted by the product of the derivatives of the steps.",
    ),
    Picture(
        "Where the linear prediction ends",
        "linearity",
        lambda summary, h: propagation.draw_linearity(summary, step_size=_step(summary.curves, h)),
        lambda summary, h: findings.of_linearity(summary, _step(summary.curves, h)),
        "Error of the linear prediction at the last layer against the size of "
        "a Gaussian perturbation. Median and 10–90 % band over "
        "examples.",
    ),
    Picture(
        "Growth per layer through the whole stack",
        "exponents",
        lambda summary, h: exponents.draw(summary, step_size=_step(summary.exponents, h)),
        lambda summary, h: full_findings.of_exponents(summary, _step(summary.exponents, h)),
        "Finite-time Lyapunov exponents of the whole stack of layers. The first "
        "is the mean growth per layer, on a logarithmic scale, of "
        "the perturbation that has grown most at the end; the next ones that "
        "of perturbations orthogonal to it. Small: texts; large: "
        "medians, whiskers from the 10th to the 90th percentile.",
        "exponents",
    ),
)
