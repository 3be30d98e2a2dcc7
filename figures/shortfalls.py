"""What did not converge, is only a lower bound or is not finite, as the report lists it; and what
of it only a run of full depth has.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from analysis.summary import (
    METHODS,
    Exponents,
    PseudospectrumBound,
    Refinement,
    SublayerGrowth,
    Summary,
)

HALVES = {"attention": "attention half", "feed_forward": "feed-forward half"}


@dataclasses.dataclass(frozen=True)
class Shortfall:
    """Values of one quantity that did not converge or are only lower bounds.

    Attributes:
        quantity: in words.
        where: "layer 3", or the kind of perturbation.
        step_size: h, or None for a quantity that does not depend on it.
        count: how many.
        total: of how many texts or examples.
        fault: "not converged", a status by name, "only a lower bound" or "not finite".
    """

    quantity: str
    where: str
    step_size: float | None
    count: int
    total: int
    fault: str


def of_full_depth(summary: Summary) -> list[Shortfall]:
    """Those of pseudospectra, densities, directions, halves of layers, refinement and exponents;
    counts may be zero.
    """
    found = [shortfall for one in summary.sublayers for shortfall in _of_half(one)]
    found += [shortfall for one in summary.refinements for shortfall in _of_refinement(one)]
    found += [shortfall for one in summary.exponents for shortfall in _of_exponents(one)]
    found += [shortfall for one in summary.bounds for shortfall in _of_bound(one)]
    for one in summary.nonnormality:
        values = np.concatenate(
            [
                one.sigma_min.ravel(),
                [one.henrici, one.kreiss],
                one.pseudospectral_abscissa,
                one.pseudospectral_radius,
            ]
        )
        found.append(
            _not_finite(
                "departure, Kreiss constant or pseudospectra", f"layer {one.layer}", None, values
            )
        )
    for each in summary.densities:
        found.append(
            _not_finite(
                f"spectral density ({each.of})",
                f"layer {each.layer}",
                None,
                each.density.mean(axis=1),
            )
        )
    for at in summary.directions:
        for method in METHODS:
            lost = np.array(
                [not np.isfinite(text).any() for text in at.entering[method]], dtype=bool
            )
            found.append(
                Shortfall(
                    f"worst direction, {method}",
                    f"layer {at.layer}",
                    at.step_size,
                    int(lost.sum()),
                    len(lost),
                    "not finite",
                )
            )
    return found


def _of_half(one: SublayerGrowth) -> Iterator[Shortfall]:
    where, name = f"layer {one.layer}", HALVES.get(one.half, one.half)
    yield _failed(f"logarithmic norm μ₂, {name}", where, None, one.converged["logarithmic_norm"])
    yield _not_finite(f"logarithmic norm μ₂, {name}", where, None, one.logarithmic_norm)
    for method in METHODS:
        yield _failed(
            f"worst growth, {name}, {method}", where, one.step_size, one.converged[method]
        )
        yield _not_finite(
            f"worst growth, {name}, {method}", where, one.step_size, one.worst[method]
        )


def _of_refinement(one: Refinement) -> Iterator[Shortfall]:
    where = f"layer {one.layer}, all numbers of steps"
    for method in METHODS:
        yield _failed(f"refinement, {method}", where, one.step_size, one.converged[method])
        yield _not_finite(f"refinement, {method}", where, one.step_size, one.worst[method])
    yield _not_finite("refinement, linear flow", f"layer {one.layer}", one.step_size, one.flow)


def _of_exponents(one: Exponents) -> Iterator[Shortfall]:
    yield _failed(f"Lyapunov exponents, {one.method}", "whole stack", one.step_size, one.converged)
    yield _not_finite(f"Lyapunov exponents, {one.method}", "whole stack", one.step_size, one.values)


def _of_bound(one: PseudospectrumBound) -> Iterator[Shortfall]:
    yield _failed(
        "numerical range, longer texts", f"layer {one.layer}, all angles", None, one.converged
    )
    yield _not_finite(
        "numerical range, longer texts", f"layer {one.layer}, all angles", None, one.boundary
    )
    yield _not_finite(
        "pseudospectra, longer texts", f"layer {one.layer}, all points", None, one.sigma_min
    )
    yield _not_finite(
        "departure from normality, longer texts", f"layer {one.layer}", None, one.henrici_bound
    )


def _failed(quantity: str, where: str, h: float | None, converged: np.ndarray) -> Shortfall:
    return Shortfall(quantity, where, h, int((~converged).sum()), converged.size, "not converged")


def _not_finite(quantity: str, where: str, h: float | None, values: np.ndarray) -> Shortfall:
    return Shortfall(
        quantity, where, h, int((~np.isfinite(values)).sum()), values.size, "not finite"
    )
