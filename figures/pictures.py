"""The pictures of the report in their order."""

from analysis.run import Measurements
from figures.density import DENSITY
from figures.directions import DIRECTIONS
from figures.exponents import EXPONENTS
from figures.growth import ADVANTAGE, GROWTH
from figures.picture import Picture
from figures.propagation import LINEARITY, PROPAGATION
from figures.pseudospectra import PSEUDOSPECTRA, PSEUDOSPECTRUM_BOUNDS
from figures.refinement import REFINEMENT
from figures.secants import SECANTS
from figures.spectra import SPECTRA
from figures.stability_map import STABILITY_MAP
from figures.sublayers import SUBLAYERS

PICTURES = (
    GROWTH,
    ADVANTAGE,
    SUBLAYERS,
    REFINEMENT,
    SPECTRA,
    SECANTS,
    PSEUDOSPECTRA,
    PSEUDOSPECTRUM_BOUNDS,
    DENSITY,
    STABILITY_MAP,
    DIRECTIONS,
    PROPAGATION,
    LINEARITY,
    EXPONENTS,
)


def pictures_of(run: Measurements) -> list[Picture]:
    """The pictures of a run: those of every run, and those whose quantities it measured."""
    return [picture for picture in PICTURES if picture.always or run[picture.quantity]]
