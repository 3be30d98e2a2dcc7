"""Every public name of odestab, given what people have: a matrix, a LinearOperator, a function, a
module. It agrees with what it says of our own form, or says in one sentence what it takes.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
import torch
from problems import DTYPE, grcar, normal_numbers
from torch import Tensor

import odestab as od

N = 3
MATRIX = grcar(N) / 4 - 0.3 * torch.eye(N, dtype=DTYPE)
X = normal_numbers(1, N)
Y = normal_numbers(1, N, seed=1)
TOKENS = X[:, None]  # as a text of one token
GRID = torch.tensor([0.3 + 0.2j, -1.0], dtype=torch.complex128)
STEPS = torch.tensor([0.5, 1.0], dtype=DTYPE)
PLAIN = od.FixedPoint(rtol=1e-12, max_iterations=200)
DESCENT = od.GradientDescent(steps=None, rtol=1e-7, max_iterations=500)
IMPLICIT = od.ImplicitEuler(0.5, PLAIN)


class Layer(torch.nn.Module):
    """A x, as a module."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(N, N, bias=False, dtype=DTYPE)
        self.linear.weight = torch.nn.Parameter(MATRIX, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


def by_numpy(matrix: np.ndarray) -> scipy.sparse.linalg.LinearOperator:
    """Of products alone."""
    return scipy.sparse.linalg.LinearOperator(
        matrix.shape, matvec=lambda v: matrix @ v, rmatvec=lambda u: matrix.T @ u, dtype=float
    )


MATRICES: dict[str, Any] = {
    "tensor": MATRIX,
    "batch": MATRIX[None].clone(),
    "array": MATRIX.numpy(),
    "lists": MATRIX.tolist(),
    "sparse tensor": MATRIX.to_sparse(),
    "sparse array": scipy.sparse.csr_array(MATRIX.numpy()),
    "LinearOperator": by_numpy(MATRIX.numpy()),
}
FUNCTIONS: dict[str, Any] = {"function": lambda x: x @ MATRIX.T, "module": Layer()}
OWN = od.LinearVectorField(MATRIX)
OPERATOR = od.Jacobian(OWN, torch.zeros(1, N, dtype=DTYPE))


def trajectory(field: Any) -> od.Trajectory:
    return od.Trajectory((TOKENS,) * 3, torch.ones(1, 1, dtype=torch.bool), (field, field))


OF_OPERATORS: dict[str, Callable[[Any], Any]] = {
    "affine": lambda a: od.affine(a, 1.0, 0.5).mv(X),
    "check_adjoint": lambda a: od.check_adjoint(a),
    "compose": lambda a: od.compose([a, a]).rmv(X),
    "damping_advantage": lambda a: od.damping_advantage(
        a, a, X[None], torch.ones(1, dtype=torch.bool)
    ),
    "eigenvalues": lambda a: od.eigenvalues(a, 2),
    "exponential": lambda a: od.exponential(a).mv(X),
    "factorized_inverse": lambda a: od.factorized_inverse(a).mv(X),
    "frozen_refinement": lambda a: od.frozen_refinement(a, 0.5, (1,)),
    "full_spectrum": lambda a: od.full_spectrum(a),
    "henrici_departure": lambda a: od.henrici_departure(a),
    "inverse": lambda a: od.inverse(a).mv(X),
    "kreiss_constant": lambda a: od.kreiss_constant(a),
    "logarithmic_norm": lambda a: od.logarithmic_norm(a),
    "margin": lambda a: od.margin(od.ExplicitEuler(0.5), a),
    "numerical_range": lambda a: od.numerical_range(a, 8),
    "predict": lambda a: od.predict(X, [a, a]),
    "pseudospectral_abscissa": lambda a: od.pseudospectral_abscissa(a, 0.1),
    "pseudospectral_radius": lambda a: od.pseudospectral_radius(a, 0.1),
    "pseudospectrum": lambda a: (od.pseudospectrum(a, GRID), od.pseudospectrum(a, GRID.numpy())),
    "resolvent": lambda a: od.resolvent(a).triplets(GRID[None]).values,
    "scaled_relative_graph": lambda a: od.scaled_relative_graph(a).boundary(),
    "share_outside_lemniscate": lambda a: od.share_outside_lemniscate(a, 0.5),
    "singular_values": lambda a: od.singular_values(a, 2),
    "solve": lambda a: od.solve(a, X).solution,
    "spectral_density": lambda a: od.spectral_density(a, probes=2, steps=4, points=5),
    "spectral_growth": lambda a: od.spectral_growth(od.ExplicitEuler(0.5), a),
    "spectral_portrait": lambda a: od.spectral_portrait(a, points=7),
    "stable_step_sizes": lambda a: od.stable_step_sizes(od.ExplicitEuler(), a, STEPS),
    "step_growth": lambda a: od.step_growth(a, STEPS),
    "symmetric_part": lambda a: od.symmetric_part(a).mv(X),
    "transient_growth": lambda a: od.transient_growth(a, STEPS, 1e-3),
}
OF_FIELDS: dict[str, Callable[[Any], Any]] = {
    "field": lambda f: od.field(f, X)(X),
    "Jacobian": lambda f: od.Jacobian(f, X).dense(),
    "ExplicitEuler": lambda f: (
        od.ExplicitEuler(0.5).step(f, X).state,
        od.ExplicitEuler(0.5).derivative(f, X, Y).mv(X),
    ),
    "ImplicitEuler": lambda f: (IMPLICIT.step(f, X).state, IMPLICIT.derivative(f, X, Y).mv(X)),
    "march": lambda f: od.march(IMPLICIT, f, X, 2)[-1].state,
    "ThetaMethod": lambda f: od.ThetaMethod(0.5, solver=PLAIN).step(f, X).state,
    "ImplicitEquation": lambda f: od.ImplicitEquation(f, X, 0.5).residual(Y),
    "Anderson": lambda f: solved(od.Anderson(rtol=1e-12), f),
    "Auto": lambda f: solved(od.Auto(rtol=1e-12), f),
    "FixedPoint": lambda f: solved(PLAIN, f),
    "GradientDescent": lambda f: solved(DESCENT, f),
    "NewtonKrylov": lambda f: solved(od.NewtonKrylov(rtol=1e-12), f),
    "ImplicitAdjoint": lambda f: gradient(od.ImplicitAdjoint(), f),
    "OneStepAdjoint": lambda f: gradient(od.OneStepAdjoint(), f),
    "PhantomAdjoint": lambda f: gradient(od.PhantomAdjoint(3), f),
    "UnrolledAdjoint": lambda f: gradient(od.UnrolledAdjoint(), f),
    "FrozenRandomness": lambda f: od.FrozenRandomness.draw(f, X)(X),
    "implicit_advantage": lambda f: od.implicit_advantage(f, X, Y[None], 0.5, implicit=IMPLICIT),
    "refinement_control": lambda f: od.refinement_control(f, X, 0.5, (1,), solver=PLAIN),
    "secant": lambda f: od.secant(f, X, Y),
    "worst_growth": lambda f: od.worst_growth(IMPLICIT, f, X),
    "spectral_portrait": lambda f: od.spectral_portrait(f, x=X, points=7),
    "Trajectory": lambda f: trajectory(f).fields[1](TOKENS),
    "follow": lambda f: od.follow(trajectory(f), IMPLICIT).states,
    "propagate": lambda f: od.propagate(trajectory(f), Y[:, None], IMPLICIT),
    "secants": lambda f: od.secants(trajectory(f), trajectory(f)).growth,
}
A_TRAJECTORY = r"trajectory must be a Trajectory, as od.trace\(model, batch\) returns it, got "
A_PATH = r"path must be a Path, as od.follow\(trajectory, methods\) returns it, got "
OF_RECORDS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "alignment_loss": (od.alignment_loss, A_TRAJECTORY),
    "follow": (od.follow, A_TRAJECTORY),
    "lyapunov_exponents": (od.lyapunov_exponents, A_TRAJECTORY),
    "propagate": (lambda a: od.propagate(a, X), A_TRAJECTORY),
    "secants": (lambda a: od.secants(a, a), A_TRAJECTORY),
    "grow": (lambda a: od.grow(a, X), A_PATH),
    "grow_each": (lambda a: od.grow_each(a, [X]), A_PATH),
    "growth_between": (lambda a: od.growth_between(a, a, X), A_PATH),
    "worst_direction": (od.worst_direction, A_PATH),
}
# what takes numbers, models or files, makes no use of a field, or is a result
NEITHER = {
    "align", "complex_grid", "conditioning", "embedded_model_folder", "lemniscate",
    "load_classifier", "load_encoder", "logit_margin", "position_limit",
    "takes_padding", "readout", "runge_kutta",
    "scaled", "stability_region", "stored_types", "trace", "truncated_stability_function",
    "weight_files", "RungeKutta", "EditPerturbation", "GaussianPerturbation", "WorstPerturbation",
    "LayerVectorField", "LinearVectorField", "Linearization", "SolveError", "Status",
}  # fmt: skip
FREE = {"right", "left", "attained", "start", "path"}  # free in sign or phase


def solved(solver: od.AbstractImplicitSolver, f: Any) -> Tensor:
    return solver.solve(od.ImplicitEquation(f, X, 0.5), X).state


def gradient(adjoint: od.AbstractAdjoint, f: Any) -> Tensor:
    x = X.clone().requires_grad_()
    state = od.ImplicitEuler(0.5, PLAIN, adjoint).step(f, x).state
    return torch.autograd.grad(state.square().sum(), x)[0]


def numbers(found: Any, name: str = "") -> Iterator[Tensor]:
    """Every tensor of a result that is not free in sign."""
    if isinstance(found, Tensor) and name not in FREE:
        yield found
    elif dataclasses.is_dataclass(found) and not isinstance(found, type):
        for part in dataclasses.fields(found):
            yield from numbers(getattr(found, part.name), part.name)
    elif isinstance(found, list | tuple):
        for part in found:
            yield from numbers(part, name)


def require_same(found: Any, expected: Any) -> None:
    pairs = list(zip(numbers(found), numbers(expected), strict=True))
    assert pairs
    for mine, theirs in pairs:
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6, equal_nan=True)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the type checks of these tests, as a user meets wrong input."""
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)


@pytest.mark.parametrize("name", OF_OPERATORS)
def test_a_matrix_of_any_kind_is_an_operator(name: str) -> None:
    expected = OF_OPERATORS[name](OPERATOR)
    for matrix in (*MATRICES.values(), OWN):
        require_same(OF_OPERATORS[name](matrix), expected)


@pytest.mark.parametrize("name", OF_FIELDS)
def test_anything_is_a_field(name: str) -> None:
    expected = OF_FIELDS[name](OWN)
    for made in (*MATRICES.values(), *FUNCTIONS.values()):
        require_same(OF_FIELDS[name](made), expected)


@pytest.mark.parametrize("name", [name for name in OF_OPERATORS if name != "spectral_portrait"])
@pytest.mark.parametrize("wrong", [FUNCTIONS["function"], 3.0])
def test_what_is_no_operator_is_refused(name: str, wrong: Any, unchecked: None) -> None:
    # Fails with an AttributeError about what a function lacks.
    taken = r"operator must be an AbstractOperator, a real matrix \(n, n\) or .*, got "
    with pytest.raises(TypeError, match=taken + type(wrong).__name__):
        OF_OPERATORS[name](wrong)


@pytest.mark.parametrize("name", OF_FIELDS)
def test_what_is_no_field_is_refused(name: str, unchecked: None) -> None:
    with pytest.raises((ValueError, TypeError), match=r"(field|operator) must be an Abstract"):
        OF_FIELDS[name](3.0)


@pytest.mark.parametrize("name", OF_RECORDS)
@pytest.mark.parametrize("wrong", [MATRIX.numpy(), FUNCTIONS["module"]])
def test_what_takes_a_record_says_so(name: str, wrong: Any, unchecked: None) -> None:
    call, match = OF_RECORDS[name]
    with pytest.raises(TypeError, match=match + type(wrong).__name__):
        call(wrong)


def test_a_method_must_be_one(unchecked: None) -> None:
    # Fails with an AttributeError: a class has no step size, and a function none either.
    for wrong, got in ((od.ExplicitEuler, "ExplicitEuler"), (torch.exp, "builtin"), (0.5, "float")):
        match = f"method must be a one-step method such as .*, got {got}"
        for call in (
            lambda method: od.worst_growth(method, OWN, X),
            lambda method: od.margin(method, OPERATOR),
            lambda method: od.stable_step_sizes(method, OPERATOR, STEPS),
        ):
            with pytest.raises(TypeError, match=match):
                call(wrong)


def test_every_public_name_is_tried() -> None:
    made = {name for name in od.__all__ if callable(getattr(od, name))}
    records = {name for name in made if isinstance(getattr(od, name), type)} - {*OF_FIELDS}
    assert made - {*OF_OPERATORS, *OF_FIELDS, *OF_RECORDS, *NEITHER} - records == set()
