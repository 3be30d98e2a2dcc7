"""The sets of a portrait are those of the functions that compute them, of hJ."""

import math
from typing import Any

import pytest
import torch
from problems import DTYPE, grcar, linear_operator, normal_numbers

import odestab as od
from odestab.steps import portrait as portrait_module

N = 6
H = 0.5
MATRIX = grcar(N) - torch.eye(N, dtype=DTYPE)


def pendulum(y: torch.Tensor) -> torch.Tensor:
    return torch.stack([y[..., 1], -y[..., 0].sin()], -1)


def test_the_sets_are_those_of_h_times_the_operator() -> None:
    found = od.spectral_portrait(MATRIX, "rk4", H, points=9)
    scaled = linear_operator(H * MATRIX)
    grid = od.complex_grid(found.re, found.im)
    assert found.parts == portrait_module.PARTS and found.complete and not found.inner
    assert found.graph_settled and found.settled.all() and found.range_settled.all()
    ours = sorted(found.eigenvalues.tolist(), key=lambda z: (round(z.real, 9), z.imag))
    theirs = torch.linalg.eigvals(H * MATRIX).tolist()
    theirs = sorted(theirs, key=lambda z: (round(z.real, 9), z.imag))
    torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs))
    torch.testing.assert_close(found.sigma_min, od.pseudospectrum(scaled, grid).sigma_min[0])
    expected = od.numerical_range(scaled, len(found.range)).boundary[0]
    torch.testing.assert_close(found.range, expected)
    torch.testing.assert_close(found.amplification, od.stability_region("rk4", found.re, found.im))
    # Corners of the graph's polygon are attained, so that they lie between all of its circles.
    graph = od.scaled_relative_graph(scaled)
    assert graph.contains(found.graph[None, ::8]).all()


def test_a_window_holds_what_is_drawn_and_the_surroundings_of_zero() -> None:
    far = od.spectral_portrait(torch.diag(torch.tensor([-30.0, -1.0])).double(), points=5)
    assert far.re[0] < -30 and far.re[-1] > 1 and far.im[0] == 0 and far.im[-1] > 3
    given = od.spectral_portrait(MATRIX, window=(-1.0, 2.0, 4.0), points=5)
    assert given.re.tolist() == [-1.0, -0.25, 0.5, 1.25, 2.0] and given.im.tolist() == [0, 2, 4]


def test_a_field_is_linearised_where_it_is() -> None:
    x = torch.tensor([[0.0, 0.0], [math.pi, 0.0]], dtype=DTYPE)
    for example, expected in ((0, 1j * H), (1, H)):
        found = od.spectral_portrait(
            pendulum, "implicit", H, x, parts=["eigenvalues"], example=example
        )
        assert (found.name, found.kind) == ("implicit Euler", "implicit")
        assert min(abs(z - expected) for z in found.eigenvalues.tolist()) < 1e-12
        assert not found.sigma_min.numel() and not found.range.numel() and not found.graph.numel()


@pytest.mark.parametrize(
    ("method", "name", "kind", "h"),
    [
        ("explicit", "explicit Euler", "explicit", 1.0),
        ("gauss2", "Gauss 2", "implicit", 1.0),
        (od.ImplicitEuler(0.25), "implicit Euler", "implicit", 0.25),
        (od.ThetaMethod(0.25, 0.5), "theta method, θ = 0.5", "implicit", 0.25),
        (od.RungeKutta([[0.0]], [1.0], "mine"), "mine", "explicit", 1.0),
        (torch.exp, "R(z)", "function", 1.0),
    ],
)
def test_a_method_has_a_name_and_perhaps_a_step_size(
    method: Any, name: str, kind: str, h: float
) -> None:
    found = od.spectral_portrait(MATRIX, method, parts=[], points=5)
    assert (found.name, found.kind, found.step_size) == (name, kind, h)


def test_a_large_operator_is_bounded_from_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portrait_module, "DENSE", 20)
    monkeypatch.setattr(portrait_module, "LEADING", 4)
    matrix = normal_numbers(40, 40) / 8
    parts = ["eigenvalues", "pseudospectra"]
    found = od.spectral_portrait(matrix, parts=parts, points=5)
    assert found.inner and not found.complete and len(found.eigenvalues) == 4
    exact = od.pseudospectrum(matrix, od.complex_grid(found.re, found.im)).sigma_min[0]
    assert (found.sigma_min >= exact * (1 - 1e-6)).all()


def test_wrong_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"source": pendulum}, "x must be the state at which the field is linearised, got None"),
        ({"parts": ["range", "all"]}, "parts must be out of eigenvalues, .*, got "),
        ({"parts": "range"}, "parts must be out of"),
        ({"h": -1.0}, "step_size must be > 0"),
        ({"points": 2}, "points must be at least 5, got 2"),
        ({"example": 1}, r"example must be in 0\.\.0, got 1"),
        ({"window": (1.0, 0.0, 1.0)}, "window must be left < right and top > 0"),
        ({"method": "rk5"}, "method must be one of .*, got 'rk5'"),
    )
    for options, match in wrong:
        with pytest.raises(ValueError, match=match):
            od.spectral_portrait(**{"source": MATRIX, **options})
    for options, match in (
        ({"source": 3.0}, "operator must be an AbstractOperator, .*, got float"),
        ({"method": 3.0}, "method must be a one-step method, .*, got float"),
    ):
        with pytest.raises(TypeError, match=match):
            od.spectral_portrait(**{"source": MATRIX, **options})
