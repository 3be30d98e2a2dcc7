"""Which layers should take an implicit step, said before anything is trained."""

from analysis.prediction.plan_data import PlanData, plan_data
from analysis.prediction.plans import no_run, no_study, run_toml, study_toml
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
    "PlanData",
    "Prediction",
    "Recommendation",
    "no_run",
    "no_study",
    "plan_data",
    "predict",
    "run_toml",
    "study_toml",
]
