"""A run of full depth: every table holds what odestab says of the same texts."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import odestab as od
from analysis import sweep
from analysis.config import StudyConfig, read_texts
from analysis.measure_full import EPSILONS, EXPONENTS, PARTS
from analysis.summary import METHODS, Summary
from analysis.tables import tables


@pytest.fixture(scope="module")
def study(
    checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[sweep.Sweep, Summary]]:
    folder = tmp_path_factory.mktemp("full")
    (folder / "texts.tsv").write_text(
        "the cat sat\nthe dog ran on the mat\nthe mat\n", encoding="utf-8"
    )
    texts, _ = read_texts(folder / "texts.tsv")
    prepared = sweep.prepare(
        StudyConfig(str(checkpoint), texts, depth="full", dense_limit=80, growth_rtol=1e-3),
        pytest.fail,
    )
    with pytest.MonkeyPatch.context() as patch:  # fewer points than a study of real layers deserves
        for name, value in (("ROUNDS", 2), ("DISTANCES", 4), ("DIRECTIONS", 6)):
            patch.setattr(f"odestab.nonnormality.kreiss.{name}", value, raising=False)
        yield prepared, sweep.run(prepared, folder / "run", pytest.fail)


def field_and_state(study, layer: int) -> tuple[od.AbstractVectorField, torch.Tensor]:
    loaded = study[0].study
    trajectory = od.trace(loaded.encoder, loaded.tokenize(list(loaded.config.texts)))
    return trajectory.fields[layer], trajectory.states[layer]


def in_text_order(table: np.ndarray, study) -> np.ndarray:
    """Rows of a table follow the lengths of the texts."""
    tokens = study[0].resolved["tokens"]
    return table[np.argsort(np.argsort(tokens, kind="stable"), kind="stable")]


def test_nonnormality_is_that_of_the_dense_matrix(study) -> None:
    (one, other) = study[1].nonnormality
    field, x = field_and_state(study, one.layer)
    matrix = od.Jacobian(field, x).dense()[one.text]
    assert (
        (one.layer, other.layer) == (0, 1) and one.text == 2 and len(one.eigenvalues) == len(matrix)
    )  # the shortest text
    assert one.frobenius == pytest.approx(float(torch.linalg.matrix_norm(matrix)), rel=1e-9)
    departure = np.sqrt(one.frobenius**2 - (abs(np.linalg.eigvals(matrix.numpy())) ** 2).sum())
    assert one.henrici == pytest.approx(departure, rel=1e-6)
    assert one.logarithmic_norm == pytest.approx(
        float(torch.linalg.eigvalsh((matrix + matrix.T) / 2)[-1]), rel=1e-6
    )
    assert one.sigma_min.shape == (len(one.im), len(one.re)) and one.im[0] == 0
    for i, j in ((0, 0), (3, 40), (20, 10)):
        z = complex(one.re[j], one.im[i])
        expected = torch.linalg.svdvals(z * torch.eye(len(matrix)) - matrix)[-1]
        assert one.sigma_min[i, j] == pytest.approx(float(expected), rel=1e-4)
    assert one.re[0] < one.boundary.real.min() and one.re[-1] > one.boundary.real.max()
    assert tuple(one.epsilons) == EPSILONS and (np.diff(one.pseudospectral_abscissa) < 0).all()
    assert (one.pseudospectral_abscissa > one.spectral_abscissa).all()
    assert (
        one.kreiss >= 1
        and one.kreiss_scale >= 1
        and one.kreiss_kind in ("exact", "bound", "estimate")
    )


def test_bounds_lie_above_the_exact_values(study) -> None:
    bound = study[1].bounds[0]
    assert bound.texts == (2, 0, 1) and bound.sigma_min.shape == (3, len(bound.im), len(bound.re))
    field, x = field_and_state(study, bound.layer)
    for example, matrix in enumerate(od.Jacobian(field, x).dense()):
        for i, j in ((0, 30), (10, 20)):
            z = complex(bound.re[j], bound.im[i])
            exact = float(torch.linalg.svdvals(z * torch.eye(len(matrix)) - matrix)[-1])
            assert in_text_order(bound.sigma_min, study)[example, i, j] >= exact - 1e-9
    assert (
        bound.converged.all()
        and (bound.henrici_bound >= 0).all()
        and (bound.henrici_bound <= 1).all()
    )


def test_densities_have_mass_and_errors(study) -> None:
    kinds = {(one.layer, one.of) for one in study[1].densities}
    assert kinds == {(layer, of) for layer in (0, 1) for of in ("gram", "symmetric")}
    for one in study[1].densities:
        mass = np.trapezoid(one.density, one.points, axis=1)
        assert (
            one.density.shape == one.error.shape == (3, len(one.points)) and (one.error >= 0).all()
        )
        assert (
            (mass > 0.7) & (mass < 1.1)
        ).all()  # singular values at 0 lose the half of their Gaussian that is below


def test_worst_directions_by_token(study) -> None:
    field, x = field_and_state(study, 1)
    worst = od.worst_growth(od.ExplicitEuler(1.0), field, x, 1e-6)
    expected = worst.right[:, 0].square().sum(-1)
    (table,) = (one for one in study[1].directions if one.layer == 1)
    shares = in_text_order(table.entering["explicit"], study)
    assert (np.isnan(shares) == ~field.mask.numpy()).all()
    np.testing.assert_allclose(np.nan_to_num(shares), expected.numpy(), atol=0.02)
    for side in (table.entering, table.leaving):
        for method in METHODS:
            np.testing.assert_allclose(np.nansum(side[method], axis=1), 1, rtol=1e-6)


def test_halves_of_a_layer(study) -> None:
    loaded = study[0].study
    halves = od.trace(loaded.encoder, loaded.tokenize(list(loaded.config.texts)), sublayers=True)
    assert [(one.layer, one.half) for one in study[1].sublayers] == [
        (l, half) for l in (0, 1) for half in ("attention", "feed_forward")
    ]
    for i, one in enumerate(study[1].sublayers):
        norm = od.logarithmic_norm(od.Jacobian(halves.fields[i], halves.states[i]), 1e-6).values[
            :, 0
        ]
        np.testing.assert_allclose(
            in_text_order(one.logarithmic_norm, study), norm.numpy(), rtol=1e-3
        )
        for method in (od.ExplicitEuler(1.0), od.ImplicitEuler(1.0)):
            name = "implicit" if isinstance(method, od.ImplicitEuler) else "explicit"
            worst = od.worst_growth(method, halves.fields[i], halves.states[i], 1e-6).values[:, 0]
            np.testing.assert_allclose(
                in_text_order(one.worst[name], study), worst.numpy(), rtol=1e-3
            )
            assert one.converged[name].all()


def test_refinement_and_exponents(study) -> None:
    for one in study[1].refinements:
        (growth,) = (g for g in study[1].growth if g.layer == one.layer)
        assert tuple(one.parts) == PARTS
        for method in METHODS:
            assert one.converged[method].all()
            np.testing.assert_allclose(
                one.worst[method][:, 0], growth.worst[method], rtol=1e-3
            )  # one part is the step itself
            changes = abs(np.diff(one.worst[method], axis=1)).mean(0)
            assert (
                changes[-1] < changes[0]
            )  # towards the flow of the nonlinear field, which is not that of its frozen Jacobian
    for one in study[1].exponents:
        assert (
            one.values.shape == (3, EXPONENTS)
            and one.converged.all()
            and (np.diff(one.values, axis=1) <= 1e-6).all()
        )
        (worst,) = (
            c for c in study[1].curves if (c.perturbation, c.method) == ("worst", one.method)
        )
        np.testing.assert_allclose(2 * one.values[:, 0], np.log(worst.predicted[:, -1]), atol=0.05)


def test_the_statistics_of_a_full_run_are_written(study) -> None:
    written = tables(study[1])
    assert {"nonnormality", "sublayers", "refinement", "exponents"} <= written.keys()
    assert len(written["nonnormality"]) == 2 and len(written["sublayers"]) == 4
