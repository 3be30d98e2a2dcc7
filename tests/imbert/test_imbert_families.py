"""The families that plans are written for are those that imbert trains."""

from analysis.ground.stepping_families import STEPPING_FAMILIES
from odestab.encoder_layers.declared import PLAIN_KINDS


def test_plans_are_written_for_the_families_that_have_steps() -> None:
    assert sorted(PLAIN_KINDS.values()) == sorted(STEPPING_FAMILIES)
