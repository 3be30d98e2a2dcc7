"""Tables of every run: spectra, growth over a step, stability regions, propagation."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Curves:
    """Growth of one kind of perturbation through depth.

    Attributes:
        perturbation: "gaussian", "worst", or the kind of an edit ("typo", "synonym", "negation",
            "edit").
        method: "explicit" or "implicit": every layer is one step of it.
        step_size: h.
        size: ‖δ_0‖/‖x_0‖ of a synthetic perturbation; NaN for edits, whose size is what the edit
            makes it.
        measured: ‖x̃_l − x_l‖/‖x̃_0 − x_0‖, `(examples, layers + 1)`.
        predicted: the same from the product of step derivatives.
        converged: `(examples, layers)`, the implicit solves on both paths and the linear solve
            converged (True for explicit).
    """

    perturbation: str
    method: str
    step_size: float
    size: float
    measured: np.ndarray
    predicted: np.ndarray
    converged: np.ndarray


@dataclasses.dataclass(frozen=True)
class LayerSpectrum:
    """Eigenvalues λ of a layer's Jacobian J.

    Attributes:
        layer: index from 0.
        leading: `(examples, k)` complex, the eigenvalues farthest from `center`.
        residuals: `(examples, k)`.
        converged: `(examples, k)`.
        center: all other eigenvalues of example b lie in the disc |λ − center| ≤ |leading[b, −1] −
            center|.
        full: for each short text (4 tokens or so) all its eigenvalues, complex, 1-d.
        full_texts: the indices of those texts.
        outside: `(short texts, step sizes)`, share of the full spectrum outside the lemniscate |1 −
            (hλ)²| = 1, its bulk at λ ≈ −1 excluded.
        bulk: per short text how many eigenvalues are within 1e-3 of −1.
    """

    layer: int
    leading: np.ndarray
    residuals: np.ndarray
    converged: np.ndarray
    center: float
    full: tuple[np.ndarray, ...]
    full_texts: tuple[int, ...]
    outside: np.ndarray
    bulk: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class LayerGrowth:
    """One step of one layer at one step size, per example.

    Attributes:
        layer: index from 0.
        step_size: h.
        logarithmic_norm: μ₂(J), `(examples,)`.
        worst: method → largest singular value of the step's derivative, `(examples,)`.
        spectral: method → max |R(hλ)|, `(examples,)`.
        certain: method → True where the listed eigenvalues settle the maximum, else it is a lower
            bound.
        converged: quantity ("logarithmic_norm", "explicit_worst", "implicit_worst", "eigenvalues")
            → `(examples,)`.
        status: of the implicit solve, an integer per example; names in the run's config under
            "status_names".
        residual: RMS(y − x − hf(y)) where the solve stopped.
        evaluations: of f by the solve.
        advantage: mean of log(‖Eδ‖/‖M⁻¹δ‖) over random δ; positive where the implicit step damps
            more.
        advantage_error: its standard error.
    """

    layer: int
    step_size: float
    logarithmic_norm: np.ndarray
    worst: dict[str, np.ndarray]
    spectral: dict[str, np.ndarray]
    certain: dict[str, np.ndarray]
    converged: dict[str, np.ndarray]
    status: np.ndarray
    residual: np.ndarray
    evaluations: np.ndarray
    advantage: np.ndarray
    advantage_error: np.ndarray


@dataclasses.dataclass(frozen=True)
class LayerSolves:
    """How the implicit step of a layer is solved at the tolerances of fine-tuning, per example.

    Attributes:
        layer: index from 0.
        step_size: h.
        tolerances: `(tolerances,)`, loosest first.
        evaluations: of f, `(examples, tolerances)`.
        converged: `(examples, tolerances)`.
        error: ‖y_tolerance − y‖/‖y − (x + h f(x))‖, `(examples, tolerances)`.
        truncated_advantage: the implicit advantage of k fixed-point iterations as they ran,
            `(examples,)`, in nats.
    """

    layer: int
    step_size: float
    tolerances: np.ndarray
    evaluations: np.ndarray
    converged: np.ndarray
    error: np.ndarray
    truncated_advantage: np.ndarray


@dataclasses.dataclass(frozen=True)
class Region:
    """|R(z)| on a grid of z = hλ.

    Attributes:
        name: "explicit", "implicit", "truncated" (a solver stopped after k iterations) or
            "lemniscate" (|1 − z²|, level 1 is the curve).
        label: what it is, for a legend.
        step_size: h; the region of a truncated solver depends on it.
        re: `(m,)`.
        im: `(n,)`.
        amplification: `(n, m)`.
    """

    name: str
    label: str
    step_size: float
    re: np.ndarray
    im: np.ndarray
    amplification: np.ndarray


@dataclasses.dataclass(frozen=True)
class TruncatedRegion:
    """|R_k(z)| of a solver stopped after k iterations, over the step sizes of the stability map.

    Attributes:
        label: what it is.
        step_sizes: `(steps,)`.
        re: `(m,)`.
        im: `(n,)`, from 0; it is symmetric about the real axis.
        amplification: `(steps, n, m)`.
    """

    label: str
    step_sizes: np.ndarray
    re: np.ndarray
    im: np.ndarray
    amplification: np.ndarray


@dataclasses.dataclass(frozen=True)
class StabilityMap:
    """Spectral growth max |R(hλ)| over layer × step size.

    Attributes:
        method: "explicit" or "implicit".
        layers: `(layers,)` indices.
        step_sizes: `(steps,)`.
        growth: `(layers, steps, examples)`.
        certain: the same shape; False where the value is a lower bound.
    """

    method: str
    layers: np.ndarray
    step_sizes: np.ndarray
    growth: np.ndarray
    certain: np.ndarray
