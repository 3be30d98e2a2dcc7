"""Do the matrix-free quantities of real layers agree with dense LAPACK?

Every layer of the embedded model on four texts of four tokens (n = 1536): each quantity beside the
same from the dense Jacobian. An eigenvalue may be off by its condition number times its residual;
everything else has the bound that is stated with it.
"""

import argparse
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.optimize
import torch
from side_by_side import arguments, load_model, publish, table

import odestab as od

TEXTS = ("good morning", "not bad", "rain falls", "stop here")
STEP_SIZES = torch.tensor([0.25, 0.5, 1.0], dtype=torch.float64)


class Check(NamedTuple):
    """One comparison.

    Attributes:
        quantity: what.
        error: largest difference from the dense result.
        bound: what it may be.
        unconverged: how many values were flagged as not converged; they are not compared.
        missing: how many of the dense values have no partner among those found.
    """

    quantity: str
    error: float
    bound: float
    unconverged: int = 0
    missing: int = 0

    @property
    def holds(self) -> bool:
        """The error is within the bound and nothing is missing."""
        return self.error <= self.bound and self.missing == 0


class Dense(NamedTuple):
    """A dense Jacobian with its eigenvalues and their condition numbers."""

    matrix: torch.Tensor
    values: np.ndarray
    conditions: np.ndarray


def main() -> None:
    """All layers, all texts; prints a line for each quantity and writes every comparison."""
    options = arguments(__doc__.split("\n")[0], layers=[0, 1, 2, 3, 4, 5], texts=len(TEXTS))
    rows: list[dict[str, Any]] = []
    setting = {"texts": list(TEXTS[: options.texts]), "layers": options.layers, "dtype": "float64"}
    for layer in options.layers:
        for text in TEXTS[: options.texts]:
            for check in checks(layer, text, options):
                rows.append(
                    {
                        "layer": layer,
                        "text": TEXTS.index(text),
                        **check._asdict(),
                        "holds": check.holds,
                    }
                )
                if not check.holds:
                    print("does not hold:", rows[-1], flush=True)
        path = publish(
            "dense_agreement", {"setting": setting, "summary": summary(rows), "rows": rows}, options
        )
        print(f"layer {layer}: {len(rows)} comparisons so far", flush=True)
    print(table(summary(rows)))
    print(path)


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per quantity the largest error, the largest error as a share of its bound, and counts."""
    found = []
    for quantity in dict.fromkeys(row["quantity"] for row in rows):
        mine = [row for row in rows if row["quantity"] == quantity]
        found.append(
            {
                "quantity": quantity,
                "cases": len(mine),
                "hold": sum(row["holds"] for row in mine),
                "largest error": max(row["error"] for row in mine),
                "largest error/bound": max(row["error"] / row["bound"] for row in mine),
                "unconverged": sum(row["unconverged"] for row in mine),
                "missing": sum(row["missing"] for row in mine),
            }
        )
    return found


def checks(layer: int, text: str, options: argparse.Namespace) -> Iterator[Check]:
    """Every comparison for one layer on one text."""
    encoder, tokenizer = load_model(torch.float64, options.device)
    trajectory = od.trace(encoder, tokenizer([text], return_tensors="pt").to(options.device))
    jacobian = od.Jacobian(trajectory.fields[layer], trajectory.states[layer])
    matrix = jacobian.dense()[0]
    values, left, right = scipy.linalg.eig(matrix.cpu().numpy(), left=True)
    dense = Dense(matrix, values, 1 / np.abs((left.conj() * right).sum(0)).clip(1e-300))
    yield from eigenvalue_checks(jacobian, dense)
    for group in (singular_checks, range_checks, flow_checks, pseudospectrum_checks):
        yield from group(jacobian, dense)


def eigenvalue_checks(jacobian: od.Jacobian, dense: Dense) -> Iterator[Check]:
    """Leading, rightmost, smallest and nearest to the pole of the implicit step; the first eight of
    each.
    """
    settings: list[tuple[str, dict[str, Any], np.ndarray]] = [
        ("eigenvalues LM", {"which": "LM"}, np.abs(dense.values)),
        ("eigenvalues LM about −1", {"which": "LM", "center": -1.0}, np.abs(dense.values + 1)),
        ("eigenvalues LR", {"which": "LR"}, dense.values.real),
        ("eigenvalues SM", {"which": "SM"}, -np.abs(dense.values)),
        ("eigenvalues nearest to 1", {"sigma": 1.0}, -np.abs(dense.values - 1)),
    ]
    for name, options, rank in settings:
        found = od.eigenvalues(jacobian, 8, rtol=1e-7, dimension=80, max_matvecs=3000, **options)
        yield eigenvalue_check(name, found, dense, rank)


def eigenvalue_check(name: str, found: od.Spectrum, dense: Dense, rank: np.ndarray) -> Check:
    """|Δλ| ≤ κ(λ)·residual for every value flagged converged; a dense one of the first eight
    without a partner is missing.
    """
    values, residuals = found.values[0].cpu().numpy(), found.residuals[0].cpu().numpy()
    converged = found.converged[0].cpu().numpy()
    distance = np.abs(values[:, None] - dense.values[None, :])
    mine, partner = scipy.optimize.linear_sum_assignment(distance)
    error = distance[mine, partner][converged[mine]]
    bound = (1.1 * dense.conditions[partner] * residuals[mine] + 1e-11 * dense.conditions[partner])[
        converged[mine]
    ]
    worst = int(np.argmax(error / bound)) if len(error) else 0
    order = np.argsort(-rank, kind="stable")
    last = rank[order[7]] + 1e-6 * max(
        1.0, abs(rank[order[7]])
    )  # of equally ranked ones, conjugates for instance, any may be listed
    missing = len(set(order[:8][rank[order[:8]] > last]) - set(partner))
    return Check(
        name,
        float(error[worst]) if len(error) else 0.0,
        float(bound[worst]) if len(error) else 1.0,
        int((~converged).sum()),
        missing,
    )


def singular_checks(jacobian: od.Jacobian, dense: Dense) -> Iterator[Check]:
    """Singular values at both ends, logarithmic norm, worst growth of every method; errors are of
    second order in the residuals.
    """
    eye = torch.eye(len(dense.matrix), dtype=dense.matrix.dtype, device=dense.matrix.device)
    explicit, implicit = od.affine(jacobian, 1.0, 1.0), od.affine(jacobian, 1.0, -1.0)
    largest, smallest = (
        torch.linalg.svdvals(eye + dense.matrix)[:3],
        torch.linalg.svdvals(eye - dense.matrix).flip(0)[:3],
    )
    yield relative(
        "σ largest 3 of E = I + J", od.singular_values(explicit, 3, rtol=1e-5), largest, 1e-9
    )
    yield relative(
        "σ smallest 3 of M = I − J",
        od.singular_values(implicit, 3, "SM", rtol=1e-5, max_dimension=24),
        smallest,
        1e-8,
    )
    single = od.singular_values(
        implicit, 3, "SM", rtol=1e-4, max_dimension=24, work_dtype=torch.float32
    )
    yield relative("σ smallest 3 of M, loose solves in float32", single, smallest, 1e-6)
    single = od.singular_values(explicit, 1, rtol=1e-4, work_dtype=torch.float32)
    yield relative("σ largest of E, space in float32", single, largest[:1], 1e-6)
    middle = torch.linalg.matrix_norm(
        torch.linalg.solve(eye - 0.5 * dense.matrix, eye + 0.5 * dense.matrix), 2
    )
    for theta, expected in ((0.0, largest[0]), (0.5, middle), (1.0, 1 / smallest[0])):
        grown = od.step_growth(jacobian, STEP_SIZES, theta, rtol=1e-4, max_dimension=24)
        error = (
            float((grown.values[0, -1] - expected).abs() / expected)
            if bool(grown.converged[0, -1])
            else 0.0
        )
        yield Check(
            f"worst growth from one space, θ = {theta:g}",
            error,
            1e-7,
            int((~grown.converged).sum()),
        )


def range_checks(jacobian: od.Jacobian, dense: Dense) -> Iterator[Check]:
    """Logarithmic norm, numerical range, departure from normality, densities."""
    symmetric = torch.linalg.eigvalsh((dense.matrix + dense.matrix.T) / 2)
    yield relative("logarithmic norm", od.logarithmic_norm(jacobian, 1e-5), symmetric[-1:], 1e-8)
    angle = torch.tensor([0.0, 1.0], dtype=torch.float64)
    found = od.numerical_range(jacobian, angle, rtol=1e-5)
    turned = torch.exp(-1j * angle[1]) * dense.matrix
    expected = torch.stack([symmetric[-1], torch.linalg.eigvalsh((turned + turned.mH) / 2)[-1]])
    yield Check(
        "numerical range, support",
        float(((found.support[0] - expected) / expected).abs().max()),
        1e-8,
        int((~found.converged).sum()),
    )
    squared = float(dense.matrix.square().sum()) - float((np.abs(dense.values) ** 2).sum())
    bound = od.henrici_departure(jacobian, limit=0)
    excess = float(bound.value[0]) - 4 * float(bound.error[0])
    yield Check("departure from normality, lower bound", excess, squared**0.5)
    for of, values in (
        ("symmetric", symmetric),
        ("gram", torch.linalg.svdvals(dense.matrix).square()),
    ):
        density = od.spectral_density(jacobian, of, probes=12, steps=60)
        gauss = torch.exp(-0.5 * ((density.points[:, None] - values) / density.width) ** 2)
        truth = gauss.mean(1) / (density.width * (2 * torch.pi) ** 0.5)
        outside = (density.density[0] - truth).abs() > 4 * density.error[0] + 1e-3 * truth.max()
        yield Check(
            f"density ({of}), share outside four standard errors",
            float(outside.double().mean()),
            0.05,
        )


def flow_checks(jacobian: od.Jacobian, dense: Dense) -> Iterator[Check]:
    """The exponential."""
    expected = torch.linalg.matrix_norm(torch.linalg.matrix_exp(dense.matrix), 2)[None]
    yield relative(
        "σ largest of the flow e^J",
        od.singular_values(od.exponential(jacobian, 1.0, 1e-8), 1, rtol=1e-4),
        expected,
        1e-6,
    )


def pseudospectrum_checks(jacobian: od.Jacobian, dense: Dense) -> Iterator[Check]:
    """σ_min(zI − J) by the Schur form, by inverse iteration and by projection, beside one dense
    singular value.
    """
    z = torch.tensor([1.0 + 0.7j], dtype=torch.complex128)
    eye = torch.eye(len(dense.matrix), dtype=torch.complex128)
    expected = float(torch.linalg.svdvals(z[0] * eye - dense.matrix)[-1])
    for method, bound in (("dense", 1e-6), ("inverse", 1e-5)):
        found = od.pseudospectrum(jacobian, z, method)
        error = (
            abs(float(found.sigma_min[0, 0]) - expected) / expected
            if bool(found.converged[0, 0])
            else 0.0
        )
        yield Check(f"pseudospectrum, {method}", error, bound, int((~found.converged).sum()))
    projected = od.pseudospectrum(jacobian, z, "projected")
    yield Check(
        "pseudospectrum, projected: share below the truth",
        max(0.0, expected - float(projected.sigma_min[0, 0])) / expected,
        1e-10,
    )


def relative(name: str, found: od.Spectrum, expected: torch.Tensor, bound: float) -> Check:
    """Relative differences of values in order."""
    error = ((found.values[0] - expected).abs() / expected.abs())[found.converged[0]]
    return Check(
        name, float(error.max()) if len(error) else 0.0, bound, int((~found.converged).sum())
    )


if __name__ == "__main__":
    main()
