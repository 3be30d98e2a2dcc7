"""Tables that figures draw, and how cells are merged into them."""

from analysis.summary.cells import METHODS, as_complex, statistics
from analysis.summary.merging import Summary, summarise
from analysis.summary.nonnormality import (
    Density,
    Directions,
    Exponents,
    NonNormality,
    PseudospectrumBound,
    Refinement,
    SublayerGrowth,
)
from analysis.summary.steps import (
    Curves,
    LayerGrowth,
    LayerSolves,
    LayerSpectrum,
    Region,
    StabilityMap,
    TruncatedRegion,
)

__all__ = [
    "METHODS",
    "Curves",
    "Density",
    "Directions",
    "Exponents",
    "LayerGrowth",
    "LayerSolves",
    "LayerSpectrum",
    "NonNormality",
    "PseudospectrumBound",
    "Refinement",
    "Region",
    "StabilityMap",
    "SublayerGrowth",
    "Summary",
    "TruncatedRegion",
    "as_complex",
    "statistics",
    "summarise",
]
