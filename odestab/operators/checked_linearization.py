"""Products with ∂F that are checked when they are made, and again while they are used."""

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import forward_ad

from odestab.fields.vector_field import AbstractVectorField, Linearization, linearize, over_tangents
from odestab.one_thread import ONE_THREAD, forward_mode, jvp

# products; the first one is repeated after 2, 4, 8, …, then after every so many
LONGEST_UNCHECKED = 64
STATELESS = "field must be a differentiable function of the state alone"

Product = Callable[[Tensor], Tensor]


class _WrongProduct(Exception):
    """A path's product is not what it must be; the message says how."""


def checked_linearization(
    field: AbstractVectorField, x: Float[Tensor, "batch *event"]
) -> Linearization:
    """∂F at x by the first path whose products are right, and are so again the second time.

    `torch.func.linearize` keeps constants of its trace, which a layer that works in place changes
    at each product (PyTorch issue 107538), and a structure that is known in advance may not be the
    one that is evaluated. So the paths are, in this order: the field's own, `torch.func.linearize`
    with a cached `vjp`, and derivatives taken anew at each product. A random product by each must
    be the one that is taken anew, and the adjoint of one in reverse mode. Both are then repeated
    while they are used.

    The check costs one product taken anew and two by the path in either mode when it is made, later
    one product after 2, 4, 8, 16, 32 and every further 64. A cast or a cut of the linearisation is
    held against the same products in the same way, and after its first use.

    Args:
        field: f; with its split, F is what is differentiated.
        x: the state.

    Raises:
        ValueError: if two products at one state differ by more than rounding, forward and reverse
            mode do not agree, or F changes where its derivative is zero: F is then no
            differentiable function of the state alone. Products raise it too while they are used.
    """
    x = x.detach()
    with ONE_THREAD:  # another thread's derivatives must not enter a trace
        check = _Check.of(field, x)
        problem = ""
        paths: tuple[Callable[[Tensor], Linearization], ...] = (
            field.linearize,
            lambda x: linearize(field.unsplit, x),
            lambda x: derivatives_anew(field.unsplit, x, check.v)[0],
        )
        for path in paths:
            try:
                with _only_wrong_products():
                    candidate = path(x)
                    # The graph that reverse mode keeps is as large as a training step's: the check
                    # uses one that goes when it is done.
                    return check.watched(
                        candidate, path(x) if candidate.path == "torch.func" else candidate
                    )
            except _WrongProduct as error:
                problem = str(error)
    raise ValueError(f"{STATELESS}, got {problem}")


def derivatives_anew(
    function: Product, x: Float[Tensor, "batch *event"], v: Float[Tensor, "batch *event"]
) -> tuple[Linearization, Tensor]:
    """A linearisation that keeps nothing, and ∂F v.

    It is forward mode at each product, or reverse mode twice where F has no forward mode.
    """

    def functional(v: Tensor) -> Tensor:
        with torch.no_grad():
            return jvp(function, x, v)[1]

    def plain(v: Tensor) -> Tensor:  # torch.func refuses a function that changes a buffer
        with forward_mode(), torch.no_grad(), forward_ad.dual_level():
            tangent = forward_ad.unpack_dual(function(forward_ad.make_dual(x, v))).tangent
        return torch.zeros_like(v) if tangent is None else tangent

    def twice_reverse(v: Tensor) -> Tensor:  # u ↦ ∂Fᵀ u is linear, and its transpose is ∂F
        pull = torch.func.vjp(function, x)[1]
        return torch.func.vjp(lambda u: pull(u)[0], torch.zeros_like(x))[1](v)[0].detach()

    rmv = functools.partial(_pulled_back, function, x)
    paths: dict[str, Product] = {
        "torch.func.jvp": functional,
        "torch.autograd": plain,
        "double vjp": twice_reverse,
    }
    problem = _WrongProduct()
    for path, product in paths.items():
        try:
            with _only_wrong_products():
                image = product(v)
        except _WrongProduct as error:
            problem = error
        else:
            if path == "torch.autograd":  # which no transform takes
                return Linearization(functools.partial(_one_by_one, product, x), rmv, path), image
            tangents = over_tangents(lambda: product, x)  # noqa: B023 -- the loop ends here
            return Linearization(tangents, rmv, path), image
    raise problem


def _pulled_back(function: Product, x: Tensor, u: Tensor) -> Tensor:
    """∂Fᵀ u from an evaluation of F that is recorded for it alone."""
    with torch.enable_grad():
        primal = x.detach().requires_grad_()
        image = function(primal)
    if not image.requires_grad:
        return torch.zeros_like(u)
    cotangents = u.reshape(-1, *x.shape)
    (product,) = torch.autograd.grad(
        image, primal, cotangents, is_grads_batched=True, materialize_grads=True
    )
    return product.reshape(u.shape)


def _one_by_one(product: Product, x: Tensor, v: Tensor) -> Tensor:
    """A product for any number of leading axes of tangents, one after the other."""
    return torch.stack([product(tangent) for tangent in v.reshape(-1, *x.shape)]).reshape(v.shape)


@contextlib.contextmanager
def _only_wrong_products() -> Iterator[None]:
    """What torch cannot differentiate or trace is a wrong product; lack of memory is not."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise _WrongProduct(" ".join(str(error).split())) from error


@dataclasses.dataclass(frozen=True, eq=False)
class _Check:
    """What the products of every path must be.

    Attributes:
        project: a copy with zeros on padding, where a path may leave anything.
        v, u: random directions on the real tokens.
        image: ∂F v by a path that keeps nothing.
        rtol: how far a right product may be from it, relative to the larger one.
    """

    project: Product
    v: Tensor
    u: Tensor
    image: Tensor
    rtol: float

    @classmethod
    def of(cls, field: AbstractVectorField, x: Tensor) -> "_Check":
        v, u = (field.project(_normal(x, seed)) for seed in (0, 1))
        eps = torch.finfo(x.dtype).eps
        try:
            image = derivatives_anew(field.unsplit, x, v)[1]
        except _WrongProduct:
            # torch cannot differentiate F, whose field then must know its derivative.
            image = torch.zeros_like(x)
        if bool(image.any()):
            return cls(field.project, v, u, image, eps**0.5)
        # A product of zero may be right, or a derivative that torch did not see: a difference, of
        # error eps^(2/3) times the curvature, decides.
        return cls(field.project, v, u, _central_difference(field, x, v), eps**0.25)

    def watched(self, candidate: Linearization, spare: Linearization) -> Linearization:
        """The candidate, its products repeated while they are used; `spare`, the same, is checked
        in reverse mode.

        Raises:
            _WrongProduct: if they are not right.
        """
        image = self.project(candidate.mv(self.v))
        if (gap := _gap(image, self.image)) > self.rtol:
            raise _WrongProduct(f"two products with its derivative that differ by {gap:.1e}")
        forward = _First(self.project, self.v, image)
        reverse = _First(self.project, self.u, self.project(spare.rmv(self.u)))
        # A trace that keeps what the layer changes in place is right once.
        forward.require_again(candidate.mv, 1)
        if (gap := self._adjoint_gap(reverse.image)) > self.rtol:
            raise _WrongProduct(f"forward and reverse products that differ by {gap:.1e}")
        reverse.require_again(spare.rmv, 1)
        return _repeated(candidate, forward, reverse)

    def _adjoint_gap(self, pulled: Tensor) -> float:
        """The largest |⟨u, ∂F v⟩ − ⟨∂Fᵀ u, v⟩| of an example, relative to the norms of the
        factors.
        """
        pulled, image, finite = _alike(pulled, self.image)
        u, v = (_wide(probe).flatten(1) for probe in (self.u, self.v))
        difference = ((u * image).sum(1) - (pulled * v).sum(1)).abs()
        size = torch.maximum(u.norm(dim=1) * image.norm(dim=1), pulled.norm(dim=1) * v.norm(dim=1))
        return _largest(difference, size, finite)


def _repeated(linearization: Linearization, forward: "_First", reverse: "_First") -> Linearization:
    """The same products, repeated while they are used; those of a cast or a cut of it too, against
    the same first ones, cast or cut.
    """
    own_cast = linearization.cast
    own_take = linearization.take

    def cast(dtype: torch.dtype) -> Linearization:
        assert own_cast is not None
        return _repeated(own_cast(dtype), forward.cast(dtype), reverse.cast(dtype))

    def take(examples: Tensor) -> Linearization:
        assert own_take is not None
        return _repeated(own_take(examples), forward.take(examples), reverse.take(examples))

    return dataclasses.replace(
        linearization,
        mv=forward.repeated(linearization.mv),
        rmv=reverse.repeated(linearization.rmv),
        cast=cast if own_cast else None,
        take=take if own_take else None,
    )


def _normal(x: Tensor, seed: int) -> Tensor:
    return torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(seed)).to(
        x.device
    )


def _central_difference(field: AbstractVectorField, x: Tensor, v: Tensor) -> Tensor:
    with torch.no_grad():
        # eps^(1/3) of the length balances the rounding of a central difference and its truncation.
        step = torch.finfo(x.dtype).eps ** (1 / 3) * (x.norm() / v.norm().clamp(min=1)).clamp(
            min=1e-3
        )
        return (field.unsplit(x + step * v) - field.unsplit(x - step * v)) / (2 * step)


@dataclasses.dataclass(frozen=True, eq=False)
class _First:
    """A product's first image, which it must give again while it is used.

    Attributes:
        project: as in `_Check`.
        probe: a tangent.
        image: its image on the real tokens.
        rtol: by how much it may differ then, relative to the larger one, where that is more than
            rounding.
        derived: the product is a cast or a cut of one that was checked, and was not itself: it is
            repeated after its first use too.
    """

    project: Product
    probe: Tensor
    image: Tensor
    rtol: float = 0.0
    derived: bool = False

    def cast(self, dtype: torch.dtype) -> "_First":
        """That of the product in another precision, which rounds in its own way."""
        # The coarser of both precisions decides how alike two products can be.
        rounding = max(torch.finfo(kind).eps for kind in (dtype, self.image.dtype))
        return dataclasses.replace(
            self,
            probe=self.probe.to(dtype),
            image=self.image.to(dtype),
            rtol=max(self.rtol, rounding**0.5),
            derived=True,
        )

    def take(self, examples: Tensor) -> "_First":
        """That of the product for some of the examples."""
        whole = self.probe.shape

        def project(v: Tensor) -> Tensor:
            among_all = v.new_zeros(whole).index_copy(0, examples, v)
            return self.project(among_all).index_select(0, examples)

        return dataclasses.replace(
            self,
            project=project,
            probe=self.probe[examples],
            image=self.image[examples],
            derived=True,
        )

    def repeated(self, product: Product) -> Product:
        """The product, repeated after some of its uses."""
        uses = itertools.count(1)  # one step for all threads

        def apply(v: Tensor) -> Tensor:
            image = product(v)
            # After 2, 4, 8, … uses, as a product may go wrong early or late, and then seldom.
            used = next(uses)
            seldom = used % LONGEST_UNCHECKED == 0
            doubling = used < LONGEST_UNCHECKED and used.bit_count() == 1
            if seldom or (doubling and used > 1) or (self.derived and used == 1):
                try:
                    self.require_again(product, used)
                except _WrongProduct as error:
                    raise ValueError(f"{STATELESS}, got {error}") from None
            return image

        return apply

    def require_again(self, product: Product, used: int) -> None:
        """Raise _WrongProduct unless the image is what it was, up to rounding."""
        gap = _gap(self.project(product(self.probe)), self.image)
        if gap > max(1e3 * torch.finfo(self.image.dtype).eps, self.rtol):
            raise _WrongProduct(
                f"another product with its derivative after {used} of them, by {gap:.1e}"
            )


def _gap(image: Tensor, expected: Tensor) -> float:
    """The largest difference of an example, relative to the larger of the two images.

    Where nothing finite is expected there is none.
    """
    image, expected, finite = _alike(image, expected)
    size = torch.maximum(image.norm(dim=1), expected.norm(dim=1))
    return _largest((image - expected).norm(dim=1), size, finite)


def _alike(image: Tensor, expected: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Two images flattened and divided by the largest entry of the pair, and where finite."""
    image = _wide(image).flatten(1)
    expected = _wide(expected).flatten(1)
    finite = expected.isfinite().all(1)
    # Squares of large entries overflow.
    scale = torch.maximum(image.abs().amax(1), expected.abs().amax(1))[:, None]
    scale = torch.where(scale > 0, scale, 1.0)
    return image / scale, expected / scale, finite


def _largest(difference: Tensor, size: Tensor, counts: Tensor) -> float:
    """The largest ratio among the examples that count; NaN is as large as can be."""
    ratio = torch.where(difference == 0, 0.0, difference / size).nan_to_num(torch.inf)
    return float(torch.where(counts, ratio, 0.0).max())


def _wide(image: Tensor) -> Tensor:
    """In which norms and inner products of half precision do not round much."""
    return image.to(torch.promote_types(image.dtype, torch.float32))
