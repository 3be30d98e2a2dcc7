"""A run of full depth: every table holds what odestab says of the same texts."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import odestab as od
from analysis import sweep
from analysis.config import Pair, StudyConfig, read_texts
from analysis.quantities import METHODS, QUANTITIES
from analysis.quantities.exponents import EXPONENTS
from analysis.quantities.nonnormality import EPSILONS
from analysis.quantities.propagation import growths
from analysis.quantities.refinement import PARTS
from analysis.run import Measurements

pytestmark = pytest.mark.slow

TEXTS = [0, 1, 2]


@pytest.fixture(scope="module")
def study(
    checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[sweep.Sweep, Measurements]]:
    folder = tmp_path_factory.mktemp("full")
    (folder / "texts.tsv").write_text(
        "the cat sat\nthe dog ran on the mat\nthe mat\n", encoding="utf-8"
    )
    texts, _ = read_texts(folder / "texts.tsv")
    pairs = (Pair("word", "the cat sat", "the dog sat"),)
    prepared = sweep.prepare(
        StudyConfig(str(checkpoint), texts, pairs, depth="full", dense_limit=80, growth_rtol=1e-3),
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


def test_nonnormality_is_that_of_the_dense_matrix(study) -> None:
    found = study[1]["nonnormality"]
    assert found["layer"].values.tolist() == [0, 1]
    one = found.sel(layer=0)
    text = int(one["nonnormality_text"])
    field, x = field_and_state(study, 0)
    matrix = od.Jacobian(field, x).dense()[text]
    eigenvalues = one["short_eigenvalue"].values
    assert text == 2 and len(eigenvalues) == len(matrix)  # the shortest text
    frobenius = float(one["frobenius_norm"])
    assert frobenius == pytest.approx(float(torch.linalg.matrix_norm(matrix)), rel=1e-9)
    departure = np.sqrt(frobenius**2 - (abs(np.linalg.eigvals(matrix.numpy())) ** 2).sum())
    assert float(one["departure"]) == pytest.approx(departure, rel=1e-6)
    assert float(one["numerical_abscissa"]) == pytest.approx(
        float(torch.linalg.eigvalsh((matrix + matrix.T) / 2)[-1]), rel=1e-6
    )
    re, im = one["pseudospectrum_re"].values, one["pseudospectrum_im"].values
    sigma_min = one["sigma_min"].transpose("pseudospectrum_row", "pseudospectrum_column").values
    assert sigma_min.shape == (len(im), len(re)) and im[0] == 0
    for i, j in ((0, 0), (3, 40), (20, 10)):
        z = complex(re[j], im[i])
        expected = torch.linalg.svdvals(z * torch.eye(len(matrix)) - matrix)[-1]
        assert sigma_min[i, j] == pytest.approx(float(expected), rel=1e-4)
    boundary = one["numerical_range"].values
    assert re[0] < boundary.real.min() and np.nanmax(re) > boundary.real.max()
    abscissae = one["pseudospectral_abscissa"].values
    assert tuple(one["epsilon"].values) == EPSILONS and (np.diff(abscissae) < 0).all()
    assert (abscissae > float(one["spectral_abscissa"])).all()
    assert (
        float(one["kreiss_constant"]) >= 1
        and float(one["kreiss_scale"]) >= 1
        and one["kreiss_kind"].item() in ("exact", "bound", "estimate")
    )


def test_bounds_lie_above_the_exact_values(study) -> None:
    bound = study[1]["bounds"].isel(layer=0)
    assert bound["text"].values.tolist() == [2, 0, 1]  # by length
    re, im = bound["bound_re"].values, bound["bound_im"].values
    field, x = field_and_state(study, int(bound["layer"]))
    for text, matrix in enumerate(od.Jacobian(field, x).dense()):
        for i, j in ((0, 30), (10, 20)):
            z = complex(re[j], im[i])
            exact = float(torch.linalg.svdvals(z * torch.eye(len(matrix)) - matrix)[-1])
            known = bound["sigma_min_bound"].sel(text=text, bound_im=im[i], bound_re=re[j])
            assert float(known) >= exact - 1e-9
    assert (
        bool(bound["range_bound_converged"].all())
        and bool((bound["departure_bound"] >= 0).all())
        and bool((bound["departure_bound"] <= 1).all())
    )


def test_densities_have_mass_and_errors(study) -> None:
    found = study[1]["density"]
    assert found["layer"].values.tolist() == [0, 1] and found.sizes["text"] == 3
    for of in ("gram", "symmetric"):
        mass = found[f"{of}_density"].integrate(f"{of}_point")
        assert bool((found[f"{of}_density_error"] >= 0).all())
        # Singular values at 0 lose the half of their Gaussian that is below.
        assert bool(((mass > 0.7) & (mass < 1.1)).all())


def test_worst_directions_by_token(study) -> None:
    field, x = field_and_state(study, 1)
    worst = od.worst_growth(od.ExplicitEuler(1.0), field, x, 1e-6)
    expected = worst.right[:, 0].square().sum(-1)
    share = study[1]["directions"]["direction_share"]
    entering = share.sel(layer=1, step_size=1.0, scheme="explicit", side="entering", text=TEXTS)
    entering = entering.transpose("text", "token").values
    assert (np.isnan(entering) == ~field.mask.numpy()).all()
    np.testing.assert_allclose(np.nan_to_num(entering), expected.numpy(), atol=0.02)
    np.testing.assert_allclose(share.sum("token"), 1, rtol=1e-6)


def test_halves_of_a_layer(study) -> None:
    loaded = study[0].study
    traced = od.trace(loaded.encoder, loaded.tokenize(list(loaded.config.texts)), sublayers=True)
    halves = study[1]["sublayers"].sel(text=TEXTS, step_size=1.0)
    assert halves["half"].values.tolist() == ["attention", "feed_forward"]
    places = [(layer, half) for layer in (0, 1) for half in halves["half"].values]
    for i, (layer, half) in enumerate(places):
        one, field, x = halves.sel(layer=layer, half=half), traced.fields[i], traced.states[i]
        norm = od.logarithmic_norm(od.Jacobian(field, x), 1e-6).values[:, 0]
        np.testing.assert_allclose(one["half_logarithmic_norm"], norm.numpy(), rtol=1e-3)
        for method in (od.ExplicitEuler(1.0), od.ImplicitEuler(1.0)):
            name = "implicit" if isinstance(method, od.ImplicitEuler) else "explicit"
            worst = od.worst_growth(method, field, x, 1e-6).values[:, 0]
            np.testing.assert_allclose(
                one["half_worst_growth"].sel(scheme=name), worst.numpy(), rtol=1e-3
            )
    assert bool(halves["half_worst_growth_converged"].all())


def test_refinement_and_exponents(study) -> None:
    found, growth = study[1]["refinement"], study[1]["growth"]["worst_growth"]
    assert tuple(found["parts"].values) == PARTS
    assert bool(found["refined_growth_converged"].all())
    # One part is the step itself.
    single = found["refined_growth"].sel(parts=1, drop=True).transpose(*growth.dims)
    np.testing.assert_allclose(single.sel(text=growth["text"]), growth, rtol=1e-3)
    # Towards the flow of the nonlinear field, which is not that of its frozen Jacobian.
    changes = abs(found["refined_growth"].diff("parts")).mean("text")
    assert bool((changes.isel(parts=-1) < changes.isel(parts=0)).all())

    exponents = study[1]["exponents"]
    values = exponents["exponent"].transpose("text", ..., "order")
    assert values.sizes["text"] == 3 and values.sizes["order"] == EXPONENTS
    assert bool(exponents["exponent_converged"].all())
    assert bool((values.diff("order") <= 1e-6).all())
    (worst,) = (one for one in growths(study[1]["propagation"]) if one.kind == "worst")
    predicted = worst.values["predicted"].isel(passed=-1).sel(example=exponents["text"].values)
    for method in METHODS:
        first = values.sel(scheme=method, step_size=1.0).isel(order=0)
        np.testing.assert_allclose(
            2 * first, np.log(predicted.sel(scheme=method, step_size=1.0)), atol=0.05
        )


def test_the_statistics_of_a_full_run_are_written(study) -> None:
    written = study[1].summary()
    assert {"nonnormality", "sublayers", "refinement", "exponents"} <= written.keys()
    assert len(written["nonnormality"]) == 2 and len(written["sublayers"]) == 4


def test_what_the_registry_says_a_full_run_measures_is_measured(study) -> None:
    for quantity in QUANTITIES:
        assert bool(study[1][quantity.name]) == ("full" in quantity.depths), quantity.name


def test_every_variable_has_a_name_and_a_unit(study) -> None:
    for dataset in study[1].datasets.values():
        for name, values in dataset.data_vars.items():
            assert values.attrs["long_name"] and values.attrs["units"], name
