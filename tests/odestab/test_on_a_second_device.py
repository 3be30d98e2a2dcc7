"""Every public name on tensors of a second device: nothing is mixed, and what comes out is what a
CPU finds.
"""

import dataclasses
import functools
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import scipy.sparse
import torch
from problems import DTYPE, MixingField, grcar, masked_state, normal_numbers, ragged_mask
from second_device import DEVICE, PretendTensor, SecondDevice
from torch import Tensor

import odestab as od

CPU = torch.device("cpu")
MASK = ragged_mask(4, 3)
HIDDEN = 3
GIVEN = {
    "SolveError",
    "Status",
    "stored_types",
    "weight_files",
    "embedded_model_folder",
    "RungeKutta",
}  # none computes: an exception, its reasons, what files hold, a tableau
PLAIN = od.FixedPoint()  # an operation on a pretended device takes some tenths of a millisecond
Case = Callable[[torch.device], Any]


def field(device: torch.device, size: float = 0.5, seed: int = 0) -> MixingField:
    made = MixingField.random(MASK, HIDDEN, size=size, split=-0.5, fast=True, seed=seed)
    parts = {name: getattr(made, name).to(device) for name in ("w", "v", "u", "mask")}
    return dataclasses.replace(made, **parts)


def state(device: torch.device, seed: int = 0) -> Tensor:
    return masked_state(MASK, HIDDEN, seed).to(device)


def jacobian(device: torch.device) -> od.Jacobian:
    return od.Jacobian(field(device), state(device))


def matrix(device: torch.device, n: int = 6) -> od.Jacobian:
    """A non-normal matrix and its transpose, as one operator."""
    matrices = torch.stack([grcar(n), 0.5 * grcar(n).mT]) / 4
    return od.Jacobian(od.LinearVectorField(matrices.to(device)), normal_numbers(2, n).to(device))


def large(device: torch.device) -> od.Jacobian:
    """Above the dimension up to which spectra are dense."""
    matrices = torch.stack(
        [
            normal_numbers(260, 260, seed=s) / 16
            + torch.diag(torch.linspace(2, -2, 260, dtype=DTYPE))
            for s in range(2)
        ]
    )
    return od.Jacobian(od.LinearVectorField(matrices.to(device)), normal_numbers(2, 260).to(device))


def trajectory(device: torch.device) -> od.Trajectory:
    return od.Trajectory(
        (state(device),) * 3, MASK.to(device), (field(device), field(device, seed=3))
    )


def equation(device: torch.device, size: float = 0.5) -> od.ImplicitEquation:
    return od.ImplicitEquation(field(device, size), state(device), 0.7)


@dataclasses.dataclass(frozen=True, eq=False)
class Noisy(od.AbstractVectorField):
    """f(x) = ω x with ω drawn on the state's device."""

    def __call__(self, x: Tensor) -> Tensor:
        return torch.rand(x.shape, dtype=x.dtype, device=x.device) * x


def frozen(device: torch.device) -> od.FrozenRandomness:
    return od.FrozenRandomness.draw(Noisy(), state(device), torch.Generator().manual_seed(0))


def solved(solver: od.AbstractImplicitSolver) -> Case:
    def run(device: torch.device) -> od.Solution:
        with torch.no_grad():
            return solver.solve(equation(device), state(device))

    return run


def gradient(adjoint: od.AbstractAdjoint) -> Case:
    def run(device: torch.device) -> Any:
        made, x = field(device), state(device).requires_grad_()
        weights, own = (
            made.w.clone().requires_grad_(),
            dataclasses.replace(adjoint),
        )  # it remembers its last solve
        given = od.ImplicitEquation(dataclasses.replace(made, w=weights), x, 0.7)
        solution = own.solve(od.FixedPoint(rtol=1e-12), given, x.detach())
        found = torch.autograd.grad(solution.state.square().sum(), (x, weights))
        return found, own, getattr(own, "last", None)

    return run


def growth(perturbation: Callable[[torch.device], od.AbstractPerturbation]) -> Case:
    return lambda device: (
        made := perturbation(device),
        od.propagate(trajectory(device), made, od.ExplicitEuler(0.5)),
    )


def spectrum(device: torch.device) -> od.Spectrum:
    return od.full_spectrum(matrix(device))


def steps(device: torch.device) -> Tensor:
    return torch.linspace(0.1, 1.0, 4, dtype=DTYPE, device=device)


def points(device: torch.device) -> Tensor:
    return torch.complex(
        torch.linspace(-1.0, 1.0, 3, dtype=DTYPE), torch.ones(3, dtype=DTYPE) / 3
    ).to(device)


class Classifier(torch.nn.Module):
    """logits = Σ tanh(e) W over real tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.Embedding.from_pretrained(normal_numbers(9, 4))
        self.weight = torch.nn.Parameter(normal_numbers(4, 3, seed=1), requires_grad=False)

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.words

    def forward(self, inputs_embeds: Tensor, attention_mask: Tensor) -> Any:
        real = attention_mask[..., None].to(inputs_embeds.dtype)
        return types.SimpleNamespace(logits=(real * torch.tanh(inputs_embeds)).sum(1) @ self.weight)


def conditioned(device: torch.device) -> od.Conditioning:
    model = Classifier()
    for name in ("words.weight", "weight"):  # the pretended device knows no Module.to
        *owner, last = name.split(".")
        place = model.get_submodule(".".join(owner))
        moved = torch.nn.Parameter(getattr(place, last).detach().to(device), requires_grad=False)
        setattr(place, last, moved)
    batch = {"input_ids": token_ids(device), "attention_mask": MASK.long().to(device)}
    return od.conditioning(model.eval(), batch, torch.tensor([0, 2], device=device))


def token_ids(device: torch.device) -> Tensor:
    return (torch.arange(8).view(2, 4) % 5).to(device)


def graph(device: torch.device) -> Any:
    small = od.scaled_relative_graph(matrix(device))
    big = od.scaled_relative_graph(large(device), points(device).real, inner=False)
    methods = od.ExplicitEuler(0.5), od.ImplicitEuler(0.2), od.ThetaMethod(0.3)
    return (
        small,
        small.contains(small.attained),
        small.boundary().real.isfinite(),
        big.outer,
        [small.worst_growth(method) for method in methods],
        big.worst_growth(od.ExplicitEuler(0.5)),
    )


CASES: dict[str, Case] = {
    "Anderson": solved(od.Anderson(history=True)),
    "Auto": solved(od.Auto(history=True)),
    "FixedPoint": solved(od.FixedPoint(history=True)),
    "GradientDescent": solved(od.GradientDescent(history=True)),
    "NewtonKrylov": solved(od.NewtonKrylov(history=True)),
    "ImplicitEquation": lambda d: (
        made := equation(d),
        made.residual(state(d)),
        made.linearized(state(d))(state(d, 1)),
    ),
    "truncated_stability_function": lambda d: od.truncated_stability_function(
        od.FixedPoint(), points(d), 0.5, 3
    ),
    "ImplicitAdjoint": gradient(od.ImplicitAdjoint()),
    "OneStepAdjoint": gradient(od.OneStepAdjoint()),
    "PhantomAdjoint": gradient(od.PhantomAdjoint(3)),
    "UnrolledAdjoint": gradient(od.UnrolledAdjoint()),
    "ExplicitEuler": lambda d: (
        m := od.ExplicitEuler(0.5),
        m.step(field(d), state(d)),
        m.derivative(field(d), state(d), m.step(field(d), state(d)).state).mv(state(d, 1)),
    ),
    "ImplicitEuler": lambda d: (
        m := od.ImplicitEuler(0.5, PLAIN),
        m.step(field(d), state(d)),
        m.derivative(field(d), state(d), m.step(field(d), state(d)).state).mv(state(d, 1)),
    ),
    "ThetaMethod": lambda d: (
        m := od.ThetaMethod(0.5, solver=PLAIN),
        m.step(field(d), state(d)),
        m.derivative(field(d), state(d), m.step(field(d), state(d)).state).mv(state(d, 1)),
    ),
    "FrozenRandomness": lambda d: [
        frozen(d)(state(d)),
        frozen(d).linearize(state(d)).mv(state(d, 1)),
    ],
    "Jacobian": lambda d: (
        jacobian(d),
        jacobian(d).mv(state(d, 1)),
        jacobian(d).rmv(state(d, 1)),
        jacobian(d).dense(),
    ),
    "LayerVectorField": lambda d: (
        made := od.LayerVectorField(lambda x: torch.tanh(x) @ field(d).w, MASK.to(d)),
        od.Jacobian(made, state(d)).mv(state(d, 1)),
        od.Jacobian(made, state(d)).rmv(state(d, 1)),
    ),
    "LinearVectorField": lambda d: (matrix(d).field, matrix(d).mv(matrix(d).x)),
    "Linearization": lambda d: (
        made := field(d).linearize(state(d)),
        made.mv(state(d, 1)),
        made.rmv(state(d, 1)),
    ),
    "Trajectory": trajectory,
    "affine": lambda d: od.affine(jacobian(d), 1.0, -0.3).mv(state(d, 1)),
    "check_adjoint": lambda d: od.check_adjoint(jacobian(d)),
    "compose": lambda d: od.compose([jacobian(d), jacobian(d)]).rmv(state(d, 1)),
    "factorized_inverse": lambda d: od.factorized_inverse(od.affine(jacobian(d), 1.0, -0.3)).mv(
        state(d, 1)
    ),
    "inverse": lambda d: od.inverse(od.affine(jacobian(d), 1.0, -0.3)).mv(state(d, 1)),
    "solve": lambda d: od.solve(od.affine(jacobian(d), 1.0, -0.3), state(d, 1)),
    "symmetric_part": lambda d: od.symmetric_part(jacobian(d)).mv(state(d, 1)),
    "eigenvalues": lambda d: (
        od.eigenvalues(large(d), 3),
        od.eigenvalues(matrix(d), 2),
        od.eigenvalues(matrix(d), 1, sigma=0.3),
    ),
    "full_spectrum": spectrum,
    "singular_values": lambda d: (
        od.singular_values(jacobian(d), 2),
        od.singular_values(jacobian(d), 2, "SM"),
    ),
    "logarithmic_norm": lambda d: od.logarithmic_norm(jacobian(d)),
    "spectral_density": lambda d: od.spectral_density(jacobian(d), probes=2, steps=5, points=8),
    "henrici_departure": lambda d: (
        od.henrici_departure(matrix(d)),
        od.henrici_departure(matrix(d), limit=2),
    ),
    "numerical_range": lambda d: (
        od.numerical_range(matrix(d), 4),
        od.numerical_range(large(d), 2, rtol=1e-2),
    ),
    "resolvent": lambda d: (made := od.resolvent(matrix(d)), made.triplets(points(d).expand(2, 3))),
    "pseudospectrum": lambda d: [
        od.pseudospectrum(matrix(d, 3), points(d)[:2], method)
        for method in ("dense", "inverse", "projected")
    ],
    "pseudospectral_abscissa": lambda d: od.pseudospectral_abscissa(matrix(d, 3), 0.1),
    "pseudospectral_radius": lambda d: od.pseudospectral_radius(matrix(d, 2), 0.1),
    "kreiss_constant": lambda d: od.kreiss_constant(matrix(d, 2)),
    "exponential": lambda d: od.exponential(matrix(d)).mv(matrix(d).x),
    "transient_growth": lambda d: od.transient_growth(matrix(d, 3), steps(d)[:2], 1e-2),
    "step_growth": lambda d: od.step_growth(jacobian(d), steps(d)[:2], 1.0, rtol=1e-2),
    "stability_region": lambda d: od.stability_region(od.ImplicitEuler(1.0), steps(d), steps(d)),
    "field": lambda d: (
        od.field(torch.tanh, state(d))(state(d)),
        od.Jacobian(od.field(grcar(6).tolist(), state(d)[:, :2]), state(d)[:, :2]).rmv(
            state(d, 1)[:, :2]
        ),
        od.Jacobian(scipy.sparse.csr_array(grcar(6).numpy()), state(d)[:, :2]).mv(
            state(d, 1)[:, :2]
        ),
    ),
    "runge_kutta": lambda d: (
        od.runge_kutta("rk4").stability_function(points(d)),
        od.runge_kutta("gauss2").stability_function(points(d)),
    ),
    "spectral_portrait": lambda d: (
        made := od.spectral_portrait(matrix(d, 3), "rk4", 0.5, points=7),
        made.range.abs(),
        made.graph.abs(),
    ),
    "complex_grid": lambda d: od.complex_grid(steps(d), steps(d)),
    "lemniscate": lambda d: od.lemniscate(points(d)),
    "margin": lambda d: od.margin(od.ExplicitEuler(0.5), spectrum(d)),
    "share_outside_lemniscate": lambda d: od.share_outside_lemniscate(spectrum(d), 0.5),
    "spectral_growth": lambda d: od.spectral_growth(od.ExplicitEuler(0.5), spectrum(d)),
    "stable_step_sizes": lambda d: od.stable_step_sizes(
        od.ExplicitEuler(0.5), spectrum(d), steps(d)
    ),
    "implicit_advantage": lambda d: od.implicit_advantage(
        field(d), state(d), state(d, 1)[None], 0.5, implicit=od.ImplicitEuler(0.5, PLAIN)
    ),
    "damping_advantage": lambda d: od.damping_advantage(
        od.affine(jacobian(d), 1.0, 0.5),
        od.affine(jacobian(d), 1.0, -0.5),
        state(d, 1)[None],
        torch.ones(2, dtype=torch.bool, device=d),
    ),
    "march": lambda d: od.march(od.ImplicitEuler(0.5, PLAIN), field(d), state(d), 3),
    "follow": lambda d: od.follow(trajectory(d), od.ImplicitEuler(0.5, PLAIN)),
    "grow": lambda d: od.grow(od.follow(trajectory(d), od.ExplicitEuler(0.5)), 1e-3 * state(d, 1)),
    "grow_each": lambda d: od.grow_each(
        od.follow(trajectory(d), od.ImplicitEuler(0.5, PLAIN)),
        [size * state(d, 1) for size in (1e-3, 1e-2)],
    ),
    "growth_between": lambda d: od.growth_between(
        od.follow(trajectory(d), od.ExplicitEuler(0.5)),
        od.follow(trajectory(d), od.ExplicitEuler(0.5), state(d, 1)),
        od.predict(state(d, 1), od.follow(trajectory(d), od.ExplicitEuler(0.5)).derivatives()),
    ),
    "Neighbour": lambda d: od.Neighbour(
        od.follow(trajectory(d), od.ExplicitEuler(0.5)), (state(d, 1), state(d, 2), state(d, 1))
    ).end(0, state(d, 2)),
    "predict": lambda d: od.predict(
        state(d, 1), od.follow(trajectory(d), od.ExplicitEuler(0.5)).derivatives()
    ),
    "propagate": growth(lambda d: od.EditPerturbation(state(d) + 1e-3 * state(d, 2))),
    "GaussianPerturbation": growth(
        lambda d: od.GaussianPerturbation(generator=torch.Generator().manual_seed(0))
    ),
    "WorstPerturbation": growth(lambda d: od.WorstPerturbation()),
    "scaled": lambda d: od.scaled(state(d, 1), state(d), 1e-3),
    "worst_direction": lambda d: od.worst_direction(
        od.follow(trajectory(d), od.ExplicitEuler(0.5))
    ),
    "worst_growth": lambda d: od.worst_growth(
        od.ImplicitEuler(0.5, PLAIN), field(d), state(d), rtol=1e-2
    ),
    "lyapunov_exponents": lambda d: od.lyapunov_exponents(trajectory(d), 2),
    "alignment_loss": lambda d: od.alignment_loss(trajectory(d)),
    "align": lambda d: od.align(token_ids(d), token_ids(d) + 1, MASK.to(d), MASK.to(d)),
    "conditioning": conditioned,
    "logit_margin": lambda d: od.logit_margin(
        torch.tensor([[1.0, 3.0, 2.5], [0.5, -1.0, 0.0]], device=d),
        torch.tensor([1, 0], device=d),
    ),
    "scaled_relative_graph": graph,
    "secant": lambda d: od.secant(field(d), state(d), state(d, 1)),
    "secants": lambda d: od.secants(
        trajectory(d),
        dataclasses.replace(trajectory(d), states=(state(d, 1),) * 3),
        [od.ExplicitEuler(0.5), od.ImplicitEuler(0.5, PLAIN)],
        alignment=od.align(token_ids(d), token_ids(d) + 1, MASK.to(d), MASK.to(d)),
    ),
    "refinement_control": lambda d: od.refinement_control(
        field(d), state(d), 0.5, (1,), rtol=0.1, solver=PLAIN
    ),
    "frozen_refinement": lambda d: od.frozen_refinement(jacobian(d), 0.5, (1,), rtol=0.1),
}
WITH_A_MODEL = {
    "load_classifier",
    "load_encoder",
    "readout",
    "trace",
    "position_limit",
    "takes_padding",
}  # encoder_layers/test_trace_on_a_second_device.py
FREE = {
    "right",
    "left",
    "point",
    "start",
    "forms",
    "states",
    "attained",
}  # free in sign or phase, or of a generator


@functools.cache
def on_a_cpu(name: str) -> Any:
    return CASES[name](CPU)


def tensors(found: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every tensor and other leaf of a result, with the name of the field that holds it."""
    if dataclasses.is_dataclass(found) and not isinstance(found, type):
        for part in dataclasses.fields(found):
            yield from tensors(getattr(found, part.name), part.name)
    elif isinstance(found, list | tuple):
        for part in found:
            yield from tensors(part, name)
    elif isinstance(found, Tensor):
        yield name, found


def instances(found: Any) -> Iterator[type]:
    if isinstance(found, list | tuple):
        for part in found:
            yield from instances(part)
    elif dataclasses.is_dataclass(found):
        yield from type(found).__mro__
        for part in dataclasses.fields(found):
            yield from instances(getattr(found, part.name))


def require_the_same(there: Any, here: Any) -> None:
    pairs = list(zip(tensors(there), tensors(here), strict=True))
    for (name, found), (_, expected) in pairs:
        assert isinstance(found, PretendTensor), f"{name or 'result'} has left the device"
        assert found.shape == expected.shape and found.dtype == expected.dtype
        if name not in FREE:
            tolerance = 1e-6 if expected.is_floating_point() or expected.is_complex() else 0.0
            torch.testing.assert_close(
                found.detach().cpu(),
                expected.detach(),
                rtol=tolerance,
                atol=tolerance,
                equal_nan=True,
                msg=name,
            )


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_what_a_public_name_does_is_what_it_does_on_a_cpu(name: str) -> None:
    with SecondDevice():
        require_the_same(CASES[name](DEVICE), on_a_cpu(name))


def test_every_public_name_is_tried() -> None:
    tried = {*CASES, *WITH_A_MODEL, *GIVEN}
    classes = {cls.__name__ for name in CASES for cls in instances(on_a_cpu(name))}
    public = {name for name in od.__all__ if callable(getattr(od, name))}
    assert public - tried - classes == set()
