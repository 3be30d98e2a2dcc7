"""The pictures of the report in their order, each with the finding that stands above it and its caption."""

import dataclasses
from collections.abc import Callable

from matplotlib.figure import Figure

from analysis.summary import Summary
from figures import findings, growth, propagation, spectra, stability_map


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure of the report.

    Attributes:
        title: its heading.
        name: of its files.
        draw: summary and step size → figure.
        finding: summary and step size → a sentence computed from the numbers.
        caption: what is drawn; its first sentence names the figure.
    """

    title: str
    name: str
    draw: Callable[[Summary, float], Figure]
    finding: Callable[[Summary, float], str]
    caption: str


def _path_step(summary: Summary, h: float) -> float | None:
    """h where perturbations were propagated with it, else None: whatever step size they were propagated with."""
    return h if any(one.step_size == h for one in summary.curves) else None


PICTURES = (
    Picture(
        "Growth over one step of each layer",
        "growth",
        lambda summary, h: growth.draw(summary, step_size=h),
        findings.of_growth,
        "Worst and spectral growth over one step of each layer, and below it hμ₂. Medians over texts, whiskers from the 10th to the 90th "
        "percentile; hollow where some text did not converge or has only a lower bound.",
    ),
    Picture(
        "Which step damps random perturbations more",
        "advantage",
        lambda summary, h: growth.draw_advantage(summary),
        lambda summary, h: findings.of_advantage(summary),
        "Implicit advantage of each layer and step size. Medians over texts, whiskers from the 10th to the 90th percentile.",
    ),
    Picture(
        "Eigenvalues over the stability regions",
        "spectra",
        lambda summary, h: spectra.draw(summary, step_size=h),
        findings.of_spectra,
        "Eigenvalues z = hλ of each layer over the stability regions. Shaded: where the explicit step is stable (left disc), and where the "
        "implicit step is unstable (right disc). A solver stopped early has a bounded region of its own.",
    ),
    Picture(
        "Stability over layer and step size",
        "stability_map",
        lambda summary, h: stability_map.draw(summary),
        lambda summary, h: findings.of_map(summary),
        "Spectral growth over layer and step size, median over texts. Purple amplifies, green damps; the black line is growth 1. "
        "Triangles mark the step sizes of the run.",
    ),
    Picture(
        "Perturbations through depth",
        "propagation",
        lambda summary, h: propagation.draw(summary, step_size=_path_step(summary, h)),
        lambda summary, h: findings.of_propagation(summary, _path_step(summary, h)),
        "Growth of perturbations through depth, relative to their size at the start. Solid: measured, median over examples with the "
        "10–90 % band. Dashed: predicted by the product of the derivatives of the steps.",
    ),
    Picture(
        "Where the linear prediction ends",
        "linearity",
        lambda summary, h: propagation.draw_linearity(summary, step_size=_path_step(summary, h)),
        lambda summary, h: findings.of_linearity(summary, _path_step(summary, h)),
        "Error of the linear prediction at the last layer against the size of a Gaussian perturbation. Median and 10–90 % band over "
        "examples.",
    ),
)
