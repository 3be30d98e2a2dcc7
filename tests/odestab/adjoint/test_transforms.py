"""Steps inside torch.func, torch.utils.checkpoint, torch.compile and DistributedDataParallel."""

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from problems import central_difference, normal_numbers
from steps import EXACT, FIELD, ImplicitLayer, gradients_of, leaves, relative_gap, state
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import odestab as od
from odestab.adjoint import (
    AbstractAdjoint,
    ImplicitAdjoint,
    OneStepAdjoint,
    PhantomAdjoint,
    UnrolledAdjoint,
)

EVERY = {
    "implicit": ImplicitAdjoint(1e-12),
    "unrolled": UnrolledAdjoint(),
    "one step": OneStepAdjoint(),
    "phantom": PhantomAdjoint(3),
}
every = pytest.mark.parametrize("adjoint", EVERY.values(), ids=EVERY.keys())


def one_argument(adjoint: AbstractAdjoint, which: int) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The step as a function of x, W, U or h alone, and the place to differentiate it at."""
    tensors = [t.detach() for t in leaves()]
    return lambda t: FIELD.project(
        state(adjoint, EXACT, *tensors[:which], t, *tensors[which + 1 :])
    ), tensors[which]


@every
@pytest.mark.parametrize("which", range(4), ids=["x", "W", "U", "h"])
def test_torch_func_agrees_with_autograd(adjoint: AbstractAdjoint, which: int) -> None:
    run, at = one_argument(adjoint, which)
    weights, direction = (
        normal_numbers(*leaves()[0].shape, seed=1),
        normal_numbers(max(at.numel(), 1), seed=2).view(at.shape),
    )
    leaf = at.clone().requires_grad_()
    (expected,) = torch.autograd.grad((weights * run(leaf)).sum(), leaf)
    value, pull = torch.func.vjp(run, at)
    torch.testing.assert_close(value, run(at), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(pull(weights)[0], expected, rtol=1e-9, atol=1e-11)
    tangent = torch.func.jvp(run, (at,), (direction,))[1]
    torch.testing.assert_close(
        (tangent * weights).sum(), (direction * expected).sum(), rtol=1e-9, atol=1e-11
    )
    if not isinstance(adjoint, OneStepAdjoint | PhantomAdjoint):
        torch.testing.assert_close(
            tangent, central_difference(run, at, direction), rtol=1e-6, atol=1e-7
        )
        rows = torch.func.jacrev(run)(at)
        torch.testing.assert_close(
            (rows.reshape(*tangent.shape, -1) * direction.flatten()).sum(-1),
            tangent,
            rtol=1e-9,
            atol=1e-11,
        )


@pytest.mark.parametrize(
    "adjoint", [ImplicitAdjoint(1e-12), PhantomAdjoint(2)], ids=["implicit", "phantom"]
)
@pytest.mark.parametrize("which", range(4), ids=["x", "W", "U", "h"])
def test_nested_transforms_are_refused(adjoint: AbstractAdjoint, which: int) -> None:
    run, at = one_argument(adjoint, which)
    gradient, ones = torch.func.grad(lambda t: run(t).sum()), torch.ones_like(at)
    for attempt in (
        lambda: torch.func.jvp(gradient, (at,), (ones,)),
        lambda: torch.func.vjp(gradient, at)[1](ones),
    ):
        with pytest.raises(RuntimeError, match="use UnrolledAdjoint"):
            attempt()
    with pytest.raises(RuntimeError):
        torch.func.hessian(lambda t: run(t).sum())(at)


@every
def test_vmap_of_a_solve_is_refused(adjoint: AbstractAdjoint) -> None:
    for which, match in ((0, "stack the examples"), (1, "vmap")):
        run, at = one_argument(adjoint, which)
        with pytest.raises(RuntimeError, match=match):
            torch.func.vmap(run)(torch.stack([at, at]))


def test_forward_mode_outside_torch_func_is_refused() -> None:
    run, at = one_argument(ImplicitAdjoint(), 0)
    with torch.autograd.forward_ad.dual_level(), pytest.raises(RuntimeError, match="forward"):
        run(torch.autograd.forward_ad.make_dual(at, torch.ones_like(at)))


def test_a_linear_solve_that_fails_in_forward_mode_is_an_error() -> None:
    run, at = one_argument(ImplicitAdjoint(1e-12, max_iterations=1), 0)
    with pytest.raises(od.SolveError, match="2 of 2 adjoint solves did not converge"):
        torch.func.jvp(run, (at,), (torch.ones_like(at),))


@every
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoint_around_the_step(adjoint: AbstractAdjoint, reentrant: bool) -> None:
    inputs, weights = leaves(), normal_numbers(*leaves()[0].shape, seed=11)
    plain = torch.autograd.grad((weights * state(adjoint, EXACT, *inputs)).sum(), inputs)
    around = checkpoint(
        lambda *tensors: state(adjoint, EXACT, *tensors), *inputs, use_reentrant=reentrant
    )
    (weights * around).sum().backward()
    assert all(
        torch.equal(leaf.grad, expected) for leaf, expected in zip(inputs, plain, strict=True)
    )


@pytest.mark.slow
def test_torch_compile() -> None:
    """In a process of its own: the type checks of the tests are no code that torch.compile can
    trace.
    """
    script = Path(__file__).parent / "compiled_steps.py"
    found = subprocess.run(
        [sys.executable, "-W", "ignore", str(script)], capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr[-2000:]


@every
def test_modules_with_an_adjoint_can_be_copied(adjoint: AbstractAdjoint) -> None:
    warm = (
        ImplicitAdjoint(1e-12, warm_start=True) if isinstance(adjoint, ImplicitAdjoint) else adjoint
    )
    x, module = leaves()[0].detach(), ImplicitLayer(warm)
    plain = gradients_of(module, x)
    twin = copy.deepcopy(module)
    assert relative_gap(gradients_of(twin, x), plain) < 1e-11
    assert pickle.loads(pickle.dumps(adjoint)) == adjoint


@pytest.fixture
def one_process(tmp_path: Path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


@every
def test_distributed_data_parallel(adjoint: AbstractAdjoint, one_process: None) -> None:
    """Every parameter is seen by one recorded evaluation, and its gradient is reduced once."""
    x, module = leaves()[0].detach(), ImplicitLayer(adjoint)
    plain = gradients_of(module, x)[1:]
    parallel = nn.parallel.DistributedDataParallel(module)
    for _ in range(2):
        module.zero_grad()
        parallel(x).square().sum().backward()
        assert all(
            torch.equal(p.grad, expected)
            for p, expected in zip(module.parameters(), plain, strict=True)
        )


def test_two_steps_share_one_adjoint() -> None:
    """A later layer's backward pass does not disturb an earlier one's."""
    x, w, u, h = leaves()
    adjoint = ImplicitAdjoint(1e-12, warm_start=True)

    def run(t: Tensor) -> Tensor:
        return state(adjoint, EXACT, t, w, u, h)

    assert torch.autograd.gradcheck(
        lambda t: FIELD.project(run(run(t))),
        x,
        atol=1e-5,
        rtol=1e-5,
        nondet_tol=1e-11,
        fast_mode=True,
    )
