"""The plane in a coordinate that grows outwards, and where a whole line of it meets the boundary of
a pseudospectrum.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Coordinate:
    """z as a function of w = x + iy, x maximised: z = w for the abscissa, exp w for the radius."""

    which: str
    to_z: Callable[[Tensor], Tensor]
    from_z: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]
    value: Callable[[Tensor], Tensor]
    crossings: Callable[[Tensor, float, float], np.ndarray]


def _vertical_crossings(a: Tensor, epsilon: float, x: float) -> np.ndarray:
    """y with ε among the singular values of (x + iy)I − A (Byers 1988).

    There iy is an eigenvalue of [[A − xI, εI], [−εI, xI − A*]].
    """
    identity = torch.eye(len(a), dtype=a.dtype, device=a.device)
    hamiltonian = torch.cat(
        [
            torch.cat([a - x * identity, epsilon * identity], 1),
            torch.cat([-epsilon * identity, x * identity - a.mH], 1),
        ]
    )
    return torch.linalg.eigvals(hamiltonian).imag.cpu().numpy()


def _circular_crossings(a: Tensor, epsilon: float, x: float) -> np.ndarray:
    """θ with ε among the singular values of r e^{iθ} I − A, r = eˣ (Mengi and Overton 2005).

    There e^{iθ} is an eigenvalue of a pencil.
    """
    import scipy.linalg  # late: it takes as long as all of odestab

    identity = torch.eye(len(a), dtype=a.dtype, device=a.device)
    r = math.exp(x) * identity
    zero = torch.zeros_like(identity)
    left = torch.cat([torch.cat([-epsilon * identity, a], 1), torch.cat([r, zero], 1)])
    right = torch.cat([torch.cat([zero, r], 1), torch.cat([a.mH, -epsilon * identity], 1)])
    alpha, beta = scipy.linalg.eigvals(
        left.cpu().numpy(), right.cpu().numpy(), homogeneous_eigvals=True
    )
    return np.angle(alpha * np.conj(beta))


ABSCISSA = Coordinate(
    "LR", lambda w: w, lambda z: z, torch.ones_like, torch.real, _vertical_crossings
)
RADIUS = Coordinate("LM", torch.exp, torch.log, torch.exp, torch.abs, _circular_crossings)
