"""A prediction follows its rule, says how sure it is, and becomes a run that imbert reads."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import xarray as xr

from analysis.config import StudyConfig
from analysis.ground.resampling import FEW
from analysis.measure import measure
from analysis.prediction import predict, run_toml, study_toml
from analysis.prediction.records import TESTED, Estimate
from analysis.record import Cell, Run
from analysis.run import Measurements, measurements
from analysis.sweep import prepare
from figures import prediction as picture
from figures.records import Prediction, typed
from imbert.study.plan import read_study
from imbert.training.run_config import read_run

TEXTS = 40
HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "prediction.md"
CONFIRMED = HOW_TO.parents[1] / "studies" / "placement-seeds" / "confirmation.json"


def summary(
    advantages: list[float],
    changes: list[float],
    h: float = 1.0,
    unsolved: dict[int, int] | None = None,
    error: float = 0.05,
) -> Measurements:
    """Layers with these mean advantages (spread 0.1) and medians of log(worst implicit/explicit)
    (spread 0.05).
    """
    random, cells, texts = np.random.default_rng(0), [], list(range(TEXTS))
    sure = np.ones((TEXTS, 1), dtype=bool)
    for layer, (advantage, change) in enumerate(zip(advantages, changes, strict=True)):
        noise = random.normal(0, 1, (2, TEXTS, 1))
        status = np.zeros((TEXTS, 1), dtype=int)
        status[: (unsolved or {}).get(layer, 0)] = 1
        explicit = np.full((TEXTS, 1), 4.0)
        arrays = {
            "eigenvalues": np.array([[[0.5, 0.5], [-3.0, 0.0]]] * TEXTS),
            "eigenvalue_residuals": np.zeros((TEXTS, 2)),
            "eigenvalue_converged": np.ones((TEXTS, 2), dtype=bool),
            "center": np.array([-1.0]),
            "logarithmic_norm": np.full(TEXTS, 2.0),
            "logarithmic_norm_converged": sure[:, 0],
            "solve_status": status,
            "solve_residual": np.zeros((TEXTS, 1)),
            "solve_evaluations": np.full((TEXTS, 1), 20),
            "advantage": advantage + 0.1 * noise[0],
            "advantage_error": np.full((TEXTS, 1), 0.01),
        }
        for method, values in (
            ("explicit", explicit),
            ("implicit", explicit * np.exp(change + 0.05 * noise[1])),
        ):
            arrays |= {f"{method}_worst": values, f"{method}_spectral": values}
            arrays |= {f"{method}_worst_converged": sure, f"{method}_certain": sure}
            arrays |= {f"{method}_map": values, f"{method}_map_certain": sure}
        solves = {
            "evaluations": np.tile([4.0, 8.0, 16.0], (TEXTS, 1, 1)),
            "converged": np.ones((TEXTS, 1, 3), dtype=bool),
            "error": np.tile([10 * error, error, error / 10], (TEXTS, 1, 1)),
            "truncated_advantage": np.full((TEXTS, 1), advantage),
        }
        for kind, found in (("layer", arrays), ("solves", solves)):
            header = {"kind": kind, "texts": texts, "layer": layer}
            cells.append(Cell(f"{kind}-{layer}", header, found))
    config = {
        "model": 'a "model"',
        "field": "increment",
        "texts": ["a text"] * TEXTS,
        "encoder_depth": len(advantages),
        "step_sizes": [h],
        "map_step_sizes": [h],
        "tolerances": [1e-1, 1e-2, 1e-3],
    }
    return measurements(Run(config, tuple(cells)))


def without(found: Measurements, quantity: str) -> Measurements:
    return Measurements(found.config, {**found.datasets, quantity: xr.Dataset()})


def test_the_layers_that_meet_all_conditions_are_predicted() -> None:
    found = predict(summary([0.3, 0.2, 0.3, -0.2], [-0.2, 0.3, -0.1, -0.2], unsolved={2: 4}))
    assert not any("Only" in sentence for sentence in found.recommendation.sentences)
    assert found.recommendation.layers == (0,)
    assert [bool(one.reasons) for one in found.layers] == [False, True, True, True]
    for one, said in zip(
        found.layers[1:],
        ("worst growth", "10% of its implicit steps were not solved", "random perturbations"),
        strict=True,
    ):
        assert (
            len(one.reasons) == 1
            and said in one.reasons[0]
            and one.reasons[0] in found.recommendation.sentences[one.layer + 2]
        )
    assert found.recommendation.share_of_resamples == found.layers[0].share_of_resamples == 1.0
    assert [one.pole_distance["median"] for one in found.layers] == pytest.approx([2**-0.5] * 4)


def test_the_sentence_and_the_figure_tell_worst_growth_with_one_sign() -> None:
    """Both of log(explicit/implicit), which is no ratio of the medians that stand beside it."""
    found = predict(summary([0.3], [0.02]))
    (layer,) = found.layers
    told = layer.worst_change.negative()
    assert (told.value, told.low, told.high) == (
        -layer.worst_change.value,
        -layer.worst_change.high,
        -layer.worst_change.low,
    )
    said = " ".join(found.recommendation.sentences)
    assert "of each text log(explicit/implicit), which is above 0 where the" in said
    assert f"has the median −{layer.worst_change.value:.2f} [" in said
    plain = json.loads(json.dumps(found.record()))
    panel = picture.draw(typed(plain, Prediction, "record")).axes[0]
    (drawn,) = [line.get_ydata()[0] for line in panel.lines if line.get_marker() == "s"]
    assert float(drawn) == pytest.approx(told.value)


def test_an_estimate_has_a_true_minus_and_no_negative_zero() -> None:
    assert str(Estimate(-0.001, -0.2, 0.3)) == "0.00 [−0.20, 0.30]"


def test_what_is_said_of_tests_holds_of_any_checkpoint() -> None:
    """What was tested is told of a pretrained and of a fine-tuned checkpoint, not of this one."""
    for start in ("from a pretrained checkpoint", "from a fine-tuned one"):
        assert TESTED.count(start) == 1
    assert "this checkpoint" not in TESTED and ".md" not in TESTED
    tested = json.loads(CONFIRMED.read_text(encoding="utf-8"))["contrasts"][1]
    assert len(tested["least"]) == len(tested["most"]) == 3 and "two placements of three" in TESTED
    assert tested["low"] < 0 < tested["high"] and "not told apart" in TESTED


def test_equal_counts_of_evaluations_are_told_once() -> None:
    said = " ".join(predict(summary([0.3, 0.3], [-0.2, -0.2])).recommendation.sentences)
    assert "it takes 8 evaluations a layer" in said and " to 8 " not in said


@pytest.mark.parametrize(("texts", "intervals"), [(FEW - 1, False), (FEW, True)])
def test_few_texts_have_no_intervals_in_the_figure(
    texts: int, intervals: bool, tmp_path: Path
) -> None:
    plain = json.loads(json.dumps(predict(summary([0.3, 0.2], [-0.2, 0.3])).record()))
    plain["config"]["texts"] = texts
    record = typed(plain, Prediction, "record")
    panels = picture.draw(record).axes
    assert [bool(panel.collections) for panel in panels] == [intervals] * 2
    assert ("too few for intervals" in panels[0].get_title()) != intervals
    caption = picture.tell(record, tmp_path).shown.caption
    assert ("with 95 % intervals" in caption) == intervals
    assert (f"fewer than {FEW} texts" in caption) != intervals


def test_nothing_is_predicted_where_nothing_surely_helps() -> None:
    found = predict(summary([-0.2, 0.01], [-0.2, 0.0]))
    assert found.recommendation.layers == () and found.recommendation.step_size is None
    assert found.recommendation.sentences[0].startswith("No implicit step is predicted to help")
    assert found.recommendation.share_of_resamples > 0.5


@pytest.mark.parametrize("advantages", [[0.3, 0.2], [-0.2, -0.1]])
def test_beside_whatever_is_predicted_stands_what_tests_have_shown(advantages: list[float]) -> None:
    found = predict(summary(advantages, [-0.2, -0.2]))
    assert found.recommendation.sentences[1] == TESTED
    assert found.record()["recommendation"]["sentences"].count(TESTED) == 1
    page = " ".join(HOW_TO.read_text(encoding="utf-8").split())
    assert f"> {TESTED}" in page, "its numbers are claims of this page"


def test_intervals_are_those_of_the_mean_and_of_sums_of_layers() -> None:
    data = summary([0.3, 0.1], [-0.2, -0.2])
    found = predict(data)
    advantages = data["growth"]["advantage"].isel(step_size=0).transpose("layer", "text").values
    for one, advantage in zip(found.layers, advantages, strict=True):
        half = scipy.stats.norm.ppf(0.975) * advantage.std() / TEXTS**0.5
        assert one.advantage.value == pytest.approx(advantage.mean())
        assert (one.advantage.low, one.advantage.high) == pytest.approx(
            (advantage.mean() - half, advantage.mean() + half), abs=0.1 * half
        )
    total = advantages.sum(0)  # the same texts: the sums' own spread counts
    both = next(one for one in found.placements if one.layers == (0, 1))
    half = scipy.stats.norm.ppf(0.975) * total.std() / TEXTS**0.5
    assert both.advantage.value == pytest.approx(
        total.mean()
    ) and both.advantage.high == pytest.approx(total.mean() + half, abs=0.1 * half)


def test_placements_are_none_each_every_half_all_and_what_is_recommended() -> None:
    found = predict(summary([0.1, -0.1, 0.1], [-0.2] * 3))
    assert found.recommendation.layers == (0, 2)
    assert [one.layers for one in found.placements] == [
        (),
        (0,),
        (1,),
        (2,),
        (0, 1),
        (1, 2),
        (0, 1, 2),
        (0, 2),
    ]
    names = [one.layers for one in predict(summary([0.1] * 6, [0.0] * 6)).placements]
    assert names == [
        (),
        *((i,) for i in range(6)),
        *(tuple(range(i, i + 3)) for i in range(4)),
        tuple(range(6)),
    ]


def test_the_step_size_with_the_larger_advantage_is_taken() -> None:
    small, large = (
        summary([0.1, 0.1], [-0.1, -0.1], h=0.5),
        summary([0.2, 0.2], [-0.1, -0.1], h=1.0),
    )
    joined = {
        name: xr.concat([small[name], large[name]], "step_size", data_vars="minimal", join="exact")
        for name in ("growth", "solves")
    }
    found = predict(Measurements(small.config, {**small.datasets, **joined}))
    assert found.recommendation.step_size == 1.0 and any(
        "h = 0.5" in sentence for sentence in found.recommendation.sentences
    )


@pytest.mark.parametrize(
    ("error", "rtol", "cost"),
    [(0.05, 1e-2, (1 + 8) / 2), (0.005, 1e-1, (1 + 4) / 2), (5.0, 1e-3, (1 + 16) / 2)],
)
def test_the_tolerance_is_the_loosest_that_leaves_the_methods_apart(
    error: float, rtol: float, cost: float
) -> None:
    found = predict(summary([0.3, -0.3], [-0.2, 0.2], error=error)).recommendation
    assert found.rtol == rtol and found.cost == pytest.approx(cost)
    assert any("which no tolerance tried reaches" in sentence for sentence in found.sentences) == (
        error == 5.0
    )


def test_it_needs_texts_to_resample_and_the_solves() -> None:
    data = summary([0.3], [-0.2])
    with pytest.raises(ValueError, match="run `odestab predict`"):
        predict(without(data, "solves"))
    alone = {**data.datasets, "growth": data["growth"].isel(text=[0])}
    with pytest.raises(ValueError, match=r"at least 2 .* got 1"):
        predict(Measurements(data.config, alone))


@pytest.mark.parametrize("advantage", [0.3, -0.3])
def test_the_run_is_one_that_imbert_reads(tmp_path: Path, advantage: float) -> None:
    text = run_toml(predict(summary([-0.1, advantage], [-0.2, -0.2])), "0" * 64)
    assert tomllib.loads(text)["model"]["checkpoint"] == 'a "model"'
    (tmp_path / "run.toml").write_text(text, encoding="utf-8")
    run = read_run(tmp_path / "run.toml")
    assert run.evaluate.prediction == "0" * 64
    assert (run.model.kind, run.model.implicit_layers) == (
        ("im-bert", (1,)) if advantage > 0 else ("bert", None)
    )


@pytest.mark.parametrize(("advantage", "rtol"), [(0.3, 1e-2), (-0.3, 1e-3)])
def test_the_study_is_one_of_all_placements_that_imbert_reads(
    tmp_path: Path, advantage: float, rtol: float
) -> None:
    prediction = predict(summary([-0.1, -0.1, advantage], [-0.2, -0.2, -0.2]))
    (tmp_path / "study.toml").write_text(study_toml(prediction, "0" * 64), encoding="utf-8")
    study = read_study(tmp_path / "study.toml")
    runs = {cell.run.model.implicit_layers: cell.run for cell in study.cells()}
    assert (
        set(runs) == {one.layers or None for one in prediction.placements}
        and runs[None].model.kind == "bert" == study.models["none"]["kind"]
    )
    assert (
        all(run.evaluate.prediction == "0" * 64 for run in runs.values())
        and study.attacks is not None
    )
    assert study.attacks.kinds == ("characters",) and runs[(0,)].model.solver[
        "rtol"
    ] == pytest.approx(rtol)


def test_the_picture_shows_every_layer_and_placement() -> None:
    record = json.loads(json.dumps(predict(summary([0.3, 0.2, -0.1], [-0.2, 0.3, -0.1])).record()))
    figure = picture.draw(typed(record, Prediction, "record"))
    layers, placements = figure.axes
    assert sum(line.get_marker() in {"o", "s", "D"} for line in layers.lines) == 9
    assert [label.get_text() for label in placements.get_yticklabels()] == [
        "none",
        "0",
        "1",
        "2",
        "0–1",
        "1–2",
        "0–2",
    ]
    values = [float(line.get_xdata()[0]) for line in placements.lines if line.get_marker() == "o"]
    assert values == pytest.approx([one["advantage"]["value"] for one in record["placements"]])
    record["layers"][1]["certain"]["implicit"] = 0.5
    hollow = [
        line
        for line in picture.draw(typed(record, Prediction, "record")).axes[0].lines
        if line.get_marker() == "D" and line.get_markerfacecolor() == "white"
    ]
    assert len(hollow) == 1


@pytest.mark.slow
def test_a_truncated_solver_that_goes_on_long_enough_has_the_implicit_advantage(desk: Path) -> None:
    config = StudyConfig(
        "bert",
        ("the cat sat", "the dog ran on the mat"),
        depth="prediction",
        truncated_steps=80,
        layers=(1,),
    )
    study = prepare(config, pytest.fail)
    solves, layer = (measure(study.study, plan).arrays for plan in study.cells)
    np.testing.assert_allclose(solves["truncated_advantage"], layer["advantage"], atol=1e-3)
    assert (np.diff(solves["evaluations"][:, 0]) > 0).all() and (
        np.diff(solves["error"][:, 0]) < 0
    ).all()


@pytest.mark.slow
def test_the_command_writes_a_prediction_that_the_same_command_repeats(odestab, desk: Path) -> None:
    first = odestab("predict", "bert", "--texts", "texts.tsv", "--out", "ahead", "--workers", "1")
    printed = " ".join(first.out.split())
    assert first.code == 0 and "predict" in printed and "Only 6 texts" in printed
    before = (desk / "ahead/prediction.json").read_bytes()
    assert (
        odestab("predict", "bert", "--texts", "texts.tsv", "--out", "ahead", "--workers", "1").out
        == first.out
    )
    record = json.loads(before)
    assert (desk / "ahead/prediction.json").read_bytes() == before and record["config"][
        "texts"
    ] == 6
    assert (
        len(record["layers"]) == 2
        and read_run(desk / "ahead/run.toml").evaluate.prediction in first.out
    )
    assert "at least 5 placements of implicit steps, and these layers have 3" in printed
    assert (desk / "ahead/study.toml").read_text().startswith("# No study can test")
