"""Which layers should take an implicit step, said before anything is trained."""

from analysis.prediction.records import Estimate, LayerPrediction, Placement, Prediction, Recommendation
from analysis.prediction.rule import predict
from analysis.prediction.telling import run_toml

__all__ = ["Estimate", "LayerPrediction", "Placement", "Prediction", "Recommendation", "predict", "run_toml"]
