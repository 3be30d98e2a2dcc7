"""What fine-tuning and attacks say of a prediction."""

from analysis.confirmation.runs import Run
from analysis.confirmation.verdict import Confirmation, Outcome, confirm
from analysis.ground.rank_correlation import Correlation

__all__ = ["Confirmation", "Correlation", "Outcome", "Run", "confirm"]
