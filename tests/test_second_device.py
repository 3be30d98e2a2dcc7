"""The pretend accelerator does what tests rely on: it refuses mixtures, counts what the host waits
for, and computes as the CPU does.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from problems import normal_numbers
from second_device import DEVICE, LATENCY, PretendTensor, SecondDevice
from torch import Tensor, nn


def there(*shape: int) -> Tensor:
    return normal_numbers(*shape).to(DEVICE)


MIXTURES = {
    "sum": lambda x, y: x + y,
    "product": lambda x, y: x @ y,
    "where": lambda x, y: torch.where(x > 0, x, y),
    "cat": lambda x, y: torch.cat([x, y]),
    "in place": lambda x, y: x.add_(y),
    "gather": lambda x, y: x.gather(1, y.long()),
    "index_select": lambda x, y: x.index_select(0, torch.tensor([0])),
    "on the host": lambda x, y: y + x,
}


@pytest.mark.parametrize("mix", MIXTURES.values(), ids=MIXTURES.keys())
def test_mixing_devices_is_refused(mix: Callable[[Tensor, Tensor], Tensor]) -> None:
    with SecondDevice(), pytest.raises(RuntimeError, match="all tensors to be on the same device"):
        mix(there(3, 3), normal_numbers(3, 3))


def test_a_generator_of_another_device_is_refused() -> None:
    with SecondDevice(), pytest.raises(RuntimeError, match="device type for generator"):
        torch.randn(3, generator=torch.Generator(), device=DEVICE)


@pytest.mark.parametrize("read", [lambda x: x.numpy(), np.asarray])
def test_numpy_does_not_read_it(read: Callable[[Tensor], np.ndarray]) -> None:
    with SecondDevice(), pytest.raises(TypeError, match="can't convert pretend"):
        read(there(3))


WAITS = {
    "item": (lambda x: x[0, 0].item(), "item"),
    "bool": (lambda x: bool((x > 0).any()), "item"),
    "float": (lambda x: float(x.sum()), "item"),
    "if": (lambda x: 1 if x.isfinite().all() else 0, "item"),
    "nonzero": (lambda x: (x > 0).nonzero(), "nonzero"),
    "masked_select": (lambda x: x.masked_select(x > 0), "boolean mask"),
    "boolean index": (lambda x: x[x[:, 0] > -9], "boolean mask"),
    "assignment to a boolean index": (
        lambda x: x.__setitem__(x[:, 0] > -9, x.clone()),
        "boolean mask",
    ),
    "cpu": (lambda x: x.cpu(), "copy to the host"),
    "to": (lambda x: x.to("cpu"), "copy to the host"),
    "tolist": (lambda x: x.tolist(), "copy to the host"),
    "assignment on the host": (lambda x: torch.zeros(3, 3).copy_(x), "copy to the host"),
    "non-blocking into pageable memory": (
        lambda x: torch.zeros(3, 3).copy_(x, non_blocking=True),
        "copy to the host",
    ),
    "torch.tensor": (lambda x: torch.tensor([1.0], device=x.device), "copy to the device"),
    "from the host": (lambda x: normal_numbers(3).to(x), "copy to the device"),
    "index from the host": (lambda x: x[torch.tensor([0, 2])], "copy to the device"),
    "list index": (lambda x: x[[0, 2]], "copy to the device"),
    "equal": (lambda x: torch.equal(x, x), "equal"),
    "eig": (lambda x: torch.linalg.eig(x), "factorization"),
    "eigvals": (lambda x: torch.linalg.eigvals(x), "factorization"),
    "eigh": (lambda x: torch.linalg.eigh(x + x.mT), "factorization"),
    "svd": (lambda x: torch.linalg.svd(x), "factorization"),
    "solve": (lambda x: torch.linalg.solve(x, x), "factorization"),
    "inv": (lambda x: torch.linalg.inv(x), "factorization"),
    "matrix_exp": (lambda x: torch.linalg.matrix_exp(x), "factorization"),
}


@pytest.mark.parametrize(("wait", "reason"), WAITS.values(), ids=WAITS.keys())
def test_what_the_host_waits_for_is_counted_once(
    wait: Callable[[Tensor], object], reason: str
) -> None:
    with SecondDevice() as device:
        x = there(3, 3)
        device.clear()
        wait(x)
        assert dict(device.syncs) == {reason: 1}


FREE = {
    "arithmetic": (lambda x: torch.where(x > 0, 2 * x, x), 3),
    "views": (lambda x: x.mT[:, 1:].view_as(x[1:].mT).unflatten(0, (3, 1)), 0),
    "a number from the host": (lambda x: x + torch.tensor(1.0), 1),
    "factories": (
        lambda x: (x.new_zeros(2), torch.full((2,), -1.0, device=x.device), torch.empty_like(x)),
        2,
    ),
    "filling by a mask": (lambda x: x.__setitem__(x > 0, 0.0), 3),
    "unchecked factors": (lambda x: torch.linalg.lu_factor_ex(x), 1),
    "an index on the device": (lambda x: x[torch.arange(2, device=x.device)], 2),
}


@pytest.mark.parametrize(("work", "launches"), FREE.values(), ids=FREE.keys())
def test_launches_are_counted_and_nothing_is_waited_for(
    work: Callable[[Tensor], object], launches: int
) -> None:
    with SecondDevice() as device:
        x = there(3, 3)
        device.clear()
        work(x)
        assert (device.waited, device.launched) == (0, launches)


def test_an_asynchronous_copy_arrives_after_its_event() -> None:
    with SecondDevice() as device:
        x, answer, arrived = (
            there(3),
            torch.zeros(3, dtype=torch.float64, pin_memory=True),
            torch.Event(DEVICE),
        )
        device.clear()
        answer.copy_(x, non_blocking=True)
        x.zero_()  # later on the device than the copy
        arrived.record()
        assert not arrived.query() and (answer == 0).all()
        for _ in range(LATENCY):
            x.add_(1.0)
        assert arrived.query() and torch.equal(answer, normal_numbers(3))
        assert device.waited == 0 and device.asynchronous == 1


def network(x: Tensor, parameters: list[Tensor]) -> Tensor:
    w, b = parameters
    y = nn.functional.layer_norm(x @ w + b, x.shape[-1:])
    return nn.functional.scaled_dot_product_attention(y, y, y).tanh() - 0.5 * x


DERIVATIVES = {
    "value": lambda f, x, v: f(x),
    "vjp": lambda f, x, v: torch.func.vjp(f, x)[1](v)[0],
    "jvp": lambda f, x, v: torch.func.jvp(f, (x,), (v,))[1],
    "linearize": lambda f, x, v: torch.func.linearize(f, x)[1](v),
    "vmap": lambda f, x, v: torch.func.vmap(torch.func.vjp(f, x)[1])(torch.stack([v, 2 * v]))[0],
    "grad": lambda f, x, v: torch.autograd.grad(f(x.requires_grad_()), x, v)[0],
}


@pytest.mark.parametrize("derivative", DERIVATIVES.values(), ids=DERIVATIVES.keys())
def test_values_and_derivatives_are_those_of_the_cpu(derivative: Callable[..., Tensor]) -> None:
    x, v, w, b = (
        normal_numbers(2, 4, 5),
        normal_numbers(2, 4, 5, seed=1),
        normal_numbers(5, 5, seed=2),
        normal_numbers(5, seed=3),
    )
    expected = derivative(lambda y: network(y, [w, b]), x.clone(), v)
    with SecondDevice():
        parameters = [w.to(DEVICE), b.to(DEVICE)]
        found = derivative(lambda y: network(y, parameters), x.to(DEVICE), v.to(DEVICE))
        assert isinstance(found, PretendTensor) and found.device == DEVICE
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-12, atol=1e-12)


def test_a_module_moves_and_learns() -> None:
    torch.manual_seed(0)
    module = nn.Linear(3, 2, dtype=torch.float64)
    with SecondDevice():
        moved = nn.Linear(3, 2, dtype=torch.float64).to(DEVICE)
        moved.load_state_dict(module.state_dict())
        for model, x in ((module, normal_numbers(4, 3)), (moved, there(4, 3))):
            optimizer = torch.optim.AdamW(model.parameters(), foreach=False)
            model(x).square().sum().backward()
            optimizer.step()
        torch.testing.assert_close(
            moved.weight.detach().cpu(), module.weight.detach(), rtol=1e-12, atol=0
        )
