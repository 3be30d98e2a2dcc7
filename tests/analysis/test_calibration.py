"""Predicted against measured growth: lines of known slope, where linearity ends, and a fine-tuned
model beside what it came from.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
import transformers
from safetensors.torch import save_file
from tiny_study import WORDS, Command

import imbert
from analysis.calibration import again, fit, flips, linearity
from figures import calibration as picture
from figures.records import Calibration, typed

pytestmark = pytest.mark.slow

TEXTS = """\
the cat sat
the mat
flipped\tthe cat ran\tthe dog ran
flipped\tthe dog sat on the mat\tthe cat sat on the mat
held\tthe dog\tthe cat
held\tthe cat on the mat\tthe dog on the mat
"""


@pytest.fixture(autouse=True)
def texts(desk: Path) -> None:
    (desk / "texts.tsv").write_text(TEXTS, encoding="utf-8")


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """The tiny model with other weights and its second layer an implicit step, solved loosely as in
    training.
    """
    folder = tmp_path_factory.mktemp("tuned") / "im"
    model = imbert.ImBertForSequenceClassification.from_pretrained(
        checkpoint, implicit_layers=[1], solver={"name": "Auto", "rtol": 1e-2}, num_labels=2
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        for parameter in model.bert.encoder.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(checkpoint).save_pretrained(folder)
    return folder


def calibrated(odestab: Command, tuned: Path, *arguments: object) -> dict:
    outcome = odestab(
        "calibrate",
        tuned,
        "--pretrained",
        "bert",
        "--texts",
        "texts.tsv",
        "--out",
        "calibrated",
        *arguments,
    )
    assert outcome.code == 0, outcome.err
    return json.loads(Path("calibrated/calibration.json").read_text())


def direction(folder: Path, text: str, tokens: int, hidden: int = 16) -> Path:
    values = 0.01 * torch.randn(tokens, hidden, generator=torch.Generator().manual_seed(0))
    save_file(
        {hashlib.sha256(text.encode()).hexdigest(): values}, folder / "directions.safetensors"
    )
    return folder / "directions.safetensors"


def test_a_fit_is_least_squares_and_agreement_is_of_the_prediction_as_it_is() -> None:
    random = np.random.default_rng(0)
    predicted = random.normal(size=(30, 6))
    measured = 2 * predicted + 1 + 0.3 * random.normal(size=(30, 6))
    measured[3, 2] = np.nan
    known = np.isfinite(measured)
    expected = scipy.stats.linregress(predicted[known], measured[known])
    found, exact = fit(predicted, measured, seed=0), fit(predicted, predicted, seed=0)
    assert found is not None and exact is not None
    assert (found.slope, found.intercept, found.r_squared) == pytest.approx(
        (expected.slope, expected.intercept, expected.rvalue**2)
    )
    assert (
        found.slope_low < expected.slope < found.slope_high
        and found.slope_high - found.slope_low == pytest.approx(4 * expected.stderr, rel=0.4)
    )
    assert (
        found.points == 179
        and found.texts == 30
        and found.bias == pytest.approx((measured - predicted)[known].mean())
    )
    assert found.agreement < found.r_squared and exact.agreement == 1
    assert fit(predicted[:1, :2], predicted[:1, :2], seed=0) is None
    alone = fit(predicted[:1], predicted[:1], seed=0)
    assert (
        alone is not None
        and alone.texts == 1
        and alone.slope == pytest.approx(1.0)
        and np.isnan(alone.slope_low)
    )


def test_r_squared_within_layers_is_what_is_left_of_it_when_the_layers_means_are_known() -> None:
    """Layers differ by 10, texts by 1: R² is nearly 1 for any prediction with the right means, and
    says nothing of a text.
    """
    random = np.random.default_rng(3)
    means = 10 * np.arange(6.0)
    measured = means + random.normal(size=(40, 6))
    blind, half = (
        means + random.normal(size=(40, 6)),
        means + (measured - means) + random.normal(size=(40, 6)),
    )
    measured[4, 1] = np.nan
    blindly, partly, exactly = (fit(one, measured, seed=0) for one in (blind, half, measured))
    assert blindly is not None and partly is not None and exactly is not None
    assert (
        blindly.r_squared > 0.98 and blindly.layer_means > 0.99 and blindly.r_squared_within < 0.05
    )
    assert (
        exactly.r_squared_within == pytest.approx(1) and exactly.layer_means == blindly.layer_means
    )
    known = np.isfinite(measured)
    centred = [
        np.where(known, one, np.nan) - np.nanmean(np.where(known, one, np.nan), axis=0)
        for one in (half, measured)
    ]
    expected = scipy.stats.linregress(centred[0][known], centred[1][known]).rvalue ** 2
    assert (
        partly.r_squared_within == pytest.approx(expected)
        and partly.r_squared_within_low < expected < partly.r_squared_within_high
    )
    residual = measured - np.nanmean(measured, axis=0)
    assert partly.layer_means == pytest.approx(
        1 - np.nansum(residual**2) / np.nansum((measured - np.nanmean(measured)) ** 2)
    )
    assert np.isnan(fit(np.tile(means, (40, 1)), measured, seed=0).r_squared_within), (
        "a list of six numbers says nothing within"
    )


def test_copies_of_a_text_leave_a_fit_and_its_intervals_as_they_are() -> None:
    random = np.random.default_rng(4)
    predicted = random.normal(size=(20, 6))
    measured = predicted + random.normal(size=(20, 6))
    alone, copies = (
        fit(predicted, measured, 0),
        fit(np.tile(predicted, (5, 1)), np.tile(measured, (5, 1)), 0, np.tile(np.arange(20), 5)),
    )
    assert alone is not None and copies is not None and (copies.texts, copies.clusters) == (100, 20)
    for name in ("slope", "slope_low", "slope_high", "r_squared_low", "r_squared_within_high"):
        assert getattr(copies, name) == pytest.approx(getattr(alone, name))


def test_pairs_of_one_original_are_drawn_and_relabelled_together() -> None:
    random = np.random.default_rng(5)
    a, b = 0.4 + random.normal(size=25), random.normal(size=30)
    sizes = np.ones(25), np.ones(30)
    alone = flips(a, b, sizes, 0)
    clusters = np.tile(np.arange(25), 4), 25 + np.tile(np.arange(30), 4)
    copies = flips(np.tile(a, 4), np.tile(b, 4), sizes, 0, clusters)
    ignored = flips(np.tile(a, 4), np.tile(b, 4), sizes, 0)
    assert alone is not None and copies is not None and ignored is not None
    assert (copies.clusters, alone.clusters, copies.flipped) == (
        55,
        55,
        100,
    ) and copies.difference == pytest.approx(alone.difference)
    assert (copies.low, copies.high) == pytest.approx((alone.low, alone.high), abs=0.02)
    assert (
        copies.p_value == pytest.approx(alone.p_value, abs=0.02)
        and ignored.p_value < alone.p_value / 3
    )
    assert ignored.high - ignored.low < 0.6 * (copies.high - copies.low)


def test_the_share_of_pairs_in_order_is_mann_whitneys() -> None:
    random = np.random.default_rng(6)
    a, b = np.round(random.normal(0.5, 1, 20), 1), np.round(random.normal(size=30), 1)
    found = flips(a, b, (np.ones(20), np.ones(30)), 0)
    assert found is not None and found.auroc == pytest.approx(
        scipy.stats.mannwhitneyu(a, b).statistic / 600
    )
    assert 0 <= found.auroc_low < found.auroc < found.auroc_high <= 1


def test_a_record_is_enough_to_hold_it_together_again(
    odestab: Command, tuned: Path, tmp_path: Path
) -> None:
    record = calibrated(odestab, tuned, "--directions", direction(tmp_path, "the cat sat", 5))
    assert again(record, 0).record()["fits"] == json.loads(json.dumps(record["fits"]))
    outcome = odestab("recalibrate", "calibrated/calibration.json", "--out", tmp_path / "again")
    assert outcome.code == 0, outcome.err
    found = json.loads((tmp_path / "again/calibration.json").read_text())
    assert found["flips"].keys() == record["flips"].keys()
    for name, one in record[
        "flips"
    ].items():  # the growth through several steps is added up again, which rounds
        assert found["flips"][name] == pytest.approx(one)
    for one, other in zip(found["series"], record["series"], strict=True):
        assert all(
            one[name] == other[name]
            for name in ("measured", "predicted", "edit", "clusters", "margins")
        )
    assert found["linearity"]["worst"]["ends_by_step"] == pytest.approx(
        record["linearity"]["worst"]["ends_by_step"]
    )
    old = json.loads(json.dumps(record))
    for one in old["series"]:
        for name in ("edit", "clusters", "margins"):
            del one[name]
    assert again(old, 0).record()["fits"][0]["r_squared"] == record["fits"][0]["r_squared"]
    odestab.refuses(["recalibrate", "texts.tsv", "--out", tmp_path / "none"], "expected JSON")
    with pytest.raises(ValueError, match="expected the record of a calibration of schema 1, got 9"):
        again({**record, "schema": 9}, 0)


def test_the_margin_stands_beside_growth(odestab: Command, tuned: Path, tmp_path: Path) -> None:
    pairs = [line.split("\t") for line in TEXTS.splitlines() if "\t" in line]
    margins = {
        hashlib.sha256(one[1].encode()).hexdigest(): float(place) for place, one in enumerate(pairs)
    }
    (tmp_path / "margins.json").write_text(json.dumps(margins))
    found = calibrated(odestab, tuned, "--margins", tmp_path / "margins.json")["flips"]
    assert (
        found["margin"]["difference"] == pytest.approx((0 + 1) / 2 - (2 + 3) / 2)
        and found["margin"]["auroc"] == 0
    )
    assert "measured after step 1" in found and "measured after step 2" not in found, (
        "through all steps is measured already"
    )


def test_linearity_ends_where_the_error_is_what_is_tolerated() -> None:
    sizes = np.array([1e-4, 1e-3, 1e-2, 1e-1])
    predicted = np.zeros((4, 5, 2))
    measured = (
        predicted + np.stack([3 * sizes, sizes], axis=1)[:, None, :]
    )  # of the last step 0.1 nats at size 0.1
    found = linearity(sizes, predicted, measured)
    assert (
        found.ends_by_step == pytest.approx((0.1 / 3, 0.1)) and found.ends == found.ends_by_step[-1]
    )
    assert np.array(found.error) == pytest.approx(measured[:, 0])
    assert linearity(sizes, predicted, measured / 10).ends is None
    assert linearity(sizes, predicted, 1000 * measured).ends == 1e-4


def test_growth_of_pairs_that_flip_is_compared_with_that_of_pairs_that_hold() -> None:
    random = np.random.default_rng(0)
    held, edits = random.normal(size=40), (np.ones(30), np.full(40, 0.5))
    found = flips(1 + random.normal(size=30), held, edits, seed=0)
    assert found is not None and found.low < 1 < found.high and found.p_value < 0.01
    assert (found.flipped, found.held, found.size_flipped, found.size_held) == (30, 40, 1, 0.5)
    same = flips(random.normal(size=30), held, edits, seed=0)
    assert same is not None and same.p_value > 0.05
    assert flips(np.full(3, np.nan), held, edits, seed=0) is None


def test_a_fine_tuned_model_is_predicted_by_its_own_linearisation(
    odestab: Command, tuned: Path, tmp_path: Path
) -> None:
    record = calibrated(odestab, tuned, "--directions", direction(tmp_path, "the cat sat", 5))
    fits = {(row["kind"], row["size"], row["source"]): row for row in record["fits"]}
    assert {kind for kind, _, _ in fits} == {
        "gaussian",
        "worst",
        "flipped",
        "held",
    }  # the attack has two points
    for kind in ("gaussian", "worst"):
        assert fits[kind, 1e-4, "fine-tuned"]["agreement"] > 0.999
        assert fits[kind, 1e-4, "pretrained"]["agreement"] < 0.99  # other weights
    assert (
        record["meta"]["steps"]["implicit_layers"] == [1]
        and record["meta"]["weights"]["fine-tuned"] != record["meta"]["weights"]["pretrained"]
    )
    attack = next(one for one in record["series"] if one["kind"] == "attack")
    assert np.array(attack["measured"]).shape == (1, 2) and attack["size"] is None
    assert record["linearity"]["worst"]["sizes"] == [1e-4, 1e-3, 1e-2, 1e-1, 0.3]
    assert (
        set(record["flips"]) == {"measured", "fine-tuned", "pretrained", "measured after step 1"}
        and record["flips"]["measured"]["flipped"] == 2
    )
    assert "the cat" not in json.dumps(record)
    assert len(picture.draw(typed(record, Calibration, "record")).axes) == 3


def test_the_pretrained_model_takes_the_same_steps(
    odestab: Command, tuned: Path, checkpoint: Path, tmp_path: Path
) -> None:
    plain = calibrated(odestab, checkpoint)
    assert plain["meta"]["steps"] is None
    for row in plain["fits"]:  # one and the same model
        other = next(
            one
            for one in plain["fits"]
            if (one["kind"], one["size"]) == (row["kind"], row["size"]) and one != row
        )
        assert row["r_squared"] == other["r_squared"]
    assert (
        odestab(
            "calibrate",
            tuned,
            "--texts",
            "texts.tsv",
            "--pretrained",
            "bert",
            "--out",
            "calibrated",
        ).code
        == 2
    )  # another run


def test_directions_must_be_those_of_the_texts(
    odestab: Command, tuned: Path, tmp_path: Path
) -> None:
    shared = [
        "calibrate",
        tuned,
        "--pretrained",
        "bert",
        "--texts",
        "texts.tsv",
        "--out",
        "calibrated",
        "--directions",
    ]
    odestab.refuses(
        [*shared, direction(tmp_path, "another text", 5)],
        "expected directions by the sha256 of their texts, got 1 of other",
    )
    odestab.refuses(
        [*shared, direction(tmp_path, "the cat sat", 5, hidden=8)],
        r"expected directions of shape \(tokens, 16\), got \(5, 8\)",
    )
    odestab.refuses(
        [*shared, direction(tmp_path, "the cat sat", 4)], "must be of its 5 tokens, got 4"
    )
    (tmp_path / "broken").write_bytes(b"no tensors")
    odestab.refuses([*shared, "broken"], "expected safetensors of directions")


def test_steps_of_another_depth_are_refused(odestab: Command, tuned: Path, tmp_path: Path) -> None:
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=12,
    )
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path / "deeper")
    transformers.AutoTokenizer.from_pretrained(tuned).save_pretrained(tmp_path / "deeper")
    shared = [
        "calibrate",
        tuned,
        "--texts",
        "texts.tsv",
        "--out",
        "calibrated",
        "--pretrained",
        "deeper",
    ]
    odestab.refuses(shared, "steps must be declared for 3 layers, got those of 2")


STEPS = {
    "explicit": {"method": "explicit_euler"},
    "explicit, outer": {"method": "explicit_euler", "field": "outer"},
    "published": {"field": "outer", "solver": {"name": "GradientDescent", "steps": 5}},
}


@pytest.mark.parametrize("options", STEPS.values(), ids=STEPS.keys())
def test_steps_that_stop_by_design_are_calibrated_as_they_run(
    odestab, checkpoint: Path, options: dict
) -> None:
    imbert.ImBertForSequenceClassification.from_pretrained(
        checkpoint, implicit_layers=[1], num_labels=2, **options
    ).save_pretrained("own")
    transformers.AutoTokenizer.from_pretrained(checkpoint).save_pretrained("own")
    found = calibrated(odestab, Path("own"), "--propagated", 2)
    small = [row for row in found["fits"] if row["size"] == 1e-4 and row["source"] == "fine-tuned"]
    assert {row["kind"] for row in small} == {"gaussian", "worst"}
    assert all(row["points"] == 4 and row["agreement"] > 0.999 for row in small)
