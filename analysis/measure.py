"""Measure one cell, by the quantity that it belongs to."""

from analysis.cells import CellPlan
from analysis.quantities.registry import measured_by
from analysis.record import Cell
from analysis.study import Study


def measure(study: Study, plan: CellPlan) -> Cell:
    """The numbers of one cell, and in its header what they are of."""
    quantity = measured_by(plan.kind)
    assert quantity.measure is not None
    extra, arrays = quantity.measure(study, plan)
    units = {name: quantity.units.get(name, "1") for name in arrays}
    header = {**plan.header(), **extra, "units": units, "seed": study.config.seed, **study.known_by}
    return Cell(plan.name, header, arrays)
