import dataclasses

import pytest
import torch
from problems import mixing_trajectory

from odestab.fields.vector_field import LayerVectorField
from odestab.operators.jacobian import Jacobian
from odestab.steps.one_step import ExplicitEuler


def test_depth_and_tokens() -> None:
    trajectory = mixing_trajectory((4, 2), layers=3)
    assert trajectory.depth == 3 and trajectory.tokens == [4, 2]


def test_what_is_printed_are_sizes_and_no_states() -> None:
    trajectory = mixing_trajectory((4, 2), layers=3)
    assert len(repr(trajectory)) < 200 and "tokens=[4, 2]" in repr(trajectory)
    layer = torch.nn.Linear(64, 64).double().requires_grad_(False)
    field = LayerVectorField(layer, kind="outer")
    assert repr(field) == "LayerVectorField(Linear, kind='outer')"
    jacobian = Jacobian(field, torch.zeros(1, 64).double())
    assert repr(jacobian) == f"Jacobian({field!r}, x=(1, 64) torch.float64)"


def test_wrong_input(monkeypatch: pytest.MonkeyPatch) -> None:
    trajectory = mixing_trajectory((4, 2), layers=3)
    with pytest.raises(
        ValueError, match="states must be one more than fields, got 3 states and 3 fields"
    ):
        dataclasses.replace(trajectory, states=trajectory.states[1:])
    with pytest.raises(ValueError, match=r"methods must be one per layer \(3\), got 2"):
        dataclasses.replace(trajectory, methods=(ExplicitEuler(1.0),) * 2)
    # the type checker of the tests would refuse such a mask first; users run without it
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    with pytest.raises(
        ValueError, match=r"mask must be bool of shape \(2, 4\), got torch.bool of shape \(2, 3\)"
    ):
        dataclasses.replace(trajectory, mask=torch.ones(2, 3, dtype=torch.bool))
