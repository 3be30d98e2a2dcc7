"""Cells of a run of full depth merged over texts."""

import numpy as np

from analysis.record import Cell, Run
from analysis.summary.cells import METHODS, as_complex, grouped, merged
from analysis.summary.nonnormality import (
    Density,
    Directions,
    Exponents,
    NonNormality,
    PseudospectrumBound,
    Refinement,
    SublayerGrowth,
)

HALVES = ("attention", "feed_forward")


def nonnormality(run: Run) -> tuple[NonNormality, ...]:
    """One table per layer, from the short text's cell and what the dense and the layer cell say of
    it.
    """
    spectra = {(cell.header["layer"], *cell.header["texts"]): cell for cell in run.of_kind("dense")}
    found = []
    for cell in run.of_kind("nonnormality"):
        layer, (text,), arrays = cell.header["layer"], cell.header["texts"], cell.arrays
        eigenvalues, boundary = (
            as_complex(spectra[layer, text].arrays["spectrum"]),
            as_complex(arrays["boundary"]),
        )
        found.append(
            NonNormality(
                layer=layer,
                text=text,
                eigenvalues=eigenvalues,
                re=arrays["re"],
                im=arrays["im"],
                sigma_min=arrays["sigma_min"],
                boundary=boundary,
                frobenius=float(arrays["frobenius"][0]),
                henrici=float(arrays["henrici"][0]),
                spectral_abscissa=float(eigenvalues.real.max()),
                logarithmic_norm=float(boundary.real.max()),
                epsilons=arrays["epsilons"],
                pseudospectral_abscissa=arrays["pseudospectral_abscissa"],
                pseudospectral_radius=arrays["pseudospectral_radius"],
                extremum_kind=cell.header["extremum_kind"],
                kreiss=float(arrays["kreiss"][0]),
                kreiss_scale=float(arrays["kreiss_scale"][0]),
                kreiss_kind=cell.header["kreiss_kind"],
            )
        )
    return tuple(found)


def bounds(run: Run) -> tuple[PseudospectrumBound, ...]:
    """One table per layer over all followed texts."""
    return tuple(
        PseudospectrumBound(
            layer,
            tuple(text for cell in cells for text in cell.header["texts"]),
            cells[0].arrays["re"],
            cells[0].arrays["im"],
            merged(cells, "sigma_min"),
            as_complex(merged(cells, "boundary")),
            merged(cells, "converged").astype(bool),
            merged(cells, "henrici_bound"),
        )
        for (layer,), cells in grouped(run.of_kind("bounds"), "layer").items()
    )


def densities(run: Run) -> tuple[Density, ...]:
    """Two tables per layer."""
    return tuple(
        Density(
            layer,
            of,
            cells[0].arrays[f"{of}_points"],
            merged(cells, f"{of}_density"),
            merged(cells, f"{of}_error"),
        )
        for (layer,), cells in grouped(run.of_kind("density"), "layer").items()
        for of in ("gram", "symmetric")
    )


def directions(run: Run) -> tuple[Directions, ...]:
    """One table per layer and step size, where the layer cells have directions."""
    found = []
    for (layer,), cells in grouped(run.of_kind("layer"), "layer").items():
        if "explicit_entering" not in cells[0].arrays:
            continue
        shares = {
            name: _padded(cells, name)
            for name in (f"{m}_{side}" for m in METHODS for side in ("entering", "leaving"))
        }
        for s, h in enumerate(run.config["step_sizes"]):
            sides = (
                {m: shares[f"{m}_{side}"][:, s] for m in METHODS}
                for side in ("entering", "leaving")
            )
            found.append(Directions(layer, h, *sides))
    return tuple(found)


def sublayers(run: Run) -> tuple[SublayerGrowth, ...]:
    """One table per layer, half and step size."""
    found = []
    for (layer,), cells in grouped(run.of_kind("sublayers"), "layer").items():
        for half in HALVES:
            norm = merged(cells, f"{half}_logarithmic_norm")
            certain = merged(cells, f"{half}_logarithmic_norm_converged").astype(bool)
            for s, h in enumerate(run.config["step_sizes"]):
                worst = {m: merged(cells, f"{half}_{m}_worst")[:, s] for m in METHODS}
                converged = {
                    m: merged(cells, f"{half}_{m}_converged")[:, s].astype(bool) for m in METHODS
                }
                found.append(
                    SublayerGrowth(
                        layer, half, h, norm, worst, converged | {"logarithmic_norm": certain}
                    )
                )
    return tuple(found)


def refinements(run: Run) -> tuple[Refinement, ...]:
    """One table per layer and step size."""
    found = []
    for (layer,), cells in grouped(run.of_kind("refinement"), "layer").items():
        for s, h in enumerate(run.config["step_sizes"]):
            worst = {m: merged(cells, m)[:, s] for m in METHODS}
            converged = {m: merged(cells, f"{m}_converged")[:, s].astype(bool) for m in METHODS}
            found.append(
                Refinement(
                    layer,
                    h,
                    cells[0].arrays["parts"],
                    worst,
                    converged,
                    merged(cells, "flow")[:, s],
                )
            )
    return tuple(found)


def exponents(run: Run) -> tuple[Exponents, ...]:
    """One table per method and step size."""
    return tuple(
        Exponents(
            m, h, merged(cells, f"{m}_exponents"), merged(cells, f"{m}_converged").astype(bool)
        )
        for (h,), cells in grouped(run.of_kind("exponents"), "step_size").items()
        for m in METHODS
    )


def _padded(cells: list[Cell], name: str) -> np.ndarray:
    """`(texts, step sizes, tokens)` arrays of different lengths merged, NaN beyond a text's end."""
    arrays = [cell.arrays[name] for cell in cells]
    longest = max(array.shape[2] for array in arrays)
    return np.concatenate(
        [
            np.pad(a, ((0, 0), (0, 0), (0, longest - a.shape[2])), constant_values=np.nan)
            for a in arrays
        ]
    )
