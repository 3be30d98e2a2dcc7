import dataclasses
import pathlib
from typing import Any

import pytest
import torch
from problems import (
    DTYPE,
    EPS,
    MixingField,
    grcar,
    jordan_block,
    linear_operator,
    masked_state,
    normal_numbers,
    ragged_mask,
    ragged_operator,
    random_matrix,
    toeplitz,
)
from torch import Tensor

import odestab as od
from odestab.nonnormality.relative_graph import RelativeGraph, scaled_relative_graph, theta_of
from odestab.spectrum import record

STEP_SIZES = torch.logspace(-1.5, 1.3, 20).tolist()
METHODS = {
    "explicit": od.ExplicitEuler,
    "implicit": od.ImplicitEuler,
    "theta ½": lambda h: od.ThetaMethod(h, 0.5),
    "theta ¾": lambda h: od.ThetaMethod(h, 0.75),
}


@pytest.fixture(params=["exact", "subspace"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Once with all of R^n from the start, once with a subspace that grows."""
    if request.param == "subspace":
        monkeypatch.setattr(record, "DENSE_LIMIT", 0)
    return str(request.param)


def fifty() -> list[Tensor]:
    """Normal, non-normal, Jordan, skew and zero matrices, and those of n = 1, 2, 3."""
    made = [random_matrix(n, "non-normal", seed) for n in (4, 8, 12) for seed in range(6)]
    made += [random_matrix(8, "normal", seed) for seed in range(6)]
    made += [jordan_block(n, value) for n in (2, 3, 6) for value in (-0.5, 0.25)]
    made += [normal_numbers(n, n, seed=n) - normal_numbers(n, n, seed=n).T for n in range(2, 8)]
    made += [normal_numbers(n, n, seed=seed) for n in (1, 2, 3) for seed in range(3)]
    made += [torch.zeros(n, n, dtype=DTYPE) for n in (1, 2, 5)]
    return [*made, grcar(12), toeplitz(10, 0.2, -1.0, 2.0)]


def dense_growth(matrix: Tensor, name: str, h: float) -> float:
    theta = {"explicit": 0.0, "implicit": 1.0, "theta ½": 0.5, "theta ¾": 0.75}[name]
    identity = torch.eye(len(matrix), dtype=DTYPE)
    before, after = identity + h * (1 - theta) * matrix, identity - h * theta * matrix
    return float(torch.linalg.svdvals(torch.linalg.solve(after, before))[0])


@pytest.mark.parametrize("name", METHODS)
def test_worst_growth_is_that_of_the_singular_values(name: str, path: str) -> None:
    matrices = fifty()
    assert len(matrices) == 50
    graph = scaled_relative_graph(ragged_operator(*matrices), inner=False, rtol=1e-10)
    sizes = STEP_SIZES if name in ("explicit", "implicit") else STEP_SIZES[::4]
    for h in sizes:
        found = graph.worst_growth(METHODS[name](h))
        expected = torch.tensor([dense_growth(m, name, h) for m in matrices], dtype=DTYPE)
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=0)


def test_circles_are_the_extreme_singular_values(path: str) -> None:
    matrices = fifty()
    centres = torch.tensor([-3.0, -1.0, 0.3, 2.0], dtype=DTYPE)
    graph = scaled_relative_graph(ragged_operator(*matrices), centres, rtol=1e-9)
    assert graph.converged.all() and graph.kind == ("exact" if path == "exact" else "estimate")
    for example, matrix in enumerate(matrices):
        identity = torch.eye(len(matrix), dtype=DTYPE)
        size = float(torch.linalg.matrix_norm(matrix, 2))
        symmetric = torch.linalg.eigvalsh((matrix + matrix.T) / 2)
        for k, c in enumerate(graph.centres[example].tolist()):
            values = torch.linalg.svdvals(matrix - c * identity)
            assert graph.outer[example, k] == pytest.approx(float(values[0]), rel=1e-9)
            # An inner radius is known to 2 % of the norm, and mostly to far more.
            gap = float(graph.inner[example, k] - values[-1])
            assert -1e-9 <= gap <= 0.02 * size
            if path == "exact":
                assert gap <= 1e-7 * (size + abs(c))
        assert float(graph.left[example]) == pytest.approx(float(symmetric[0]), abs=1e-6)
        assert float(graph.right[example]) == pytest.approx(float(symmetric[-1]), abs=1e-6)


def test_every_eigenvalue_lies_in_it_and_nothing_beyond_its_circles(path: str) -> None:
    for matrix in fifty():
        graph = scaled_relative_graph(linear_operator(matrix))
        values = torch.linalg.eigvals(matrix)[None]
        assert graph.contains(values).all() and graph.contains(values.conj()).all()
        far = values + 1.01 * (graph.outer[:, -1:] + values.abs().amax() + 1)
        assert not graph.contains(far).any()


def test_infinitesimal_secants_lie_in_it(path: str) -> None:
    mask = ragged_mask(4, 2)
    field, x = MixingField.random(mask, size=1.5, split=-0.5, fast=True), masked_state(mask, seed=1)
    graph = scaled_relative_graph(od.Jacobian(field, x))
    for seed in range(20):
        v = masked_state(mask, seed=seed)
        point = od.secant(field, x, x + 1e-7 * v).point
        assert graph.contains(point[:, None]).all()
        # A real edit is another matter: its secant belongs to the field and not to J.


def test_points_of_random_perturbations_lie_in_the_polygon() -> None:
    matrix = random_matrix(8, "non-normal", 2)
    graph = scaled_relative_graph(linear_operator(matrix), torch.linspace(-9, 9, 200).double())
    delta = torch.nn.functional.normalize(normal_numbers(2000, 8), dim=1)
    a, b = ((delta @ matrix.T) * delta).sum(1), (delta @ matrix.T).square().sum(1)
    corners = graph.boundary()[0]
    # Convex in (Re z, |z|²): every point is to the left of every edge, run through clockwise.
    u, v = corners.real, corners.abs() ** 2
    du, dv = u[1:] - u[:-1], v[1:] - v[:-1]
    side = du[:, None] * (b - v[:-1, None]) - dv[:, None] * (a - u[:-1, None])
    assert side.max() < 2e-2  # circles at finitely many centres: the polygon is within the set
    assert graph.contains(torch.complex(a, (b - a * a).clamp(min=0).sqrt())[None]).all()


@pytest.mark.parametrize("name", METHODS)
def test_the_largest_value_of_r_on_the_boundary_is_the_worst_growth(name: str) -> None:
    """One picture for all step sizes: what is read off the polygon is the norm."""
    matrix = random_matrix(8, "non-normal", 1)
    centres = torch.tan(torch.linspace(-1.55, 1.55, 400, dtype=DTYPE))
    boundary = scaled_relative_graph(linear_operator(matrix), centres).boundary()
    for h in (0.1, 0.5, 2.0):
        method = METHODS[name](h)
        read = float(method.stability_function(h * boundary).abs().max())
        expected = dense_growth(matrix, name, h)
        assert read <= expected * (1 + 1e-9)
        assert read == pytest.approx(expected, rel=5e-3)


def test_a_normal_matrix_has_a_graph_between_its_eigenvalues() -> None:
    # Diagonal: the set is the hull of (λ, λ²), so corners are eigenvalues on the real axis.
    values = torch.tensor([-4.0, -2.0, -1.0], dtype=DTYPE)
    centres = torch.tensor([-3.0, -2.5, -1.5], dtype=DTYPE)  # of the circles through two of them
    graph = scaled_relative_graph(linear_operator(torch.diag(values)), centres)
    attained = graph.attained[0]
    ends = attained[[0, 4]]
    torch.testing.assert_close(ends.real, values[[0, 2]], rtol=1e-12, atol=0)
    torch.testing.assert_close(graph.outer[0, 1], torch.tensor(1.5, dtype=DTYPE))
    # Half circles over neighbouring eigenvalues are holes, the one over the outer two bounds all.
    inside = torch.tensor([[-2.5 + 1.4j, -3.0 + 0.5j, -1.5 + 0.4j, -2.5 + 1.6j]])
    assert graph.contains(inside.to(torch.complex128)).tolist() == [[True, False, False, False]]


def test_small_dimensions_have_the_convex_set_and_say_so() -> None:
    swing = torch.tensor([[0.0, 1.0], [-4.0, 0.0]], dtype=DTYPE)  # eigenvalues ±2i
    point = torch.tensor([[-0.7]], dtype=DTYPE)
    graph = scaled_relative_graph(ragged_operator(point, swing, random_matrix(4, "normal")))
    assert graph.filled.tolist() == [False, False, True]
    z = torch.tensor([[-0.7 + 0j], [2j], [0j]], dtype=torch.complex128)
    assert graph.contains(z).tolist()[:2] == [[True], [True]]
    # Real perturbations of the second move on an ellipse of (Re z, |z|²), which is its boundary.
    angle = torch.linspace(0, 3.14159, 50, dtype=DTYPE)
    delta = torch.stack([angle.cos(), angle.sin()], 1)
    image = delta @ swing.T
    a, b = (image * delta).sum(1), image.square().sum(1)
    gap = torch.stack(
        [graph.outer[1, k] ** 2 - (b - 2 * c * a + c * c) for k, c in enumerate(graph.centres[1])]
    )
    assert gap.min() > -1e-9 and gap.amin(1).max() < 0.1
    alone = graph.boundary()[0]
    assert (alone - complex(-0.7)).abs().max() < 1e-7


def test_outer_circles_alone_say_so() -> None:
    operator = linear_operator(random_matrix(8, "non-normal"))
    whole, part = scaled_relative_graph(operator), scaled_relative_graph(operator, inner=False)
    assert whole.has_inner and not part.has_inner
    assert part.inner.isnan().all() and not part.inner_converged.any() and part.converged.all()
    assert torch.equal(part.outer, whole.outer)
    values = torch.linalg.eigvals(operator.dense()[0])[None]
    assert part.contains(values).all()
    polygon = part.boundary()[0]
    assert polygon[0] == polygon[-1] and (polygon.imag >= 0).all()
    assert (polygon.imag == 0).sum() > 8  # back along the real axis
    implicit = od.ImplicitEuler(0.3)
    torch.testing.assert_close(
        part.worst_growth(implicit), whole.worst_growth(implicit), rtol=1e-12, atol=0
    )


def test_what_has_not_converged_is_marked_and_excludes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    matrix = random_matrix(300, "non-normal")
    operator = linear_operator(matrix)
    short = scaled_relative_graph(operator, max_dimension=12, rtol=1e-6)
    assert short.kind == "estimate" and not short.outer_converged.all()
    assert short.contains(torch.linalg.eigvals(matrix)[None]).all()
    # Attained points are of the set whatever has converged.
    whole = scaled_relative_graph(operator, max_dimension=300)
    assert whole.contains(short.attained).all()
    assert (short.outer <= whole.outer * (1 + 1e-9)).all()
    starved = dataclasses.replace(short, rtol=1e-14)
    assert starved.range is not None
    starved.range.max_dimension = starved.range.dimension
    monkeypatch.setattr("odestab.nonnormality.joint_range.ROOM", 0)
    assert starved.worst_growth(od.ExplicitEuler(1.0)).isnan().all()


def test_a_step_whose_pole_is_an_eigenvalue_is_not_certain() -> None:
    # 1/σ_min is not known where σ_min² is rounding: fails if a number is made of it.
    graph = scaled_relative_graph(linear_operator(jordan_block(4, 1.0), jordan_block(4, 0.5)))
    found = graph.worst_growth(od.ImplicitEuler(1.0))
    assert not found[0] < 1e6 and found[1].isfinite()


@pytest.mark.slow
def test_a_large_matrix_from_one_subspace() -> None:
    matrix = random_matrix(300, "non-normal", 3) - 0.5 * torch.eye(300, dtype=DTYPE)
    graph = scaled_relative_graph(linear_operator(matrix), inner=False)
    assert graph.converged.all() and graph.range is not None and graph.range.dimension < 100
    for k in (0, 12, 24):
        values = torch.linalg.svdvals(matrix - graph.centres[0, k] * torch.eye(300, dtype=DTYPE))
        assert float(graph.outer[0, k]) == pytest.approx(float(values[0]), rel=1e-5)
    for name in METHODS:
        growth = float(graph.worst_growth(METHODS[name](0.5)))
        assert growth == pytest.approx(dense_growth(matrix, name, 0.5), rel=1e-5)


@pytest.mark.parametrize(
    ("dtype", "scale"), [(DTYPE, 2.0**400), (DTYPE, 2.0**-400), (torch.float32, 2.0**40)]
)
def test_operators_of_any_scale(dtype: torch.dtype, scale: float) -> None:
    matrix = random_matrix(6, "non-normal").to(dtype)
    both = [
        od.Jacobian(od.LinearVectorField(s * matrix), torch.zeros(1, 6, dtype=dtype))
        for s in (1.0, scale)
    ]
    unit, big = (scaled_relative_graph(operator) for operator in both)
    rtol = 1e3 * torch.finfo(dtype).eps
    torch.testing.assert_close(big.outer / scale, unit.outer, rtol=rtol, atol=0)
    torch.testing.assert_close(big.inner / scale, unit.inner, rtol=0.01, atol=1e-3)
    assert big.converged.all()
    for name, make in METHODS.items():
        torch.testing.assert_close(
            big.worst_growth(make(0.5 / scale)),
            unit.worst_growth(make(0.5)),
            rtol=rtol,
            atol=0,
            msg=name,
        )


def test_float32_is_good_to_its_precision() -> None:
    matrix = random_matrix(12, "non-normal").float()
    operator = od.Jacobian(od.LinearVectorField(matrix), torch.zeros(1, 12))
    graph = scaled_relative_graph(operator)
    assert graph.outer.dtype == torch.float32 and graph.attained.dtype == torch.complex64
    for name in METHODS:
        growth = float(graph.worst_growth(METHODS[name](0.5)))
        assert growth == pytest.approx(dense_growth(matrix.double(), name, 0.5), rel=1e-4)


@pytest.mark.slow
def test_a_real_layer(minilm_folder: pathlib.Path) -> None:
    """n = 4·384: the same worst growth as `worst_growth` finds at each step size on its own."""
    model, tokenizer = od.load_encoder(minilm_folder)
    batch: Any = tokenizer(["Hello there"], return_tensors="pt")
    trajectory = od.trace(model, batch)
    field, x = trajectory.fields[3], trajectory.states[3]
    graph = scaled_relative_graph(od.Jacobian(field, x))
    assert graph.converged.all()
    assert graph.products < 1000
    for method in (od.ExplicitEuler(1.0), od.ImplicitEuler(0.5)):
        found = od.worst_growth(method, field, x, 1e-3, y=x)
        assert float(graph.worst_growth(method)) == pytest.approx(
            float(found.values[0, 0]), rel=1e-5
        )
    leading = od.eigenvalues(od.Jacobian(field, x), 2, center=-1.0)
    assert graph.contains(leading.values).all()


def test_theta_of_a_method() -> None:
    assert [theta_of(make(0.5)) for make in METHODS.values()] == [0.0, 1.0, 0.5, 0.75]


def test_centres_that_are_no_list_of_real_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    operator = linear_operator(random_matrix(4, "normal"))
    with pytest.raises(ValueError, match=r"centres must be real, in one dimension, got .*complex"):
        scaled_relative_graph(operator, torch.tensor([1 + 1j]))
    with pytest.raises(ValueError, match=r"one dimension, got torch\.float64 of shape \(\)"):
        scaled_relative_graph(operator, torch.tensor(0.0, dtype=DTYPE))


@pytest.mark.parametrize("dimension", [0, -3, 2.5, None])
def test_a_largest_subspace_that_is_none(
    dimension: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Fails if it is looked at by large matrices alone.
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    operator = linear_operator(random_matrix(4, "normal"))
    with pytest.raises(
        ValueError, match=f"max_dimension must be a whole number >= 1, got {dimension}"
    ):
        scaled_relative_graph(operator, max_dimension=dimension)


def test_wrong_input() -> None:
    operator = linear_operator(random_matrix(4, "normal"))
    with pytest.raises(ValueError, match=r"centres must be finite, at least one, got \[\]"):
        scaled_relative_graph(operator, torch.zeros(0, dtype=DTYPE))
    with pytest.raises(ValueError, match=r"centres must be finite, at least one, got \[inf\]"):
        scaled_relative_graph(operator, torch.tensor([torch.inf], dtype=DTYPE))
    with pytest.raises(ValueError, match="rtol must be > 0, got 0"):
        scaled_relative_graph(operator, rtol=0.0)
    graph = scaled_relative_graph(operator)
    with pytest.raises(ValueError, match="points must be of 1 examples"):
        graph.contains(torch.zeros(2, 3, dtype=torch.complex128))
    freed: RelativeGraph = dataclasses.replace(graph, range=None)
    with pytest.raises(ValueError, match="range must be the graph's subspace, got None"):
        freed.worst_growth(od.ExplicitEuler(1.0))
    assert not graph.contains(torch.full((1, 1), complex("nan"), dtype=torch.complex128)).any()


def test_given_centres_are_those_of_the_record_in_descending_order() -> None:
    operator = linear_operator(1e6 * random_matrix(4, "normal"), random_matrix(4, "normal"))
    graph = scaled_relative_graph(operator, torch.tensor([-1.0, 2.0, 0.5], dtype=DTYPE))
    torch.testing.assert_close(
        graph.centres, torch.tensor([[2.0, 0.5, -1.0]] * 2, dtype=DTYPE), rtol=10 * EPS, atol=0
    )
