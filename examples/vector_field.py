"""Vector fields of one's own: Van der Pol's oscillator, Grcar's matrix, a PyTorch module.

    python examples/vector_field.py --out runs/vector-field

prints a table for each, and draws its spectral sets over the stability region of a method.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

import odestab as od
from figures import portrait

STIFFNESS = 20.0


def van_der_pol(y: Tensor) -> Tensor:
    """x″ = μ(1 − x²)x′ − x as a system in (x, x′), for states `(batch, 2)`."""
    x = y[..., 0]
    v = y[..., 1]
    return torch.stack([v, STIFFNESS * (1 - x**2) * v - x], -1)


def grcar(n: int) -> Tensor:
    """Ones on the diagonal and three superdiagonals, −1 below."""
    ones = torch.ones(n, n, dtype=torch.float64)
    return ones.triu().tril(3) - ones.tril(-1).triu(-1)


def oscillator(out: Path, h: float = 0.05) -> None:
    """What either Euler step does to a perturbation, along a trajectory of implicit steps."""
    print(f"Van der Pol, μ = {STIFFNESS:g}, h = {h:g}: worst growth of one step")
    print(f"{'t':>5} {'x':>7} {'Re λ₁':>8} {'Re λ₂':>8} {'explicit':>9} {'implicit':>9}")
    methods = od.ExplicitEuler(h), od.ImplicitEuler(h)
    y = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    for step in range(301):
        if step % 50 == 0:
            fast, slow = od.eigenvalues(od.Jacobian(van_der_pol, y), k=2).values.real[0].tolist()
            growth = [od.worst_growth(method, van_der_pol, y).values.item() for method in methods]
            row = f"{step * h:5.1f} {y[0, 0].item():7.3f} {fast:8.2f} {slow:8.2f}"
            print(row, f"{growth[0]:9.2f} {growth[1]:9.2f}")
        taken = methods[1].step(van_der_pol, y)
        assert taken.solution is not None
        taken.solution.raise_for_status()
        y = taken.state
    at_rest = torch.zeros(1, 2, dtype=torch.float64)
    start = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    portrait(van_der_pol, "explicit", h, start, path=out / "van-der-pol-start.png")
    portrait(van_der_pol, "implicit", h, at_rest, path=out / "van-der-pol-rest.png")


def matrix(out: Path, n: int = 32) -> None:
    """Eigenvalues that say little: Grcar's matrix, shifted into the left half plane."""
    a = (grcar(n) - 2 * torch.eye(n, dtype=torch.float64)).numpy()
    spectral = od.full_spectrum(a).values.real.max().item()
    epsilon = od.pseudospectral_abscissa(a, 1e-2).value.item()
    growth = od.transient_growth(a, torch.linspace(0.1, 3.0, 8, dtype=torch.float64))
    kreiss = od.kreiss_constant(a, "continuous").value.item()
    print(f"\nGrcar − 2I, n = {n}\nspectral abscissa {spectral:.3f}, of radius 0.01 {epsilon:.3f}")
    print(f"Kreiss constant {kreiss:.2f}, largest ‖exp(tA)‖ {growth.peak.max().item():.2f}")
    for name in ("rk4", "radau_iia3"):
        portrait(a, name, h=0.5, path=out / f"grcar-{name}.png")


def module(out: Path, hidden: int = 16) -> None:
    """A residual layer y = x + F(x) is an explicit step of f = F with h = 1."""
    generator = torch.Generator().manual_seed(0)
    layers = torch.nn.Linear(hidden, 32), torch.nn.Tanh(), torch.nn.Linear(32, hidden)
    layer = torch.nn.Sequential(*layers).double().requires_grad_(False)
    for weights in layer.parameters():
        weights.copy_(0.25 * torch.randn(weights.shape, generator=generator).double())
    x = torch.randn(4, hidden, generator=generator).double()
    print("\nA module: worst growth of one step, h = 1, four states")
    for method in (od.ExplicitEuler(1.0), od.ImplicitEuler(1.0)):
        values = od.worst_growth(method, layer, x).values[:, 0].tolist()
        print(f"{type(method).__name__:>14} " + " ".join(f"{value:7.2f}" for value in values))
    portrait(layer, "explicit", x=x, path=out / "module.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/vector-field"))
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    oscillator(folder)
    matrix(folder)
    module(folder)
