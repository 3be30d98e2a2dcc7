"""`odestab calibrate`: a fine-tuned model beside what it came from, on texts and pairs."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import save_file
from tiny_study import Command, tiny_config

import imbert
from analysis.calibration import again, calibrate
from analysis.record import read_run
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


TEXTS_AND_OUT = ("--texts", "texts.tsv", "--out", "calibrated")


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


def command(model: Path, pretrained: str = "bert") -> list[object]:
    """The arguments that calibrate a model against another."""
    return ["calibrate", model, "--pretrained", pretrained, *TEXTS_AND_OUT]


def calibrated(odestab: Command, tuned: Path, *arguments: object) -> dict:
    outcome = odestab(*command(tuned), *arguments)
    assert outcome.code == 0, outcome.err
    return json.loads(Path("calibrated/calibration.json").read_text())


def direction(folder: Path, text: str, tokens: int, hidden: int = 16) -> Path:
    values = 0.01 * torch.randn(tokens, hidden, generator=torch.Generator().manual_seed(0))
    save_file(
        {hashlib.sha256(text.encode()).hexdigest(): values}, folder / "directions.safetensors"
    )
    return folder / "directions.safetensors"


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
    assert odestab(*command(tuned)).code == 2  # another run


def test_directions_must_be_those_of_the_texts(
    odestab: Command, tuned: Path, tmp_path: Path
) -> None:
    shared = [*command(tuned), "--directions"]
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
    config = tiny_config(num_hidden_layers=3)
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path / "deeper")
    transformers.AutoTokenizer.from_pretrained(tuned).save_pretrained(tmp_path / "deeper")
    odestab.refuses(command(tuned, "deeper"), "steps must be declared for 3 layers, got those of 2")


def test_a_series_holds_the_texts_that_were_perturbed_in_their_order(
    odestab: Command, tuned: Path, tmp_path: Path
) -> None:
    texts = "the dog sat on the mat\nthe cat\nthe dog sat\n"
    Path("texts.tsv").write_text(texts, encoding="utf-8")
    calibrated(odestab, tuned, "--directions", direction(tmp_path, "the cat", 4))
    runs = [read_run(Path("calibrated") / source) for source in ("fine-tuned", "pretrained")]
    series = {(one.kind, one.size): one for one in calibrate(*runs, 0).series}
    noise = series["gaussian", 1e-4]
    assert noise.clusters.tolist() == [0, 1, 2], "not in the order of their lengths"
    for place in range(3):
        cell, row = next(
            (cell, cell.header["texts"].index(place))
            for cell in runs[0].of_kind("declared")
            if cell.header["perturbation"] == "gaussian" and place in cell.header["texts"]
        )
        growth = np.log(cell.arrays["measured"][0, row])
        assert noise.measured[place] == pytest.approx(np.diff(growth), abs=1e-12)
        assert noise.total["measured"][place] == pytest.approx(growth[1:], abs=1e-12)
    attack = series["attack", None]
    assert attack.clusters.tolist() == [1] and attack.measured.shape == (1, 2), "one text alone"


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
