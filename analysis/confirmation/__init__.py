"""What fine-tuning and attacks say of a prediction."""

from analysis.confirmation.rank import Correlation
from analysis.confirmation.runs import Run
from analysis.confirmation.verdict import Confirmation, Outcome, confirm

__all__ = ["Confirmation", "Correlation", "Outcome", "Run", "confirm"]
