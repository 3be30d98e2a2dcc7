"""A report tells of predictions, studies and calibrations that are given to it, from their records
alone.
"""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import synthetic
from markupsafe import escape

from analysis.prediction.records import TESTED
from figures import style, template
from figures.controls import CHECKS
from figures.records import Calibration, Confirmation, Prediction, Study, typed
from figures.report import write_report
from figures.story import Story, read_story, tell

STUDIES = Path(__file__).parents[2] / "docs" / "studies"
STUDY = STUDIES / "sst2-1000" / "study.json"
FLIPS = STUDIES / "conditioning" / "flips.json"
KINDS = {
    "prediction": Prediction,
    "confirmation": Confirmation,
    "study": Study,
    "calibration": Calibration,
}


def estimate(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def records() -> dict[str, Any]:
    fit = {"slope": 0.5, "slope_low": 0.4, "slope_high": 0.6, "r_squared": 0.25, "agreement": -0.5}
    series = {"kind": "gaussian", "size": 1e-4, "sizes": {"median": 1e-4}, "measured": [[0.1, 0.2]]}
    series["predicted"] = {source: [[0.1, None]] for source in ("fine-tuned", "pretrained")}
    correlation = {
        "name": "Spearman",
        "value": 0.3,
        "low": 0.1,
        "high": 0.5,
        "p_value": 0.4,
        "critical": 0.6,
    }
    outcome = {
        "layers": [1],
        "predicted": estimate(0.2),
        "measured": 0.1,
        "low": 0.0,
        "high": 0.2,
        "dev": 0.8,
    }
    return {
        "prediction": json.loads((STUDIES / "placement" / "prediction.json").read_text()),
        "study": json.loads(STUDY.read_text()),
        "calibration": {
            "schema": 1,
            "fits": [{"kind": "gaussian", "size": 1e-4, "source": "pretrained", **fit}],
            "series": [series],
            "linearity": {
                "gaussian": {"sizes": [1e-4, 1e-2], "error": [[0.01], [0.2]], "ends": 5e-3}
            },
            "flips": {
                "measured": {
                    "difference": 0.5,
                    "low": 0.1,
                    "high": 0.9,
                    "p_value": 0.03,
                    "flipped": 7,
                    "held": 9,
                }
            },
            "meta": {"model": "<tuned>"},
        },
        "confirmation": {
            "attack": "characters",
            "outcomes": [outcome],
            "correlations": [correlation],
            "detectable": 0.07,
            "sentence": "Not confirmed <yet>.",
        },
    }


@pytest.fixture(autouse=True)
def svg_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "_WITHOUT_DATES", {"svg": style._WITHOUT_DATES["svg"]})


def story(**plain: Any) -> Story:
    """Plain records as typed ones."""
    return Story(**{name: typed(record, KINDS[name], name) for name, record in plain.items()})


def page(folder: Path, story: Story) -> str:
    path = write_report(synthetic.summary(layers=2, texts=3, dense=False), folder, told=story)
    return path.read_text(encoding="utf-8")


def section(page: str, name: str) -> str:
    found = re.search(rf'<section aria-labelledby="{name}">(.*?)</section>', page, re.DOTALL)
    assert found is not None
    return found[1]


def headings(text: str) -> list[str]:
    return re.findall(r"<h2 [^>]*>(.*?)</h2>", text)


@pytest.mark.slow
def test_without_records_the_page_asks_and_says_its_limits(tmp_path: Path) -> None:
    found = headings(page(tmp_path, Story()))
    assert found[0] == "What a step is" and "Limits" in found
    assert not {"What was predicted", "What fine-tuning showed", "Controls"} & set(found)


@pytest.mark.slow
def test_every_record_has_its_section_with_its_numbers(tmp_path: Path) -> None:
    text = page(tmp_path, story(**records()))
    found = headings(text)
    wanted = [
        "What was predicted",
        "What fine-tuning showed",
        "Was the prediction right?",
        "Does a linearisation foresee growth in &lt;tuned&gt;?",
        "Controls",
        "Limits",
    ]
    assert [name for name in found if name in wanted] == wanted
    group = records()["study"]["groups"][0]
    for model in group["models"]:
        mean = model["measures"]["dev"]["mean"]
        assert re.search(rf"{model['name']}.*?{100 * mean:.1f} ±", text)
    assert "Not confirmed &lt;yet&gt;." in text and "7\u00a0% of the examples" in text
    assert (
        "gaussian of size 0.0001, from the pretrained linearisation: "
        "R² 0.25, slope 0.5 (0.4 to 0.6), agreement −0.5." in text
    )
    assert all(
        str(escape(sentence)) in text
        for sentence in records()["prediction"]["recommendation"]["sentences"]
    )
    assert "0.5 nats above the others&#39; (0.1 to 0.9, p = 0.03; 7 and 9 pairs)" in text
    assert {path.stem for path in (tmp_path / "figures").glob("story_*.svg")} == {
        f"story_{name}" for name in ("prediction", "study", "confirmation", "calibration")
    }


@pytest.mark.slow
@pytest.mark.parametrize("made", ["before it was tested", "since"])
def test_a_prediction_is_told_with_what_tests_have_shown(tmp_path: Path, made: str) -> None:
    prediction = records()["prediction"]
    sentences = prediction["recommendation"]["sentences"]
    assert TESTED not in sentences, "the published prediction is older than its test"
    if made == "since":
        sentences.append(TESTED)
    assert page(tmp_path, story(prediction=prediction)).count(str(escape(TESTED))) == 1


def test_controls_tell_of_refinement_and_of_other_explicit_steps(tmp_path: Path) -> None:
    study = json.loads((STUDIES / "sst2-1000-controls" / "study.json").read_text())
    text = template.render("story.html.j2", told=tell(story(study=study), tmp_path, "Refined."))
    text = section(text, "controls")
    models = {model["name"]: model for model in study["groups"][0]["models"]}
    damped = 100 * models["damped"]["against_baseline"]["all"]["hierarchical"]["mean"]
    assert (
        "<p>Refined.</p>" in text
        and f"damped, sst2-1000 (field increment, step size 0.5): −{-damped:.2g} points" in text
    )
    assert (
        "matched, sst2-1000 (field increment, substeps 8)" in text
        and "few-sample, sst2-1000 (training alone)" in text
    )
    assert "ex-bert, sst2-1000 (field outer)" in text
    assert not re.search(r"im-bert, sst2-1000 \(", text)
    unrefined = template.render("story.html.j2", told=tell(story(study=study), tmp_path))
    assert "--depth full" in section(unrefined, "controls")


@pytest.mark.slow
def test_failed_checks_and_what_is_missing_are_told(tmp_path: Path) -> None:
    study = copy.deepcopy(records()["study"])
    for model in study["groups"][0]["models"]:
        model["masking"] = {"gradients": [False, True, None], "residual": [True, None, None]}
    study["missing"], study["warnings"] = ["a run"], ["a check failed"]
    text = page(tmp_path, story(study=study))
    assert (
        "gradients through the solver agree with differences at the attacked points: 1 of 2 failed"
        in text
    )
    assert "<li>Missing: a run</li>" in text and "a check failed" in text


def controls_of(study: dict[str, Any], folder: Path) -> str:
    """The text of the section, a space for each run of white space."""
    text = template.render("story.html.j2", told=tell(story(study=study), folder))
    return " ".join(section(text, "controls").split())


def test_checks_count_their_seeds_and_old_kinds_rule_nothing_out(tmp_path: Path) -> None:
    text = controls_of(records()["study"], tmp_path)
    weak = "of check are old and too weak to rule masking out"
    assert f"bert, sst2-1000: 5 of 5 seeds, every check passed; 2 of 2 kinds {weak}." in text
    assert (
        f"im-bert-published, sst2-1000: 2 of 5 seeds, every check passed; 2 of 4 kinds {weak}."
        in text
    )
    assert "would pass: attacks without gradients do not beat those with them; " in text


def test_checks_of_today_are_not_called_old_and_unchecked_models_are_counted(
    tmp_path: Path,
) -> None:
    study = records()["study"]
    models = study["groups"][0]["models"]
    for model in models:
        model["masking"] = {}
    models[0]["masking"] = {name: [True, None] for name in CHECKS}
    text = controls_of(study, tmp_path)
    assert "bert, sst2-1000: 2 of 5 seeds, every check passed." in text
    assert "ex-bert, sst2-1000: 0 of 5 seeds." in text
    assert "too weak" not in text and "old kinds" not in text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "regularised",
            "No other explicit model, beside bert-consistency of the question, has been compared "
            "with the baseline, bert, which is itself explicit.",
        ),
        (
            "substeps",
            "No other explicit model has been compared with the baseline, explicit-8, which is "
            "itself explicit (field increment, substeps 8).",
        ),
    ],
)
def test_what_is_asked_about_and_the_baseline_are_no_controls_of_themselves(
    name: str, said: str, tmp_path: Path
) -> None:
    text = controls_of(json.loads((STUDIES / name / "study.json").read_text()), tmp_path)
    assert said in text
    assert "training alone" not in text and "No explicit model" not in text


def test_an_implicit_baseline_without_controls_is_told(tmp_path: Path) -> None:
    study = json.loads((STUDIES / "substeps" / "study.json").read_text())
    study["baseline"] = "implicit-8"
    for model in study["groups"][0]["models"]:
        model["against_baseline"] = None
    assert "No explicit model has been compared with the baseline, implicit-8, yet." in controls_of(
        study, tmp_path
    )


def test_records_are_read_and_told_apart(tmp_path: Path) -> None:
    given = records()
    for name, record in given.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(record))
    found = read_story(study=STUDY, calibration=tmp_path / "calibration.json", confirmation=None)
    assert (
        found.study == typed(given["study"], KINDS["study"], "study")
        and found.calibration == typed(given["calibration"], KINDS["calibration"], "calibration")
        and found.confirmation is None
    )
    with pytest.raises(
        ValueError, match="expected the record of a prediction, with 'recommendation'"
    ):
        read_story(prediction=STUDY)
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ValueError, match="expected JSON"):
        read_story(study=tmp_path / "broken.json")


def test_a_study_tells_its_question_and_the_sentence_that_was_written_before(
    tmp_path: Path,
) -> None:
    study = records()["study"]
    study["study"]["question"] = {
        "name": "Do <implicit> steps help?",
        "difference": {
            "attack": "words",
            "model": "im-bert",
            "over": "bert",
            "measure": "robust accuracy",
        },
    }
    study["groups"][0]["verdict"] = {
        "outcome": "between",
        "sentence": "Not told apart.",
        "value": 0.0123,
        "low": -0.021,
        "high": 0.052,
        "seeds": [0, 3],
    }
    text = template.render("story.html.j2", told=tell(story(study=study), tmp_path))
    assert "Asked before any run: Do &lt;implicit&gt; steps help?" in text
    assert (
        "sst2-1000: Not told apart. Robust accuracy under words, im-bert less bert: "
        "1.2 points (−2.1 to 5.2), 2 seeds."
    ) in text
    study["groups"][0]["verdict"] |= {"value": None, "low": None, "high": None, "seeds": []}
    nothing = template.render("story.html.j2", told=tell(story(study=study), tmp_path))
    assert "<li>sst2-1000: Not told apart.</li>" in nothing


def test_the_question_comes_first_and_what_is_missing_is_said_once(tmp_path: Path) -> None:
    study = json.loads((STUDIES / "regularised" / "study.json").read_text())
    prediction = records()["prediction"]
    text = template.render(
        "story.html.j2", told=tell(story(study=study, prediction=prediction), tmp_path)
    )
    assert headings(text) == [
        "What was asked",
        "What was predicted",
        "What fine-tuning showed",
        "Controls",
        "Limits",
    ]
    assert study["study"]["question"]["name"] in section(text, "asked")
    assert study["groups"][0]["verdict"]["sentence"] in section(text, "fine-tuning")
    assert f"<li>Missing: {study['missing'][0]}</li>" in text and "Not run yet" not in text


def test_a_verdict_on_flips_has_its_section(tmp_path: Path) -> None:
    found = read_story(flips=FLIPS)
    assert found.flips is not None
    text = template.render("story.html.j2", told=tell(found, tmp_path))
    assert "Which inputs flip?" in headings(text)
    assert found.flips.primary.sentence in section(text, "flipped")
    assert (tmp_path / "flips_scores.svg").exists()
    with pytest.raises(ValueError, match="expected the record of a flips, with 'rankings'"):
        read_story(flips=STUDY)
