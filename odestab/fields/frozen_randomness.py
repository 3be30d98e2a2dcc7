"""A random vector field, with dropout for instance, as one function of its state."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from odestab.fields.from_anything import FieldLike, as_field
from odestab.fields.vector_field import (
    AbstractWrappedField,
    Linearization,
    over_tangents,
)
from odestab.one_thread import jvp


@dataclasses.dataclass(frozen=True, eq=False)
class FrozenRandomness(AbstractWrappedField):
    """x ↦ f(x, ω) for one draw ω: a layer with dropout becomes one function of its state.

    A field whose layer draws random numbers is another function at every evaluation. Frozen, it is
    the same one each time. Freeze it once per solve: the solve, its adjoint and the recomputation
    of a checkpoint then see one ω, and the next solve another.

    Every evaluation runs with torch's default generators, of the processor and of the state's
    device, as the draw left them for it, and puts them back where they were. Random numbers from a
    generator of the layer's own are not frozen. One evaluation may not run in two threads at once.
    Under `torch.func.vmap` torch refuses random numbers unless `randomness="same"` is given.

    Attributes:
        field: f.
        states: the generators' states at the start of an evaluation, by device.

    >>> noisy = od.LayerVectorField(torch.nn.Dropout(0.5), kind="outer")
    >>> x = torch.ones(1, 64).double()
    >>> field = od.FrozenRandomness.draw(noisy, x, torch.Generator().manual_seed(0))
    >>> torch.equal(noisy(x), noisy(x)), torch.equal(field(x), field(x))
    (False, True)
    """

    states: tuple[tuple[torch.device, Tensor], ...]

    @classmethod
    def draw(
        cls,
        field: FieldLike,
        x: Float[Tensor, "batch *event"],
        generator: torch.Generator | None = None,
    ) -> "FrozenRandomness":
        """Draw ω.

        Args:
            field: f, whatever `od.field` takes.
            x: a state, for its device.
            generator: where ω comes from, on the processor; None is torch's default one. It
                advances by one number, whatever f draws.
        """
        seed = int(torch.randint(2**63 - 1, (), generator=generator))
        devices = dict.fromkeys((torch.device("cpu"), x.device))
        return cls(
            as_field(field, x),
            tuple(
                (device, torch.Generator(device).manual_seed(seed).get_state())
                for device in devices
            ),
        )

    def __call__(self, x: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch *event"]:
        """f(x, ω)."""
        with self._replayed():
            return self.field(x)

    def unsplit(self, x: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch *event"]:
        """F(x, ω)."""
        with self._replayed():
            return self.field.unsplit(x)

    def linearize(self, x: Float[Tensor, "batch *event"]) -> Linearization:
        """∂F at x.

        Nothing is traced: a trace would draw its random numbers later, from whatever generator it
        finds.
        """
        x = x.detach()

        def pushforward(v: Tensor) -> Tensor:
            with torch.no_grad():
                return jvp(self.unsplit, x, v)[1]

        @functools.cache
        def pullback() -> Callable[[Tensor], tuple[Tensor]]:
            return torch.func.vjp(self.unsplit, x)[1]

        def reverse(u: Tensor) -> Tensor:
            return pullback()(u)[0].detach()

        return Linearization(
            over_tangents(lambda: pushforward, x), over_tangents(lambda: reverse, x), "torch.func"
        )

    def take(self, examples: Int[Tensor, " chosen"]) -> None:
        """None: fewer examples would draw other random numbers."""
        return

    @contextlib.contextmanager
    def _replayed(self) -> Iterator[None]:
        """The generators at ω within, where they were after, also after an error."""
        outer = [_state(device) for device, _ in self.states]
        try:
            for device, state in self.states:
                _restore(device, state)
            yield
        finally:
            for (device, _), state in zip(self.states, outer, strict=True):
                _restore(device, state)


def _state(device: torch.device) -> Tensor:
    return (
        torch.get_rng_state()
        if device.type == "cpu"
        else torch.get_device_module(device).get_rng_state(device)
    )


def _restore(device: torch.device, state: Tensor) -> None:
    if device.type == "cpu":
        torch.set_rng_state(state)
    else:
        torch.get_device_module(device).set_rng_state(state, device)
