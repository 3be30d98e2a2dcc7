"""How far an operator is from normal."""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from odestab.operators.coercion import OperatorLike, as_operator
from odestab.operators.scaling import unit_scaled
from odestab.spectrum import full_spectrum


@dataclasses.dataclass(frozen=True, eq=False)
class HenriciDeparture:
    """Henrici's departure from normality per example, dep(A)² = ‖A‖_F² − Σ|λ|².

    Attributes:
        value: dep(A), or a lower bound of it; NaN where the operator is not finite.
        frobenius: ‖A‖_F, the largest that dep(A) can be.
        error: standard error of `value` where norms were estimated; 0 for dense matrices, whose
            rounding is about √eps·‖A‖_F where dep is small, and more where eigenvalues are
            ill-conditioned.
        matvecs: products of A or Aᵀ with one tangent of the whole batch.
        kind: "exact" (dense LAPACK) or "bound" (an estimated lower bound).
        path: which code computed the products, as `Linearization` names it.

    >>> f = od.LinearVectorField(torch.tensor([[0.0, 3.0], [-3.0, 0.0]]).double())
    >>> departure = od.henrici_departure(od.Jacobian(f, torch.zeros(1, 2).double()))
    >>> bool(departure.value < 1e-7), round(departure.frobenius.item() ** 2, 6)  # it is normal
    (True, 18.0)
    """

    value: Float[Tensor, " batch"]
    frobenius: Float[Tensor, " batch"]
    error: Float[Tensor, " batch"]
    matvecs: int
    kind: str
    path: str | None = None


def henrici_departure(
    operator: OperatorLike,
    *,
    limit: int = 1600,
    probes: int = 16,
    generator: torch.Generator | None = None,
) -> HenriciDeparture:
    """dep(A) = (‖A‖_F² − Σ|λ|²)^½, or an estimated lower bound of it (Henrici 1962).

    All eigenvalues are computed where dense matrices are small enough. Elsewhere the bound is dep²
    ≥ ‖A‖_F² − (‖A‖_F⁴ − ½‖AAᵀ − AᵀA‖_F²)^½ (Elsner and Paardekooper 1987), with both norms
    estimated by random probes (Hutchinson 1990) and the standard error by the jackknife over them.

    Args:
        operator: A, an operator or a matrix of any kind.
        limit: largest dimension for which dense matrices are formed.
        probes: of the estimate, at least 2.
        generator: source of the probes.

    Raises:
        ValueError: if probes < 2.

    >>> f = od.LinearVectorField(torch.tensor([[-1.0, 8.0], [0.0, -2.0]]).double())
    >>> departure = od.henrici_departure(od.Jacobian(f, torch.zeros(1, 2).double()))
    >>> round(departure.value.item(), 6)  # of a triangular matrix: the part above its diagonal
    8.0
    """
    operator = as_operator(operator)
    if probes < 2:
        raise ValueError(f"probes must be at least 2, got {probes}")
    operator, scale = unit_scaled(operator)  # squares of squares follow
    if max(operator.sizes) <= limit:
        frobenius = torch.stack([torch.linalg.matrix_norm(matrix) for matrix in operator.dense()])
        spectrum = full_spectrum(operator, limit)
        sum_of_squares = spectrum.values.abs().square().nan_to_num(0.0).sum(1)
        # Of a normal matrix the difference is rounding, and may be negative.
        departure = (frobenius.square() - sum_of_squares).clamp(min=0).sqrt()
        value = scale * torch.where(spectrum.values[:, 0].isfinite(), departure, torch.nan)
        matvecs = 2 * max(operator.sizes) + 1
        return HenriciDeparture(
            value, scale * frobenius, torch.zeros_like(value), matvecs, "exact", operator.path
        )
    generator = generator or torch.Generator().manual_seed(0)
    v = torch.stack([operator.random(generator) for _ in range(probes)])
    forward = operator.mv(v)
    backward = operator.rmv(v)
    # Expectations over random v: E‖(AAᵀ − AᵀA) v‖² = ‖AAᵀ − AᵀA‖_F², E‖A v‖² = E‖Aᵀ v‖² = ‖A‖_F².
    commutator = (operator.mv(backward) - operator.rmv(forward)).flatten(2).square().sum(2)
    size = (forward.flatten(2).square().sum(2) + backward.flatten(2).square().sum(2)) / 2
    left_out = [_bound(_without(size, i), _without(commutator, i)) for i in range(probes)]
    # The jackknife: √(p − 1) times the spread of the estimates that leave one probe out.
    error = torch.stack(left_out).std(0, correction=0) * (probes - 1) ** 0.5
    value = scale * _bound(size, commutator)
    frobenius = scale * size.mean(0).sqrt()
    return HenriciDeparture(value, frobenius, scale * error, 4 * probes + 1, "bound", operator.path)


def _bound(size: Tensor, commutator: Tensor) -> Tensor:
    """The lower bound from samples of ‖A‖_F² and ‖AAᵀ − AᵀA‖_F², `(probes, batch)`."""
    squared = size.mean(0)
    half = commutator.mean(0) / 2
    return (squared - (squared.square() - half).clamp(min=0).sqrt()).clamp(min=0).sqrt()


def _without(samples: Tensor, i: int) -> Tensor:
    return torch.cat([samples[:i], samples[i + 1 :]])
