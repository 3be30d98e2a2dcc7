"""AdvGLUE's pairs and score."""

import json
import os
from pathlib import Path

import pytest

from imbert.data.advglue import ADVGLUE_TASKS, advglue_score, read_advglue, task_score

DATA = os.environ.get("ODESTAB_DATA")
ITEMS = {
    "qqp": [
        {
            "idx": 3,
            "question1": "odd one?",
            "original_question1": "one?",
            "question2": "two?",
            "label": 0,
            "data_construction": "word",
            "method": "typos",
        },
        {
            "idx": 4,
            "question1": "three?",
            "question2": "four?",
            "label": 1,
            "data_construction": "human",
            "method": "written",
        },
        {
            "idx": 9,
            "question1": "five?",
            "question2": "odd six?",
            "original_question2": "six?",
            "label": 1,
            "data_construction": "sentence",
            "method": "suffix",
        },
    ],
    "sst2": [{"idx": 0, "sentence": "a film", "label": 1}],
    "rte": [],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "dev.json").write_text(json.dumps(ITEMS))
    return tmp_path / "dev.json"


def test_items_are_paired_with_what_they_were_made_from(path: Path) -> None:
    found = read_advglue(path, "qqp")
    assert found.adversarial.texts == (("odd one?", "two?"), ("five?", "odd six?"))
    assert found.original.texts == (("one?", "two?"), ("five?", "six?"))
    assert found.adversarial.ids == found.original.ids == ("3", "9")
    assert found.adversarial.labels.tolist() == found.original.labels.tolist() == [0, 1]
    assert found.kinds == ("word", "sentence")
    assert found.methods == ("typos", "suffix")
    assert found.unpaired.ids == ("4",)
    assert found.unpaired_kinds == ("human",)
    assert found.every.ids == ("3", "9", "4")
    assert found.every.labels.tolist() == [0, 1, 1]


def test_items_of_the_published_file_have_no_original(path: Path) -> None:
    found = read_advglue(path, "sst2")
    assert (len(found.adversarial), len(found.original), len(found.unpaired)) == (0, 0, 1)
    assert found.kinds == ()


@pytest.mark.parametrize(
    ("content", "task", "message"),
    [
        (
            "{}",
            "cola",
            r"task must be one of AdvGLUE's, sst2, qqp, mnli, mnli-mm, qnli, rte, got 'cola'",
        ),
        ("[1]", "sst2", r"dev\.json: expected an object with a list 'sst2', got list"),
        ('{"qqp": []}', "sst2", r"expected an object with a list 'sst2', got qqp"),
        ('{"sst2": []}', "sst2", r"expected at least one item of sst2, got an empty list"),
        ('{"sst2": [3]}', "sst2", r"dev\.json: sst2 item 0: expected an object, got int"),
        (
            '{"sst2": [{"sentence": "a", "label": 2}]}',
            "sst2",
            r"sst2 item 0: expected a label of sst2, .*, got 2",
        ),
        (
            '{"sst2": [{"sentence": "a"}]}',
            "sst2",
            r"sst2 item 0: expected a label of sst2, .*, got None",
        ),
        (
            '{"sst2": [{"sentence": "a", "original_sentence": " ", "label": 1}]}',
            "sst2",
            r"sst2 item 0: expected a text that is not empty",
        ),
        (
            '{"mnli-mm": [{"premise": "a", "label": 2}]}',
            "mnli-mm",
            r"mnli-mm item 0: expected a text .* in column hypothesis, got None",
        ),
        ('{"sst2": [', "sst2", r"dev\.json: expected JSON"),
    ],
)
def test_bad_input(tmp_path: Path, content: str, task: str, message: str) -> None:
    (tmp_path / "dev.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_advglue(tmp_path / "dev.json", task)


LEADERBOARD = {  # BERT-large, from the benchmark's site
    "sst2": {"accuracy": 33.028169014084504},
    "qqp": {"accuracy": 37.91469194312796, "f1": 16.56050955414013},
    "mnli": {"accuracy": 28.851174934725847},
    "mnli-mm": {"accuracy": 27.049180327868854},
    "qnli": {"accuracy": 39.77272727272727},
    "rte": {"accuracy": 40.46052631578947},
}


def test_score_is_the_mean_over_five_tasks() -> None:
    by_hand = (
        33.028169014
        + (37.914691943 + 16.560509554) / 2
        + (28.851174935 + 27.049180328) / 2
        + 39.772727273
        + 40.460526316
    ) / 5
    assert advglue_score(LEADERBOARD) == pytest.approx(by_hand, abs=1e-8)
    assert advglue_score(LEADERBOARD) == pytest.approx(
        33.7, abs=0.05
    )  # the published score, to its digits
    scores = {name: task_score(name, metrics) for name, metrics in LEADERBOARD.items()}
    assert advglue_score(scores) == pytest.approx(by_hand, abs=1e-8)


def test_mnli_counts_once_and_qqp_needs_f1() -> None:
    ones = dict.fromkeys(ADVGLUE_TASKS, 0.0)
    assert advglue_score(ones | {"mnli": 1.0}) == pytest.approx(0.1, abs=1e-15)
    assert advglue_score(ones | {"rte": 1.0}) == pytest.approx(0.2, abs=1e-15)
    with pytest.raises(ValueError, match="score of qqp needs accuracy and f1, got accuracy"):
        task_score("qqp", {"accuracy": 0.5})
    with pytest.raises(ValueError, match="task must be one of AdvGLUE's"):
        task_score("wnli", {"accuracy": 0.5})


@pytest.mark.parametrize("change", [{"wnli": 0.5}, {}])
def test_a_score_over_other_tasks_is_refused(change: dict[str, float]) -> None:
    given = {name: 0.5 for name in ADVGLUE_TASKS if change or name != "rte"} | change
    with pytest.raises(
        ValueError, match=r"needs exactly sst2, qqp, mnli, mnli-mm, qnli, rte, got sst2"
    ):
        advglue_score(given)


@pytest.mark.skipif(DATA is None, reason="ODESTAB_DATA names no folder of prepared data")
@pytest.mark.parametrize(
    ("task", "paired", "unpaired"),
    [
        ("sst2", 131, 17),
        ("qqp", 71, 7),
        ("mnli", 121, 0),
        ("mnli-mm", 119, 43),
        ("qnli", 133, 15),
        ("rte", 81, 0),
    ],
)
def test_prepared_data(task: str, paired: int, unpaired: int) -> None:
    found = read_advglue(Path(str(DATA)) / "advglue_dev.json", task)
    assert (len(found.adversarial), len(found.original), len(found.unpaired)) == (
        paired,
        paired,
        unpaired,
    )
    assert set(found.kinds) == {"word", "sentence"}
    assert set(found.unpaired_kinds) <= {"human"}
    assert all(
        one != other
        for one, other in zip(found.adversarial.texts, found.original.texts, strict=True)
    )
