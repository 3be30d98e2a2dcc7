"""How often does the host wait for the device, and how many kernels does it launch, per iteration
of every loop?

Counted, not timed, on the pretend accelerator of the tests: `waits` are reads of a device's
numbers, copies between the devices and what else keeps the host until the device has answered;
`launches` are operations that are no views, those of f or of the products left out; `copies` arrive
without being waited for. A number per unit is the difference of two runs that differ in that unit
alone: an iteration or a product is the inside of a chunk, a look, a restart or a solve is what the
host decides between chunks.
"""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from side_by_side import arguments, publish, table
from torch import Tensor

import odestab as od
from odestab.krylov import (
    Wanted,
    arnoldi,
    gmres,
    golub_kahan,
    krylov_schur,
    lanczos,
    smallest_singular_triplets,
)
from odestab.krylov.ritz import bidiagonal_ritz, lanczos_ritz

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from second_device import DEVICE, SecondDevice

BATCH = 4
N = 96


@dataclasses.dataclass(eq=False)
class Counted:
    """A function whose own launches are known, and how often it ran.

    Attributes:
        function: what is counted.
        device: counts.
        calls: how often it ran.
        launches: those inside it.
    """

    function: Callable[[Tensor], Tensor]
    device: SecondDevice
    calls: int = 0
    launches: int = 0

    def __call__(self, x: Tensor) -> Tensor:
        """The function's value."""
        before = self.device.launched
        value = self.function(x)
        self.launches += self.device.launched - before
        self.calls += 1
        return value


@dataclasses.dataclass(frozen=True, eq=False)
class CountedField(od.AbstractVectorField):
    """F(x) = 0.9 tanh(x A) + c x, counted; its products with J are not told from those of the
    loop.
    """

    counted: Counted
    split: float = -0.5

    def __call__(self, x: Tensor) -> Tensor:
        """f(x)."""
        return self.counted(x)


@dataclasses.dataclass(frozen=True)
class Totals:
    """What one run cost."""

    waits: int
    launches: int
    copies: int


@dataclasses.dataclass(frozen=True)
class Loop:
    """A loop to be counted.

    Attributes:
        name: which.
        direction: "forward", or "backward" of what autograd recorded.
        unit: what the numbers are per.
        run: (counts, matrices, how many units) ↦ run it and return the counted function.
        few, many: the numbers of units of the two runs.
    """

    name: str
    direction: str
    unit: str
    run: Callable[[SecondDevice, Tensor, int], Counted]
    few: int
    many: int


def main() -> None:
    """Count every loop, print the table, write the JSON file."""
    options = arguments(__doc__.split("\n")[0])
    rows = [row(loop) for loop in LOOPS]
    print(table(rows))
    print(publish("device_traffic", {"setting": {"batch": BATCH, "n": N}, "loops": rows}, options))


def row(loop: Loop) -> dict[str, Any]:
    """What one unit of a loop costs."""
    few, many = totals(loop, loop.few), totals(loop, loop.many)
    units = loop.many - loop.few
    costs = {
        field.name: (getattr(many, field.name) - getattr(few, field.name)) / units
        for field in dataclasses.fields(Totals)
    }
    return {"loop": loop.name, "direction": loop.direction, "unit": loop.unit, **costs}


def totals(loop: Loop, units: int) -> Totals:
    """What a run of so many units costs, the launches of f left out."""
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(BATCH, N, N, generator=generator, dtype=torch.float64) / N**0.5
    with SecondDevice() as device:
        there = matrices.to(DEVICE)
        device.clear()
        counted = loop.run(device, there, units)
        return Totals(device.waited, device.launched - counted.launches, device.asynchronous)


def solve(
    solver: Callable[[int], od.AbstractImplicitSolver], adjoint: od.AbstractAdjoint | None = None
) -> Any:
    """Runs of a solver, without gradients or with those of an adjoint recorded."""

    def run(device: SecondDevice, matrices: Tensor, units: int) -> Counted:
        counted, equation, x = problem(device, matrices, adjoint is not None)
        if adjoint is None:
            with torch.no_grad():
                solver(units).solve(equation, x)
        else:
            adjoint.solve(solver(units), equation, x)
        return counted

    return run


def backward(
    solver: Callable[[int], od.AbstractImplicitSolver], adjoint: Callable[[int], od.AbstractAdjoint]
) -> Any:
    """Runs of the backward pass alone."""

    def run(device: SecondDevice, matrices: Tensor, units: int) -> Counted:
        counted, equation, x = problem(device, matrices, True)
        state = adjoint(units).solve(solver(units), equation, x).state
        device.clear()
        counted.launches = 0
        state.backward(torch.ones_like(state))
        return counted

    return run


def problem(
    device: SecondDevice, matrices: Tensor, gradients: bool
) -> tuple[Counted, od.ImplicitEquation, Tensor]:
    """y = b + h f(y) with f(y) = 0.9 tanh(A y) − y/2, and a first guess."""
    counted = Counted(
        lambda y: 0.9 * torch.tanh((matrices @ y[..., None])[..., 0]) - 0.5 * y, device
    )
    x = matrices[:, 0].clone().requires_grad_(gradients)
    return counted, od.ImplicitEquation(CountedField(counted), x, 0.5), x.detach()


def products(loop: Callable[[Counted, Counted, Tensor, int], Any]) -> Any:
    """Runs of a Krylov loop on the matrices: (A, Aᵀ, start, units)."""

    def run(device: SecondDevice, matrices: Tensor, units: int) -> Counted:
        counted = Counted(lambda v: (matrices @ v[..., None])[..., 0], device)
        transposed = Counted(lambda v: (matrices.mT @ v[..., None])[..., 0], device)
        loop(counted, transposed, matrices[:, 0], units)
        return Counted(
            counted,
            device,
            counted.calls + transposed.calls,
            counted.launches + transposed.launches,
        )

    return run


def looks(grow: Callable[[Counted, Counted, Tensor], Any], look: Callable[[Any], Any]) -> Any:
    """Runs of so many looks at one factorisation."""

    def run(device: SecondDevice, matrices: Tensor, units: int) -> Counted:
        counted = Counted(lambda v: (matrices @ v[..., None])[..., 0], device)
        transposed = Counted(lambda v: (matrices.mT @ v[..., None])[..., 0], device)
        factorization = grow(counted, transposed, matrices[:, 0])
        device.clear()
        for _ in range(units):
            look(factorization)
        return Counted(counted, device)

    return run


def schur(dimension: int, products_of: Callable[[int], int]) -> Any:
    """Runs of Krylov–Schur to a number of products, without convergence."""
    wanted = Wanted(2, torch.abs, lambda values: 0 * values.abs().amax(1, keepdim=True))
    return products(
        lambda a, _, start, units: krylov_schur(
            a, start, wanted, dimension=dimension, max_products=products_of(units)
        )
    )


def inverted(a: Counted, transposed: Counted, start: Tensor, units: int) -> Any:
    """Davidson to so many dimensions; the loose solves are one product each here."""
    return smallest_singular_triplets(a, transposed, lambda r: transposed(r), start, 1, 0.0, units)


FIXED: dict[str, Any] = {"rtol": 0.0, "keep_last": True}
LOOPS = (
    Loop(
        "FixedPoint",
        "forward",
        "iteration",
        solve(lambda n: od.FixedPoint(max_iterations=n, **FIXED)),
        12,
        20,
    ),
    Loop(
        "Anderson(5)",
        "forward",
        "iteration",
        solve(lambda n: od.Anderson(max_iterations=n, **FIXED)),
        12,
        20,
    ),
    Loop("Auto, first stage", "forward", "solve", solve(lambda n: Repeated(n)), 2, 4),
    Loop(
        "GradientDescent",
        "forward",
        "iteration",
        solve(lambda n: od.GradientDescent(steps=n, rtol=0.0)),
        12,
        20,
    ),
    Loop(
        "NewtonKrylov",
        "forward",
        "step",
        solve(lambda n: od.NewtonKrylov(max_iterations=n, max_inner=3, **FIXED)),
        4,
        8,
    ),
    Loop(
        "FixedPoint, recorded",
        "forward",
        "iteration",
        solve(lambda n: od.FixedPoint(max_iterations=n, **FIXED), od.UnrolledAdjoint()),
        12,
        20,
    ),
    Loop(
        "Anderson(5), recorded",
        "forward",
        "iteration",
        solve(lambda n: od.Anderson(max_iterations=n, **FIXED), od.UnrolledAdjoint()),
        12,
        20,
    ),
    Loop(
        "FixedPoint, recorded",
        "backward",
        "iteration",
        backward(
            lambda n: od.FixedPoint(max_iterations=n, **FIXED), lambda n: od.UnrolledAdjoint()
        ),
        12,
        20,
    ),
    Loop(
        "PhantomAdjoint",
        "backward",
        "iteration",
        backward(lambda n: od.FixedPoint(max_iterations=20), lambda n: od.PhantomAdjoint(n)),
        2,
        4,
    ),
    Loop(
        "ImplicitAdjoint",
        "backward",
        "product",
        backward(
            lambda n: od.FixedPoint(), lambda n: od.ImplicitAdjoint(1e-15, n, on_failure="record")
        ),
        8,
        16,
    ),
    Loop("gmres", "forward", "product", products(lambda a, _, b, n: gmres(a, b, 0.0, n)), 8, 16),
    Loop(
        "gmres",
        "forward",
        "cycle of 8",
        products(lambda a, _, b, n: gmres(a, b, 0.0, 8 * n, 8)),
        2,
        4,
    ),
    Loop(
        "arnoldi",
        "forward",
        "product",
        products(lambda a, _, start, n: arnoldi(a, start, n)),
        8,
        16,
    ),
    Loop(
        "lanczos",
        "forward",
        "product",
        products(lambda a, _, start, n: lanczos(a, start, n)),
        8,
        16,
    ),
    Loop(
        "golub_kahan",
        "forward",
        "pair of products",
        products(lambda a, t, start, n: golub_kahan(a, t, start, n)),
        8,
        16,
    ),
    Loop("lanczos", "forward", "look", looks(lambda a, t, x: lanczos(a, x, 8), lanczos_ritz), 1, 2),
    Loop(
        "golub_kahan",
        "forward",
        "look",
        looks(lambda a, t, x: golub_kahan(a, t, x, 8), lambda f: bidiagonal_ritz(f, 2)),
        1,
        2,
    ),
    Loop("krylov_schur", "forward", "8 products and a look", schur(64, lambda n: 8 * n), 2, 4),
    Loop(
        "krylov_schur",
        "forward",
        "14 products, 2 looks, a restart",
        schur(30, lambda n: 30 + 14 * n),
        2,
        4,
    ),
    Loop("Davidson", "forward", "dimension", products(inverted), 4, 8),
)


@dataclasses.dataclass(frozen=True)
class Repeated:
    """So many solves by Auto, each of which its first stage finishes."""

    times: int

    def solve(self, equation: od.ImplicitEquation, x: Tensor) -> None:
        """Solve so often."""
        for _ in range(self.times):
            od.Auto(rtol=1e-8).solve(equation, x)


if __name__ == "__main__":
    main()
