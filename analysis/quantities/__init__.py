"""What a run measures: one file for each quantity, and the registry that all else follows from."""

from analysis.quantities.labelled import METHODS as METHODS
from analysis.quantities.quantity import Quantity as Quantity
from analysis.quantities.quantity import Shortfall as Shortfall
from analysis.quantities.registry import QUANTITIES as QUANTITIES
