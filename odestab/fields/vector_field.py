"""Vector fields: f of dx/dt = f(x), one independent system per example of a batch."""

import abc
import dataclasses
import functools
import math
import warnings
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from odestab.one_thread import forward_mode

FIELD_KINDS = ("increment", "outer")


@dataclasses.dataclass(frozen=True, eq=False)
class Linearization:
    """Products with ∂F at a state, for any number of leading axes of tangents.

    Attributes:
        mv: v ↦ ∂F v.
        rmv: u ↦ ∂Fᵀ u.
        path: which code computes them: "analytic"; "torch.func", a trace that is kept; or
            derivatives taken anew at each product, in forward mode ("torch.func.jvp",
            "torch.autograd") or by reverse mode twice ("double vjp").
        cast: dtype ↦ the same in another precision; None where that is not known.
        take: indices ↦ the same for some of the examples; None where that is not known.

    >>> f = od.LinearVectorField(torch.tensor([[0.0, 1.0], [0.0, 0.0]]).double())
    >>> derivative = f.linearize(torch.zeros(1, 2).double())
    >>> v = torch.tensor([[2.0, 3.0]]).double()
    >>> derivative.mv(v).tolist(), derivative.rmv(v).tolist()  # A v, Aᵀ v
    ([[3.0, 0.0]], [[0.0, 2.0]])
    """

    mv: Callable[[Tensor], Tensor]
    rmv: Callable[[Tensor], Tensor]
    path: str
    cast: Callable[[torch.dtype], "Linearization"] | None = None
    take: Callable[[Tensor], "Linearization"] | None = None


def linearize(
    function: Callable[[Tensor], Tensor], x: Float[Tensor, "batch *event"]
) -> Linearization:
    """Linearise any function by torch.func, forward and reverse mode, each at first use.

    Nothing here is checked: `Jacobian` does that.
    """

    @functools.cache
    def pushforward() -> Callable[[Tensor], Tensor]:
        with forward_mode(), torch.no_grad(), warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "Attempted to insert a get_attr Node", UserWarning
            )  # harmless, torch's own
            return torch.no_grad()(torch.func.linearize(function, x.detach())[1])

    @functools.cache
    def pullback() -> Callable[[Tensor], Tensor]:
        product = torch.func.vjp(function, x.detach())[1]
        return lambda u: product(u)[0].detach()

    return Linearization(over_tangents(pushforward, x), over_tangents(pullback, x), "torch.func")


def over_tangents(
    product: Callable[[], Callable[[Tensor], Tensor]], x: Float[Tensor, "batch *event"]
) -> Callable[[Tensor], Tensor]:
    """A product, made at first use, for any number of leading axes of tangents at x.

    What is drawn at random is the same for all tangents.
    """

    def apply(v: Tensor) -> Tensor:
        if v.ndim == x.ndim:
            return product()(v)
        return torch.func.vmap(product(), randomness="same")(v.reshape(-1, *x.shape)).reshape(
            v.shape
        )

    return apply


class AbstractVectorField(abc.ABC):
    """A vector field f on states of shape `(batch, ...)`.

    Example b of f(x) depends on example b of x alone. A subclass needs only `__call__`. It may also
    declare

    * `split`, a constant c with f(x) = F(x) + c·x (Mathematics, section 1). One-step methods and
      solvers treat the linear part exactly.
    * `mask`, boolean `(batch, tokens)` for states `(batch, tokens, hidden)`, True on real tokens.
      Rows of padding are no part of the state: f must return zeros there. None means that every
      entry is real.

    >>> class Logistic(od.AbstractVectorField):
    ...     def __call__(self, x):
    ...         return x * (1 - x)
    >>> od.Jacobian(Logistic(), torch.tensor([[1.0]]).double()).dense()  # 1 − 2x at rest
    [tensor([[-1.]], dtype=torch.float64)]
    """

    split: float = 0.0
    mask: Bool[Tensor, "batch tokens"] | None = None

    @abc.abstractmethod
    def __call__(self, x: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch *event"]:
        """f(x)."""

    def unsplit(self, x: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch *event"]:
        """F(x) = f(x) − c·x. Override it where F is what is computed and f what is derived."""
        return self(x) - self.split * x if self.split else self(x)

    def linearize(self, x: Float[Tensor, "batch *event"]) -> Linearization:
        """∂F at x; a field that knows a faster way than automatic differentiation overrides it."""
        return linearize(self.unsplit, x)

    def take(self, examples: Int[Tensor, " chosen"]) -> "AbstractVectorField | None":
        """The same field for some examples of its batch; None, as here, where that is not known."""
        return None

    def project(self, x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """P x: a copy with zeros on padding; leading axes before `batch` are allowed."""
        return x if self.mask is None else x.masked_fill(~self.mask[..., None], 0.0)

    def sizes(self, x: Float[Tensor, "batch *event"]) -> Float[Tensor, " batch"]:
        """The dimension of each example's state: real tokens × hidden size."""
        if self.mask is None:
            return x.new_full((x.shape[0],), math.prod(x.shape[1:]))
        return self.mask.sum(1).to(x.dtype) * math.prod(x.shape[2:])

    def rms(self, x: Float[Tensor, "batch *event"]) -> Float[Tensor, " batch"]:
        """‖x‖ / √(real entries), per example; 0 for an example without real tokens."""
        return self.project(x).flatten(1).norm(dim=1) / self.sizes(x).clamp(min=1).sqrt()


@dataclasses.dataclass(frozen=True, eq=False)
class AbstractWrappedField(AbstractVectorField):
    """A field evaluated in another way: split, mask and derivative are those of the field inside.

    Attributes:
        field: the field inside.
    """

    field: AbstractVectorField

    @property
    def split(self) -> float:  # type: ignore[override]
        """That of the field inside."""
        return self.field.split

    @property
    def mask(self) -> Bool[Tensor, "batch tokens"] | None:  # type: ignore[override]
        """That of the field inside."""
        return self.field.mask

    def linearize(self, x: Float[Tensor, "batch *event"]) -> Linearization:
        """That of the field inside."""
        return self.field.linearize(x)

    def take(self, examples: Int[Tensor, " chosen"]) -> "AbstractWrappedField | None":
        """The same around the cut field."""
        field = self.field.take(examples)
        return None if field is None else dataclasses.replace(self, field=field)


@dataclasses.dataclass(frozen=True, eq=False)
class LayerVectorField(AbstractVectorField):
    """The vector field of a layer F: `increment` f = F − id (split −1), or `outer` f = F (split 0).

    On `increment`, explicit Euler with h = 1 is the layer itself, bit for bit (Mathematics, section
    1).

    Attributes:
        layer: F, `(batch, tokens, hidden) -> (batch, tokens, hidden)`, with its attention mask
            fixed and without dropout.
        mask: True on real tokens.
        kind: "increment" or "outer".
        analytic: x ↦ a fast linearisation of the layer where its structure is known, or None where
            that does not reproduce it; it has a `take` of its own where it can be cut.

    >>> f, x = od.LayerVectorField(torch.tanh, kind="increment"), torch.ones(1, 3).double()
    >>> torch.equal(f(x), torch.tanh(x) - x), f.split
    (True, -1.0)
    >>> torch.equal(od.ExplicitEuler(1.0).step(f, x).state, torch.tanh(x))
    True
    """

    layer: Callable[[Tensor], Tensor]
    mask: Bool[Tensor, "batch tokens"] | None = None
    kind: str = "increment"
    analytic: Callable[[Tensor], Linearization | None] | None = None

    def __post_init__(self) -> None:
        if self.kind not in FIELD_KINDS:
            raise ValueError(f"field must be one of {', '.join(FIELD_KINDS)}, got {self.kind!r}")

    def __repr__(self) -> str:
        """The layer's class and the kind: its weights would fill screens."""
        layer = getattr(self.layer, "module", self.layer)
        name = getattr(layer, "__name__", type(layer).__name__)
        return f"{type(self).__name__}({name}, kind={self.kind!r})"

    @property
    def split(self) -> float:  # type: ignore[override]
        """c = −1 for `increment`, 0 for `outer`."""
        return split_of(self.kind)

    def take(self, examples: Int[Tensor, " chosen"]) -> "LayerVectorField | None":
        """The same layer for some examples, where the layer itself can be cut."""
        cut = getattr(self.layer, "take", None)
        layer = None if cut is None else cut(examples)
        if layer is None:
            return None
        mask = None if self.mask is None else self.mask[examples]
        cut_analytic = getattr(self.analytic, "take", None)
        analytic = None if cut_analytic is None else cut_analytic(examples)
        return dataclasses.replace(self, layer=layer, mask=mask, analytic=analytic)

    def unsplit(self, x: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch *event"]:
        """F(x), the layer, with zeros on padding."""
        return self.project(self.layer(x))

    def linearize(self, x: Float[Tensor, "batch *event"]) -> Linearization:
        """∂F at x by the analytic path where there is one, else by automatic differentiation."""
        own = self.analytic(x.detach()) if self.analytic else None
        return own or linearize(self.unsplit, x)

    def __call__(self, x: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch *event"]:
        """f(x) = F(x) + c·x, zeros on padding."""
        return self.project(self.layer(x) + self.split * x) if self.split else self.unsplit(x)


@dataclasses.dataclass(frozen=True, eq=False)
class LinearVectorField(AbstractVectorField):
    """f(x) = A x on the flattened state: the field with a known answer to every question.

    Attributes:
        matrix: A, `(n, n)` for all examples or `(batch, n, n)` for one each.
        split: the constant c that the field declares; it changes how a step is computed, never f.
        mask: True on real tokens; A must not couple real tokens with padding.

    Raises:
        ValueError: if the matrix is not square.

    >>> f = od.LinearVectorField(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]).double())
    >>> f(torch.tensor([[1.0, 2.0]]).double()).tolist()
    [[2.0, -1.0]]
    """

    matrix: Float[Tensor, "*batch n n"]
    split: float = 0.0
    mask: Bool[Tensor, "batch tokens"] | None = None

    def __post_init__(self) -> None:
        if self.matrix.ndim not in (2, 3) or self.matrix.shape[-1] != self.matrix.shape[-2]:
            raise ValueError(
                f"matrix must be (n, n) or (batch, n, n), got {tuple(self.matrix.shape)}"
            )

    def linearize(self, x: Float[Tensor, "batch *event"]) -> Linearization:
        """A − cI itself, wherever the state is: nothing is traced."""
        matrix = self.matrix.detach()
        event = x.ndim - 1

        def times(matrix: Tensor) -> Callable[[Tensor], Tensor]:
            def apply(v: Tensor) -> Tensor:
                image = (matrix @ v.flatten(-event)[..., None]).view_as(v)
                return self.project(image - self.split * v if self.split else image)

            return apply

        return Linearization(times(matrix), times(matrix.mT), "analytic")

    def take(self, examples: Int[Tensor, " chosen"]) -> "LinearVectorField":
        """The matrices of some examples."""
        mask = None if self.mask is None else self.mask[examples]
        shared = self.matrix.ndim == 2 or len(self.matrix) == 1
        return dataclasses.replace(
            self, matrix=self.matrix if shared else self.matrix[examples], mask=mask
        )

    def __call__(self, x: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch *event"]:
        """A x."""
        matrix = self.matrix if self.matrix.ndim == 3 else self.matrix[None]
        return self.project((matrix @ x.flatten(1)[..., None])[..., 0].view_as(x))


def split_of(kind: str) -> float:
    """c of a layer's field, by its kind: f(x) = F(x) + cx."""
    return -1.0 if kind == "increment" else 0.0
