"""Tables of a run of full depth: pseudospectra, densities, worst directions, sub-layers,
refinement, Lyapunov exponents.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class NonNormality:
    """How far one layer's Jacobian J is from normal, on one short text, from its dense matrix of
    dimension n.

    Attributes:
        layer: index from 0.
        text: index of the text.
        eigenvalues: `(n,)` complex.
        re: `(m,)`, grid of z in units of the eigenvalues λ.
        im: `(k,)`, from 0: J is real, so the lower half mirrors the upper one.
        sigma_min: `(k, m)`, σ_min(zI − J); the ε-pseudospectrum is where it is ≤ ε.
        boundary: `(angles,)` complex, the boundary of the numerical range, once around.
        frobenius: ‖J‖_F.
        henrici: Henrici's departure from normality dep(J).
        spectral_abscissa: max Re λ.
        logarithmic_norm: μ₂(J), the numerical abscissa.
        epsilons: `(e,)`, the ε of the next two.
        pseudospectral_abscissa: `(e,)`, max Re z over the ε-pseudospectrum.
        pseudospectral_radius: `(e,)`, max |z + 1| over it: the radius of the explicit step E = I +
            J at h = 1.
        extremum_kind: "exact" or "bound" (a lower bound, found by ascent).
        kreiss: discrete Kreiss constant of E/max(1, ρ(E)), E = I + J.
        kreiss_scale: max(1, ρ(E)).
        kreiss_kind: "exact" or "bound" (a lower bound).
    """

    layer: int
    text: int
    eigenvalues: np.ndarray
    re: np.ndarray
    im: np.ndarray
    sigma_min: np.ndarray
    boundary: np.ndarray
    frobenius: float
    henrici: float
    spectral_abscissa: float
    logarithmic_norm: float
    epsilons: np.ndarray
    pseudospectral_abscissa: np.ndarray
    pseudospectral_radius: np.ndarray
    extremum_kind: str
    kreiss: float
    kreiss_scale: float
    kreiss_kind: str


@dataclasses.dataclass(frozen=True)
class PseudospectrumBound:
    """Inner bounds of one layer's pseudospectra on texts too long for a dense matrix.

    Attributes:
        layer: index from 0.
        texts: their indices.
        re: `(m,)`.
        im: `(k,)`, from 0.
        sigma_min: `(texts, k, m)`, upper bounds of σ_min(zI − J) from a Krylov space: the true
            ε-pseudospectrum is at least as large.
        boundary: `(texts, angles)` complex, the numerical range; points of it, so its convex hull
            is an inner bound too.
        converged: `(texts, angles)`, the boundary points' residuals are within tolerance.
        henrici_bound: `(texts,)`, estimated lower bound of dep(J)/‖J‖_F.
    """

    layer: int
    texts: tuple[int, ...]
    re: np.ndarray
    im: np.ndarray
    sigma_min: np.ndarray
    boundary: np.ndarray
    converged: np.ndarray
    henrici_bound: np.ndarray


@dataclasses.dataclass(frozen=True)
class Density:
    """A spectral density of one layer by stochastic Lanczos quadrature.

    Attributes:
        layer: index from 0.
        of: "gram" (∂Fᵀ∂F, F = id + J the layer, so its nodes are squared singular values) or
            "symmetric" ((J + Jᵀ)/2).
        points: `(points,)`, where the density is evaluated, one grid for all texts.
        density: `(texts, points)`, per unit, integrating to 1.
        error: `(texts, points)`, standard error over the random probes.
    """

    layer: int
    of: str
    points: np.ndarray
    density: np.ndarray
    error: np.ndarray


@dataclasses.dataclass(frozen=True)
class Directions:
    """Where in a text the worst perturbation of one step sits.

    Attributes:
        layer: index from 0.
        step_size: h.
        entering: method → `(texts, tokens)`, share of the squared norm of the worst input direction
            on each token; NaN beyond a text's end.
        leaving: the same of the output direction.
    """

    layer: int
    step_size: float
    entering: dict[str, np.ndarray]
    leaving: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class SublayerGrowth:
    """One step of the attention half or of the feed-forward half of a layer, each taken as a layer
    of its own.

    Attributes:
        layer: index from 0.
        half: "attention" or "feed_forward".
        step_size: h.
        logarithmic_norm: μ₂ of the half's Jacobian, `(texts,)`.
        worst: method → largest singular value of the step's derivative, `(texts,)`.
        converged: "logarithmic_norm", "explicit" or "implicit" → `(texts,)`.
    """

    layer: int
    half: str
    step_size: float
    logarithmic_norm: np.ndarray
    worst: dict[str, np.ndarray]
    converged: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Refinement:
    """The step-size refinement control of one layer: one step of h, two of h/2, four of h/4.

    Attributes:
        layer: index from 0.
        step_size: h, the time that all of them cover.
        parts: `(parts,)`, into how many steps it is cut.
        worst: method → worst growth over the whole time, `(texts, parts)`.
        converged: method → the same shape.
        flow: σ_max(e^{hJ}) with J at the start, `(texts,)`: what vanishing steps of the linearised
            field tend to.
    """

    layer: int
    step_size: float
    parts: np.ndarray
    worst: dict[str, np.ndarray]
    converged: dict[str, np.ndarray]
    flow: np.ndarray


@dataclasses.dataclass(frozen=True)
class Exponents:
    """Finite-time Lyapunov exponents of the whole stack under one method.

    Attributes:
        method: "explicit" or "implicit".
        step_size: h.
        values: `(texts, k)`, (1/L) log σ_i of the product of step derivatives, nats per layer,
            largest first.
        converged: the same shape.
    """

    method: str
    step_size: float
    values: np.ndarray
    converged: np.ndarray
