"""Growth that a linearisation predicts against growth that is measured, on fine-tuned models."""

from analysis.calibration.fit import Fit, Linearity, fit, linearity
from analysis.calibration.flips import Flips, flips
from analysis.calibration.records import Calibration, again, calibrate

__all__ = [
    "Calibration",
    "Fit",
    "Flips",
    "Linearity",
    "again",
    "calibrate",
    "fit",
    "flips",
    "linearity",
]
