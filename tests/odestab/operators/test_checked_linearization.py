"""Products that drift, that are not those of the derivative, or that no function of the state
has.
"""

import dataclasses
import threading

import numpy as np
import pytest
import torch
from problems import (
    EPS,
    MixingField,
    linear_operator,
    masked_state,
    normal_numbers,
    ragged_mask,
)
from torch import Tensor, nn

import odestab as od
from odestab.fields.frozen_randomness import FrozenRandomness
from odestab.fields.vector_field import (
    AbstractVectorField,
    LayerVectorField,
    Linearization,
    LinearVectorField,
    linearize,
)
from odestab.operators.algebra import affine, check_adjoint, compose, inverse, symmetric_part
from odestab.operators.checked_linearization import derivatives_anew
from odestab.operators.jacobian import Jacobian

WEIGHT = normal_numbers(6, 6, seed=3)


def dense(function, x: Tensor) -> Tensor:
    """The Jacobian by reverse mode, one row at a time: it shares no code with any path."""
    return torch.autograd.functional.jacobian(function, x).reshape(x.numel(), x.numel())


def adds_in_place(x: Tensor) -> Tensor:
    scores = x @ WEIGHT.T
    bias = torch.zeros_like(WEIGHT) + 0.1  # a constant of the trace
    bias += 0.3 * WEIGHT
    scores = scores @ bias
    return torch.tanh(scores)


class Biased(nn.Module):
    """It counts its calls in a buffer, and fills another one anew in place at each."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.tensor(0))
        self.register_buffer("scale", torch.zeros(6, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        self.calls.add_(1)
        self.scale.fill_(0.5).mul_(3.0)
        return torch.sin(x @ WEIGHT) * self.scale


class Counting(nn.Module):
    """What it gives depends on how often it was called before."""

    def __init__(self, first: int = 0) -> None:
        super().__init__()
        self.first, self.calls = first, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return (1 + 0.01 * max(self.calls - self.first, 0)) * torch.tanh(x)


@pytest.mark.parametrize(
    ("layer", "path"),
    [(adds_in_place, "torch.func.jvp"), (Biased(), "torch.autograd")],
    ids=["a constant", "a buffer"],
)
def test_what_a_layer_changes_in_place_moves_no_product(layer, path: str) -> None:
    x = normal_numbers(1, 2, 6)
    jacobian, v = (
        Jacobian(LayerVectorField(layer, kind="outer"), x),
        normal_numbers(1, 2, 6, seed=1),
    )
    expected = dense(layer, x)
    for _ in range(5):
        for product, matrix in ((jacobian.mv, expected), (jacobian.rmv, expected.T)):
            torch.testing.assert_close(
                product(v).flatten(), matrix @ v.flatten(), rtol=0, atol=1e3 * EPS
            )
    many = torch.stack([v, -2 * v])
    torch.testing.assert_close(
        jacobian.mv(many)[1].flatten(), -2 * expected @ v.flatten(), rtol=0, atol=1e3 * EPS
    )
    assert jacobian.linearization.path == path


def test_a_trace_that_is_kept_drifts() -> None:
    """The problem that the check is for."""
    v = normal_numbers(1, 2, 6, seed=1)
    product = linearize(adds_in_place, normal_numbers(1, 2, 6)).mv
    assert float((product(v) - product(v)).norm()) > 1e-3


def test_a_function_without_forward_mode_has_products_by_reverse_mode_twice() -> None:
    class Cube(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x: Tensor) -> Tensor:
            return x**3

        @staticmethod
        def setup_context(ctx, inputs: tuple[Tensor], output: Tensor) -> None:
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, u: Tensor) -> Tensor:
            return 3 * ctx.saved_tensors[0] ** 2 * u

    x, v = normal_numbers(2, 4), normal_numbers(3, 2, 4, seed=1)
    jacobian = Jacobian(LayerVectorField(Cube.apply, kind="outer"), x)
    assert jacobian.linearization.path == "double vjp"
    torch.testing.assert_close(jacobian.mv(v), 3 * x**2 * v, rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    "layer",
    [Counting(), nn.Dropout(0.5), lambda x: x + 1e-3 * torch.randn_like(x) * x],
    ids=["counter", "dropout", "noise"],
)
def test_no_function_of_the_state_is_refused(layer) -> None:
    with pytest.raises(
        ValueError, match="field must be a differentiable function of the state alone, got"
    ):
        _ = Jacobian(LayerVectorField(layer), normal_numbers(2, 3, 4)).linearization


def test_one_draw_of_a_random_layer_is_a_function() -> None:
    x = normal_numbers(2, 3, 4)
    jacobian = Jacobian(FrozenRandomness.draw(LayerVectorField(nn.Dropout(0.5)), x), x)
    assert (check_adjoint(jacobian) < 100 * EPS).all()


def test_a_field_that_changes_while_it_is_used_is_told(generator: torch.Generator) -> None:
    layer = Counting(first=40)  # no check at the start can see it
    late = Jacobian(_Anew(layer), normal_numbers(2, 3, 4))
    with pytest.raises(
        ValueError, match=r"another product with its derivative after (32|64) of them"
    ):
        for _ in range(64):
            late.mv(late.random(generator))


class _Anew(AbstractVectorField):
    """A layer whose own linearisation keeps nothing."""

    def __init__(self, layer) -> None:
        self.layer = layer

    def __call__(self, x: Tensor) -> Tensor:
        return self.layer(x)

    def linearize(self, x: Tensor) -> Linearization:
        return derivatives_anew(self.layer, x, x)[0]


def test_weights_that_change_under_an_analytic_path_are_told() -> None:
    mask = ragged_mask(3, 2)
    field, x = MixingField.random(mask, fast=True), masked_state(mask)
    jacobian = Jacobian(field, x)
    jacobian.mv(x)
    field.w.mul_(1.01)
    with pytest.raises(ValueError, match="another product with its derivative after 2 of them"):
        jacobian.mv(x)


def test_a_structure_that_is_not_the_layers_is_not_used() -> None:
    """The value is right, the declared derivative is that of another function."""
    layer = nn.Sequential(nn.Linear(4, 4, dtype=torch.float64), nn.Tanh()).requires_grad_(False)
    x = normal_numbers(2, 3, 4)
    for wrong_forward, wrong_reverse in ((1.01, 1.01), (1.0, 1.01)):
        right = linearize(layer, x)

        def wrong(  # the values of this round are bound here
            _: Tensor,
            right: Linearization = right,
            wrong_forward: float = wrong_forward,
            wrong_reverse: float = wrong_reverse,
        ) -> Linearization:
            return Linearization(
                lambda v: wrong_forward * right.mv(v),
                lambda u: wrong_reverse * right.rmv(u),
                "analytic",
            )

        jacobian = Jacobian(LayerVectorField(layer, kind="outer", analytic=wrong), x)
        assert jacobian.linearization.path == "torch.func"
        torch.testing.assert_close(jacobian.mv(x), right.mv(x), rtol=0, atol=10 * EPS)


class _ThroughNumpy(AbstractVectorField):
    """x ↦ sin(x), where torch cannot look, with the derivative that its author declares."""

    def __init__(self, factor: float | None) -> None:
        self.factor = factor

    def __call__(self, x: Tensor) -> Tensor:
        return torch.from_numpy(np.sin(x.detach().numpy()))

    def linearize(self, x: Tensor) -> Linearization:
        if self.factor is None:
            return super().linearize(x)
        slope = self.factor * torch.cos(x)
        return Linearization(lambda v: slope * v, lambda u: slope * u, "analytic")


def test_what_torch_cannot_differentiate_is_held_against_differences() -> None:
    x = normal_numbers(2, 5)
    torch.testing.assert_close(
        Jacobian(_ThroughNumpy(1.0), x).mv(x), torch.cos(x) * x, rtol=0, atol=EPS
    )
    for factor in (1.01, None):
        with pytest.raises(ValueError, match="differentiable function of the state alone"):
            _ = Jacobian(_ThroughNumpy(factor), x).linearization


def test_a_detached_field_has_no_zero_derivative() -> None:
    with pytest.raises(ValueError, match="differentiable function of the state alone"):
        _ = Jacobian(
            LayerVectorField(lambda x: torch.sin(x.detach())), normal_numbers(2, 3, 4)
        ).linearization


def test_a_constant_field_has() -> None:
    x = normal_numbers(2, 5)
    assert not Jacobian(LinearVectorField(torch.zeros(5, 5, dtype=torch.float64)), x).mv(x).any()


def test_a_reverse_mode_that_is_not_the_adjoint_is_refused() -> None:
    class WrongBackward(torch.autograd.Function):
        @staticmethod
        def forward(x: Tensor) -> Tensor:
            return 2 * x

        @staticmethod
        def setup_context(ctx, inputs: tuple[Tensor], output: Tensor) -> None:
            pass

        @staticmethod
        def jvp(ctx, v: Tensor) -> Tensor:
            return 2 * v

        @staticmethod
        def backward(ctx, u: Tensor) -> Tensor:
            return 3 * u

    with pytest.raises(ValueError, match="forward and reverse products that differ by"):
        _ = Jacobian(
            LayerVectorField(WrongBackward.apply, kind="outer"), normal_numbers(2, 4)
        ).linearization


def test_a_function_that_changes_its_input_is_refused_and_the_state_is_left() -> None:
    x = normal_numbers(2, 3, 4)
    before = x.clone()
    with pytest.raises(ValueError, match="field must leave the state"):
        Jacobian(LayerVectorField(lambda y: torch.tanh(y.mul_(2.0))), x)
    assert torch.equal(x, before)


def test_numbers_that_are_not_finite_are_no_drift() -> None:
    x = normal_numbers(2, 4)
    x[1, 2] = torch.nan
    image = Jacobian(LayerVectorField(torch.tanh, kind="outer"), x).mv(torch.ones_like(x))
    assert image[0].isfinite().all() and image[1].isnan().sum() == 1


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_the_scale_of_a_field_is_no_drift(scale: float) -> None:
    matrix = scale * normal_numbers(5, 5)
    field = LayerVectorField(lambda y: y @ matrix, kind="outer")
    assert Jacobian(field, normal_numbers(2, 5)).linearization.path == "torch.func"


@pytest.mark.parametrize("layer", [torch.tanh, Biased()], ids=["kept", "anew"])
def test_threads_share_a_jacobian(layer) -> None:
    """Torch has one level of dual numbers for all threads: without a lock a product can lose its
    tangent.
    """
    x, images, errors = normal_numbers(2, 3, 6), {}, []
    jacobian, v = (
        Jacobian(LayerVectorField(layer, kind="outer"), x),
        normal_numbers(8, 2, 3, 6, seed=1),
    )
    start = threading.Barrier(4)

    def use(thread: int) -> None:
        try:
            start.wait()
            images[thread] = torch.stack([jacobian.mv(t) for t in v])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=use, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    expected = torch.stack([derivatives_anew(layer, x, t)[1] for t in v])
    for image in images.values():
        torch.testing.assert_close(image, expected, rtol=0, atol=100 * EPS)


class _CastAndCut(AbstractVectorField):
    """x ↦ s·sin(x) with a scale that may be changed, and products that can be cast and cut."""

    def __init__(self) -> None:
        self.scale = torch.ones(6, dtype=torch.float64)

    def __call__(self, x: Tensor) -> Tensor:
        return self.scale.to(x.dtype) * torch.sin(x)

    def linearize(self, x: Tensor) -> Linearization:
        def product(v: Tensor) -> Tensor:
            return self.scale.to(v.dtype) * torch.cos(x.to(v.dtype)) * v

        return Linearization(
            product,
            product,
            "analytic",
            lambda dtype: self.linearize(x.to(dtype)),
            lambda examples: self.linearize(x[examples]),
        )


CHANGES = {
    "cast": lambda jacobian: jacobian.cast(torch.float32),
    "cut": lambda jacobian: jacobian.take(torch.tensor([2, 0])),
    "cast and cut": lambda jacobian: jacobian.cast(torch.float32).take(torch.tensor([1])),
    "shifted": lambda jacobian: affine(jacobian, 1.0, -0.5),
    "composed": lambda jacobian: compose([jacobian, jacobian]).take(torch.tensor([1, 2])),
    "shifted and cut": lambda jacobian: affine(jacobian, 1.0, -0.5).take(torch.tensor([1])),
    "in a symmetric part": lambda jacobian: symmetric_part(jacobian).cast(torch.float32),
}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_an_operator_that_was_changed_is_still_checked(change: str, reverse: bool) -> None:
    # Fails if a cast or a cut leaves the repetitions behind.
    field = _CastAndCut()
    operator = CHANGES[change](Jacobian(field, normal_numbers(3, 6)))
    product = operator.rmv if reverse else operator.mv
    product(operator.random())
    field.scale.mul_(1.05)
    with pytest.raises(ValueError, match="another product with its derivative after"):
        for _ in range(4):
            product(operator.random())


@pytest.mark.parametrize("change", ["cast", "cut", "cast and cut"])
def test_a_cast_or_cut_that_is_not_the_operators_is_told_at_once(change: str) -> None:
    class Wrong(_CastAndCut):
        def linearize(self, x: Tensor) -> Linearization:
            wrong = _CastAndCut()
            wrong.scale = 1.1 * wrong.scale
            return dataclasses.replace(
                super().linearize(x),
                cast=lambda dtype: wrong.linearize(x.to(dtype)),
                take=lambda examples: wrong.linearize(x[examples]),
            )

    operator = CHANGES[change](Jacobian(Wrong(), normal_numbers(3, 6)))
    with pytest.raises(ValueError, match="another product with its derivative after 1 of them"):
        operator.mv(operator.random())


def test_padding_of_a_cut_is_no_drift() -> None:
    mask = ragged_mask(3, 1, 2)
    jacobian = Jacobian(MixingField.random(mask, fast=True), masked_state(mask))
    cut = jacobian.take(torch.tensor([1, 2]))
    for _ in range(4):
        assert cut.mv(cut.random()).isfinite().all()


def test_records_name_the_path_of_their_products() -> None:
    x = normal_numbers(2, 6)
    analytic, traced = (
        Jacobian(_CastAndCut(), x),
        Jacobian(LayerVectorField(lambda y: y @ WEIGHT.T, kind="outer"), x),
    )
    anew = Jacobian(LayerVectorField(adds_in_place, kind="outer"), x)
    for record in (
        od.full_spectrum(analytic),
        od.eigenvalues(analytic, 2),
        od.eigenvalues(analytic, 2, "SM"),
        od.singular_values(affine(analytic, 1.0, -0.1), 2),
        od.singular_values(inverse(affine(analytic, 1.0, -0.1)), 1),
        od.singular_values(analytic, 1, "SM"),
        od.logarithmic_norm(analytic.cast(torch.float32)),
        od.numerical_range(analytic, 4),
        od.henrici_departure(analytic),
        od.pseudospectrum(analytic, torch.tensor([2.0])),
        od.pseudospectral_abscissa(analytic, 0.1),
        od.kreiss_constant(analytic),
        od.spectral_density(analytic, steps=4),
        od.step_growth(analytic, torch.tensor([0.5])),
        od.frozen_refinement(analytic, 0.1),
        od.transient_growth(analytic, torch.tensor([0.5])),
    ):
        assert record.path == "analytic"
    assert od.singular_values(traced, 2).path == "torch.func"
    assert od.eigenvalues(anew, 2).path == "torch.func.jvp"
    assert compose([analytic, traced]).path == "analytic, torch.func"
    assert od.full_spectrum(linear_operator(WEIGHT)).path is None
