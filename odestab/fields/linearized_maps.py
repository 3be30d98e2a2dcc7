"""The small maps of a transformer layer as plain records: affine maps, norms, rotary positions.

Each that is not linear in the state is linearised once: a value, and the products with its
derivative.
"""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from odestab.fields.shared_copies import SharedCopies


@dataclasses.dataclass(frozen=True, eq=False)
class Affine:
    """x ↦ x Wᵀ + b, W `(out, in)`; None is no b."""

    weight: Float[Tensor, "out in"]
    bias: Float[Tensor, " out"] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """x Wᵀ + b."""
        return functional.linear(x, self.weight, self.bias)

    def to(self, dtype: torch.dtype) -> "Affine":
        """The same in another precision; all that ask for it while it lives share one copy."""
        return Affine(
            _shared_cast(self.weight, dtype),
            None if self.bias is None else _shared_cast(self.bias, dtype),
        )


_CASTS: SharedCopies[Tensor] = SharedCopies()  # by weight and precision


def _shared_cast(weight: Tensor, dtype: torch.dtype) -> Tensor:
    if weight.dtype == dtype:
        return weight
    return _CASTS.get(weight, dtype, [weight], lambda: weight.detach().to(dtype))


@dataclasses.dataclass(frozen=True, eq=False)
class Norm:
    """LayerNorm, γ (x − x̄)/σ + β, or RMSNorm, γ x/rms(x) + β.

    Attributes:
        gain: γ, or one γ for each head, `(heads, head size)`.
        shift: β; None is no β.
        epsilon: what is added to the mean square.
        centered: subtract the mean x̄, as LayerNorm does and RMSNorm does not.
    """

    gain: Float[Tensor, "*heads hidden"]
    shift: Float[Tensor, "*heads hidden"] | None
    epsilon: float
    centered: bool = True

    def linearize(self, x: Tensor) -> tuple[Tensor, "LinearizedNorm"]:
        """The norm of x and its linearisation."""
        centered = x - x.mean(-1, keepdim=True) if self.centered else x
        inverse = (centered.square().mean(-1, keepdim=True) + self.epsilon).rsqrt()
        normalized = centered * inverse
        value = self.gain * normalized
        value = value if self.shift is None else value + self.shift
        return value, LinearizedNorm(normalized, self.gain * inverse, self.centered)


@dataclasses.dataclass(frozen=True, eq=False)
class LinearizedNorm:
    """∂N at a point: γ/σ Π with Π = I − 11ᵀ/H − x̂x̂ᵀ/H symmetric, of rank H − 2 up to ε.

    RMSNorm's Π = I − x̂x̂ᵀ/H.
    """

    normalized: Tensor  # x̂
    scale: Tensor  # γ/σ
    centered: bool

    def mv(self, t: Tensor) -> Tensor:
        """∂N t."""
        return self._tangential(t).mul_(self.scale)

    def rmv(self, u: Tensor) -> Tensor:
        """∂Nᵀ u."""
        return self._tangential(self.scale * u)

    def _tangential(self, t: Tensor) -> Tensor:
        radial = (self.normalized * t).mean(-1, keepdim=True)
        if not self.centered:
            return torch.addcmul(t, self.normalized, radial, value=-1)
        return (t - t.mean(-1, keepdim=True)).addcmul_(self.normalized, radial, value=-1)


@dataclasses.dataclass(frozen=True, eq=False)
class Rotation:
    """Rotary positions R: the two halves (a, b) of each head turn by an angle θ of their token.

    R (a, b) = (a cos θ − b sin θ, b cos θ + a sin θ) on states `(..., tokens, heads, head size)`. R
    is linear and is its own linearisation.

    Attributes:
        cosine, sine: of the angles, `(1 or batch, tokens, 1, head size)`.
    """

    cosine: Float[Tensor, "batch tokens 1 head_size"]
    sine: Float[Tensor, "batch tokens 1 head_size"]

    def linearize(self, x: Tensor) -> tuple[Tensor, "Rotation"]:
        """R x and R."""
        return self.mv(x), self

    def mv(self, t: Tensor) -> Tensor:
        """R t."""
        half = t.shape[-1] // 2
        image = self.cosine * t
        image[..., :half].addcmul_(self.sine[..., :half], t[..., half:], value=-1)
        image[..., half:].addcmul_(self.sine[..., half:], t[..., :half])
        return image

    def rmv(self, u: Tensor) -> Tensor:
        """Rᵀ u."""
        half = u.shape[-1] // 2
        image = self.cosine * u
        image[..., :half].addcmul_(self.sine[..., half:], u[..., half:])
        image[..., half:].addcmul_(self.sine[..., :half], u[..., :half], value=-1)
        return image
