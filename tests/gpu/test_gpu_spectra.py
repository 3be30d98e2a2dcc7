"""Spectra, growth and propagation on the device equal those of the processor in float64."""

import pytest
import torch
from layers import both, traced
from torch import Tensor

import odestab as od


def close(found: Tensor, exact: Tensor, rtol: float) -> None:
    torch.testing.assert_close(
        found.cpu().to(exact.dtype), exact, rtol=rtol, atol=rtol * float(exact.abs().max())
    )


PRECISIONS = pytest.mark.parametrize(
    ("dtype", "rtol"), [(torch.float64, 1e-8), (torch.float32, 1e-3)], ids=["float64", "float32"]
)


@PRECISIONS
def test_products_with_the_jacobian(device: str, dtype: torch.dtype, rtol: float) -> None:
    (field, x), (exact_field, exact_x) = both(device, dtype)
    there, here = od.Jacobian(field, x), od.Jacobian(exact_field, exact_x)
    v = torch.randn(exact_x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for product in ("mv", "rmv"):
        exact = getattr(here, product)(here.project(v))
        close(getattr(there, product)(there.project(v.to(device, dtype))), exact, rtol)


@PRECISIONS
def test_leading_eigenvalues_and_singular_values(
    device: str, dtype: torch.dtype, rtol: float
) -> None:
    (field, x), (exact_field, exact_x) = both(device, dtype)
    there, here = od.Jacobian(field, x), od.Jacobian(exact_field, exact_x)
    tolerance = max(rtol, 1e-5) / 10
    found, exact = (od.eigenvalues(one, 4, rtol=tolerance) for one in (there, here))
    assert found.values.device == x.device and found.converged.all()
    close(
        found.values.abs(), exact.values.abs(), 10 * rtol
    )  # an eigenvalue moves by its condition number times the residual
    found, exact = (od.singular_values(one, 1, rtol=tolerance) for one in (there, here))
    close(found.values, exact.values, rtol)
    close(
        od.logarithmic_norm(there, tolerance).values,
        od.logarithmic_norm(here, tolerance).values,
        rtol,
    )


@PRECISIONS
def test_worst_growth_of_both_steps(device: str, dtype: torch.dtype, rtol: float) -> None:
    (field, x), (exact_field, exact_x) = both(device, dtype)
    for method in (od.ExplicitEuler(0.5), od.ImplicitEuler(0.5)):
        found, exact = (
            od.worst_growth(method, field, x),
            od.worst_growth(method, exact_field, exact_x),
        )
        close(found.values, exact.values, 10 * rtol)


@PRECISIONS
def test_growth_through_depth(device: str, dtype: torch.dtype, rtol: float) -> None:
    size = 1e-3 if dtype == torch.float64 else 1e-1
    there, here = traced(device, dtype), traced("cpu", torch.float64)
    delta = torch.randn(
        here.states[0].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    delta = size * here.fields[0].project(delta)
    found, exact = ([], [])
    for trajectory, rows, type_ in ((there, found, dtype), (here, exact, torch.float64)):
        perturbed = trajectory.states[0] + delta.to(trajectory.states[0].device, type_)
        for method in (od.ExplicitEuler(1.0), od.ImplicitEuler(0.5)):
            x, y = trajectory.states[0], perturbed
            for field in trajectory.fields:
                x, y = method.step(field, x).state, method.step(field, y).state
            rows.append((y - x).flatten(1).norm(dim=1))
    for one, other in zip(found, exact, strict=True):
        close(one, other, 20 * rtol)
