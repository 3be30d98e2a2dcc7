"""B independent linear maps on states, one per example, known by their products alone."""

import abc
import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Flat = Callable[[Float[Tensor, "batch n"]], Float[Tensor, "batch n"]]


class AbstractOperator(abc.ABC):
    """A linear map A per example, block diagonal over the batch, on the real tokens (P A P).

    A concrete operator has the attribute `like`, a state `(batch, ...)` that gives shape, dtype and
    device, and `mask`.

    >>> class Double(od.AbstractOperator):
    ...     like, mask = torch.zeros(1, 3).double(), None
    ...     mv = rmv = lambda self, v: 2 * v
    >>> od.singular_values(Double()).values
    tensor([[2.]], dtype=torch.float64)
    """

    like: Float[Tensor, "batch *event"]
    mask: Bool[Tensor, "batch tokens"] | None

    @property
    def path(self) -> str | None:
        """Which code computes the products, as `Linearization` names it; None where no derivative
        is behind them.
        """
        return None

    @abc.abstractmethod
    def mv(self, v: Float[Tensor, "*tangents"]) -> Float[Tensor, "*tangents"]:
        """A v; any number of leading axes of tangents."""

    @abc.abstractmethod
    def rmv(self, u: Float[Tensor, "*tangents"]) -> Float[Tensor, "*tangents"]:
        """Aᵀ u; any number of leading axes of cotangents."""

    def project(self, v: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """P v: zeros on padding."""
        return v if self.mask is None else v.masked_fill(~self.mask[..., None], 0.0)

    def tangents(self, v: Float[Tensor, "*tangents"]) -> Float[Tensor, "*tangents"]:
        """v in the operator's precision.

        Raises:
            ValueError: if v is complex or does not end in the shape of a state.
        """
        if v.shape[max(v.ndim - self.like.ndim, 0) :] != self.like.shape or v.is_complex():
            expected = tuple(self.like.shape)
            raise ValueError(
                "tangents must be real of shape (..., "
                f"{', '.join(map(str, expected))}), got {v.dtype} of {tuple(v.shape)}"
            )
        return v.to(self.like.dtype)

    @property
    def sizes(self) -> list[int]:
        """n, the dimension of each example: real tokens × hidden size; 0 for padding alone.

        Raises:
            ValueError: if there is no example with a real entry.
        """
        if not self.like.numel() or (self.mask is not None and not bool(self.mask.any())):
            raise ValueError(
                "batch must hold at least one real entry, got a "
                f"state of shape {tuple(self.like.shape)}"
            )
        if self.mask is None:
            return [math.prod(self.like.shape[1:])] * self.like.shape[0]
        return [tokens * math.prod(self.like.shape[2:]) for tokens in self.mask.sum(1).tolist()]

    def cast(self, dtype: torch.dtype) -> "AbstractOperator":
        """The same map computed in another precision, or rounded to it after each product."""
        if dtype == self.like.dtype:
            return self
        own = self.like.dtype
        return ComposedOperator(
            lambda v: self.mv(v.to(own)).to(dtype),
            lambda u: self.rmv(u.to(own)).to(dtype),
            self.like.to(dtype),
            self.mask,
            parts=(self,),
        )

    def take(self, examples: Int[Tensor, " chosen"]) -> "AbstractOperator":
        """The same map on some of the examples; else the others go along, as zeros."""

        def among_all(product: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
            def apply(v: Tensor) -> Tensor:
                axis = v.ndim - self.like.ndim
                whole = v.new_zeros(*v.shape[:axis], *self.like.shape).index_copy(axis, examples, v)
                return product(whole).index_select(axis, examples)

            return apply

        mask = None if self.mask is None else self.mask[examples]
        return ComposedOperator(
            among_all(self.mv), among_all(self.rmv), self.like[examples], mask, parts=(self,)
        )

    def affine(self, identity: float, factor: float) -> "AbstractOperator":
        """a·P + b·A, with P the projector on the real tokens."""

        def combine(product: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
            return lambda v: torch.add(self.project(identity * v), product(v), alpha=factor)

        return ComposedOperator(
            combine(self.mv),
            combine(self.rmv),
            self.like,
            self.mask,
            rebuild=lambda change: change(self).affine(identity, factor),
            parts=(self,),
        )

    def flat(self, product: Callable[[Tensor], Tensor]) -> Flat:
        """A product on `(K·batch, n)` instead of states, for the Krylov methods."""
        shape = self.like.shape
        return lambda v: product(
            v.reshape(-1, *shape) if v.shape[0] != shape[0] else v.reshape(shape)
        ).reshape(v.shape)

    def random(self, generator: torch.Generator | None = None) -> Float[Tensor, "batch *event"]:
        """Standard normal start vectors.

        Each depends on the seed and the example's own size alone, not on its batch mates.
        """
        # One seed for all examples: each draws by itself, whatever stands beside it.
        seed = int(
            torch.randint(2**62, (), generator=generator or torch.Generator().manual_seed(0))
        )
        v = torch.zeros(self.like.shape, dtype=self.like.dtype).flatten(1)
        for example, real in enumerate(self.real_entries()):
            noise = torch.randn(
                len(real), generator=torch.Generator().manual_seed(seed), dtype=self.like.dtype
            )
            v[example, real] = noise
        return v.reshape(self.like.shape).to(self.like.device)

    def dense(self, chunk: int = 32) -> list[Float[Tensor, "n n"]]:
        """The matrix of each example on its real tokens, from n products in chunks of `chunk`."""
        real = self.real_entries()
        n = max(self.sizes)
        columns = [self.like.new_zeros(size, size) for size in self.sizes]
        for first in range(0, n, chunk):
            # Column i of every example at once: examples are independent.
            basis = self.like.new_zeros(min(chunk, n - first), *self.like.shape).flatten(2)
            for example, entries in enumerate(real):
                mine = entries[first : first + chunk]
                basis[torch.arange(len(mine)), example, mine] = 1.0
            image = self.mv(basis.reshape(-1, *self.like.shape)).flatten(2)
            for example, entries in enumerate(real):
                width = min(chunk, max(len(entries) - first, 0))
                # Shorter examples are done before the longest one.
                columns[example][:, first : first + width] = image[:width, example][:, entries].T
        return columns

    def to_scipy(self, example: int) -> Any:
        """A SciPy LinearOperator of one example on its real tokens.

        Every product costs one of the whole batch, two where it is complex.

        Raises:
            ValueError: if there is no such example.
        """
        import scipy.sparse.linalg  # late: it takes as long as all of odestab

        if not 0 <= example < self.like.shape[0]:
            raise ValueError(f"example must be in 0..{self.like.shape[0] - 1}, got {example}")
        real = self.real_entries()[example]

        def product(apply: Callable[[Tensor], Tensor]) -> Callable[[np.ndarray], np.ndarray]:
            def apply_one(vector: np.ndarray) -> np.ndarray:
                if np.iscomplexobj(vector):
                    return np.asarray(apply_one(vector.real) + 1j * apply_one(vector.imag))
                v = self.like.new_zeros(self.like.shape).flatten(1)
                v[example, real] = torch.as_tensor(vector.reshape(-1)).to(v)
                image: np.ndarray = (
                    apply(v.reshape(self.like.shape)).flatten(1)[example, real].cpu().numpy()
                )
                return image

            return apply_one

        dtype = torch.empty(0, dtype=self.like.dtype).numpy().dtype
        return scipy.sparse.linalg.LinearOperator(
            (len(real),) * 2, product(self.mv), product(self.rmv), dtype=dtype
        )

    def real_entries(self) -> list[Tensor]:
        """For each example the positions of its real entries in the flattened state."""
        if self.mask is None:
            return [torch.arange(n) for n in self.sizes]
        real = self.mask[..., None].expand(self.like.shape).flatten(1).cpu()
        return [row.nonzero()[:, 0] for row in real]


@dataclasses.dataclass(frozen=True, eq=False)
class ComposedOperator(AbstractOperator):
    """An operator made of other operators' products; see `affine`, `compose` and `inverse`.

    Attributes:
        product: v ↦ A v, any leading axes of tangents.
        adjoint_product: u ↦ Aᵀ u.
        like: a state of the right shape, dtype and device.
        mask: True on real tokens.
        inverse_of: B where A = B⁻¹: large singular values of A are small ones of B, which is
            cheaper to apply.
        rebuild: a change of operators (a cast, a choice of examples) ↦ this composition of changed
            parts; None where they are not known.
        parts: the operators whose products it is made of.
    """

    product: Callable[[Tensor], Tensor]
    adjoint_product: Callable[[Tensor], Tensor]
    like: Float[Tensor, "batch *event"]
    mask: Bool[Tensor, "batch tokens"] | None
    inverse_of: AbstractOperator | None = None
    rebuild: Callable[[Callable[[AbstractOperator], AbstractOperator]], AbstractOperator] | None = (
        None
    )
    parts: tuple[AbstractOperator, ...] = ()

    @property
    def path(self) -> str | None:
        """Those of its parts, each once."""
        return shared_path(self.parts)

    def cast(self, dtype: torch.dtype) -> AbstractOperator:
        """The same composition of cast operators."""
        return (
            self.rebuild(lambda part: part.cast(dtype))
            if self.rebuild and dtype != self.like.dtype
            else super().cast(dtype)
        )

    def take(self, examples: Int[Tensor, " chosen"]) -> AbstractOperator:
        """The same composition on some of the examples."""
        return (
            self.rebuild(lambda part: part.take(examples))
            if self.rebuild
            else super().take(examples)
        )

    def mv(self, v: Float[Tensor, "*tangents"]) -> Float[Tensor, "*tangents"]:
        """A v."""
        return self.product(self.tangents(v))

    def rmv(self, u: Float[Tensor, "*tangents"]) -> Float[Tensor, "*tangents"]:
        """Aᵀ u."""
        return self.adjoint_product(self.tangents(u))


def shared_path(operators: Iterable[AbstractOperator]) -> str | None:
    """The paths of several operators, each once; None where no derivative is behind them."""
    names = {operator.path for operator in operators} - {None}
    return ", ".join(sorted(map(str, names))) or None
