"""A made-up run with a truncated solver, which the figure of the regions needs to move."""

import numpy as np
import synthetic
import xarray as xr

from analysis.run import Measurements

K = 5


def amplification(h: float, z: np.ndarray) -> np.ndarray:
    """|R_k| of k resolvent fixed-point iterations (Mathematics, section 2)."""
    c = (h + z) / (1 + h)
    return np.abs((1 - c**K) / (1 - z) + c**K)


def with_truncated(whole: Measurements) -> Measurements:
    """The same run with the iterations at the step sizes of its map."""
    steps = whole["stability_map"]["map_step_size"].values
    re, im = np.linspace(-4, 4, 120), np.linspace(0, 3, 46)
    values = np.stack([amplification(float(h), re[None, :] + 1j * im[:, None]) for h in steps])
    truncated = xr.Dataset(
        {
            "truncated_amplification": (
                ("solver", "map_step_size", "truncated_im", "truncated_re"),
                values[None],
            )
        },
        coords={
            "solver": ["fixed point, k = 5"],
            "map_step_size": steps,
            "truncated_re": re,
            "truncated_im": im,
        },
    )
    return synthetic.with_dataset(whole, "truncated", truncated)
