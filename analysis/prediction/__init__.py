"""Which layers should take an implicit step, said before anything is trained."""

from analysis.prediction.plans import run_toml, study_toml
from analysis.prediction.records import (
    Estimate,
    LayerPrediction,
    Placement,
    Prediction,
    Recommendation,
)
from analysis.prediction.rule import predict

__all__ = [
    "Estimate",
    "LayerPrediction",
    "Placement",
    "Prediction",
    "Recommendation",
    "predict",
    "run_toml",
    "study_toml",
]
