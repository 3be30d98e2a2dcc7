"""Several tasks and kinds of model in one verdict: by task and kind, with transfers from explicit
to implicit models, and the reading of the plan that the numbers select.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from flips_records import a_condition, an_attack, an_input, drafted, weights_of, written
from tiny_study import Command

from analysis.flips import judge, read_files
from analysis.flips.files import Run
from analysis.flips.records import Flips, Ranking
from analysis.flips.telling import WIDTH, told
from analysis.ground.typed_records import read_typed

RESAMPLES = 200
COUNT = 120
READING = {"above": "It says more.", "below": "It says less.", "between": "Not told apart."}
Arms = Mapping[tuple[str, str, int], int]


def a_run(task: str, kind: str, seed: int, model: int) -> dict[str, Any]:
    """As imbert writes result.json, as far as it is read, and an entry that nobody reads."""
    return {
        "run": {"model": {"kind": kind}, "data": {"task": task}, "train": {"seed": seed}},
        "train": {"steps": 3},
        "meta": {"checkpoints": {"start": None, "final": weights_of(model)}},
        "warnings": [],
    }


def a_plan(**question: Any) -> dict[str, Any]:
    asked = {"name": "q?", "primary": "gradient over confidence", "reading": READING, **question}
    of = {"name": "s", "tasks": ["sst2", "rte"], "kinds": ["bert", "im-bert"]}
    return {"schema": 1, **of, "plan": "a" * 64, "question": asked, "changes": []}


def arm_files(folder: Path, arms: Arms, rows: int = COUNT, seed: int = 0) -> list[Path]:
    """Of each arm its condition, its run and an attack on its first rows, implicit ones on `rows`:
    a gradient that all models of a task share says who flips, each one's margin says nothing.
    """
    random = np.random.default_rng(seed)
    gradients = {task: np.exp(random.normal(size=COUNT)) for task, _, _ in arms}
    paths = []
    for (task, kind, number), model in arms.items():
        shared = gradients[task]
        own = shared * np.exp(random.normal(scale=0.3, size=COUNT))
        flipped = np.log(shared) + random.logistic(scale=0.3, size=COUNT) > 0
        inputs = [
            an_input(
                i,
                float(own[i]),
                float(random.uniform(0.5, 3)),
                drafts={"characters": drafted(spread=float(own[i]), flipped=int(i % 5 == 0))},
                text=f"{task} {i}",
            )
            for i in range(COUNT)
        ]
        count = rows if kind == "im-bert" else COUNT
        attack = an_attack([True] * count, flipped[:count].tolist(), model)
        attack["of"] |= {"task": task, "examples": "e" * 64 if count == COUNT else "f" * 64}
        name = f"{task}-{kind}-{number}"
        paths += [
            written(folder, f"condition-{name}", a_condition(inputs, model, ["characters"])),
            written(folder, f"attack-{name}", attack),
            written(folder, f"result-{name}", a_run(task, kind, number, model)),
        ]
    return paths


ARMS: Arms = {
    ("sst2", "bert", 0): 0,
    ("sst2", "bert", 1): 1,
    ("sst2", "im-bert", 0): 2,
    ("rte", "bert", 0): 3,
    ("rte", "im-bert", 0): 4,
}


@pytest.fixture
def record(tmp_path: Path) -> Flips:
    paths = arm_files(tmp_path, ARMS, rows=90)
    paths.append(written(tmp_path, "plan", a_plan()))
    return judge(read_files(paths), resamples=RESAMPLES)


def of(record: Flips, task: str, kind: str) -> Ranking:
    return next(each for each in record.pooled("right") if (each.task, each.kind) == (task, kind))


def test_each_task_and_kind_is_judged_alone_and_kinds_together(record: Flips) -> None:
    groups = {(each.task, each.kind): each for each in record.pooled("right")}
    assert {key: each.models for key, each in groups.items()} == {
        ("sst2", ""): [0, 1, 2],
        ("sst2", "bert"): [0, 1],
        ("sst2", "im-bert"): [2],
        ("rte", ""): [3, 4],
        ("rte", "bert"): [3],
        ("rte", "im-bert"): [4],
    }
    assert {key for key, each in groups.items() if each.primary} == {k for k in groups if k[1]}
    assert groups["sst2", "bert"].inputs == 2 * COUNT and groups["sst2", "im-bert"].inputs == 90
    assert groups["sst2", ""].inputs == 2 * COUNT + 90
    # models of two tasks share no sentence, the kinds of one task share all
    assert groups["sst2", ""].score("gradient").sentences == COUNT
    assert [(each.task, each.kind, each.seed) for each in record.models] == list(ARMS)
    assert groups["sst2", ""].calibration is None and groups["sst2", "bert"].calibration is not None


def test_a_group_is_what_it_is_alone(tmp_path: Path, record: Flips) -> None:
    """Other tasks and kinds beside it change no number of a group, though it has fewer rows."""
    folder = tmp_path / "alone"
    folder.mkdir()
    paths = arm_files(folder, ARMS, rows=90)
    for kind in ("bert", "im-bert"):
        kept = [path for path in paths if f"sst2-{kind}" in path.name]
        alone = judge(read_files(kept), resamples=RESAMPLES).pooled("right")
        beside = of(record, "sst2", kind)
        # a model has another number where others stand before it
        assert alone == [msgspec.structs.replace(beside, models=list(range(len(beside.models))))]
        assert beside.calibration is not None


def test_rows_that_were_used_and_seeds_that_are_missing_are_named(record: Flips) -> None:
    assert [(each.model, each.rows, each.inputs) for each in record.joined] == [
        (model, 90 if kind == "im-bert" else COUNT, COUNT) for (_, kind, _), model in ARMS.items()
    ]
    assert record.missing == ["sst2, im-bert, seed 1: not attacked by characters"]
    lines = "\n".join(told(record))
    assert "missing: sst2, im-bert, seed 1" in lines and "90 of 120 rows used" in lines
    assert max(map(len, told(record))) <= WIDTH


def test_a_kind_without_an_attack_and_attacks_with_other_options_are_named(tmp_path: Path) -> None:
    paths = arm_files(tmp_path, {("sst2", "bert", 0): 0, ("sst2", "im-bert", 0): 1})
    attack = json.loads(paths[1].read_text())
    words = written(tmp_path, "words", {**attack, "attack": "words"})
    assert judge(read_files([*paths, words]), resamples=20).missing == [
        "sst2, im-bert, seed 0: not attacked by words"
    ]
    options = {**attack["options"], "queries": 50}
    other = written(tmp_path, "other", {**attack, "options": options})
    missing = judge(read_files([*paths, other]), resamples=20).missing
    assert missing == [
        "sst2: characters with 2 sets of options, each judged alone",
        "sst2, im-bert, seed 0: not attacked by characters (2)",
    ]


def test_explicit_scores_are_held_against_flips_of_the_implicit_model(record: Flips) -> None:
    by_task = {each.task: each for each in record.transfers}
    assert {task: each.pairs for task, each in by_task.items()} == {
        "sst2": [[0, 2]],  # seed 1 has no implicit model
        "rte": [[3, 4]],
    }
    found = by_task["sst2"]
    assert (found.explicit, found.implicit, found.seeds, found.inputs) == (
        "bert",
        "im-bert",
        [0],
        90,
    )
    gains = {(each.score, each.other): each for each in found.compared}
    foreign = gains["explicit gradient", "confidence"]
    assert foreign.auroc.value is not None and foreign.auroc.value > 0.8
    assert foreign.gain.above_zero
    own = gains["gradient", "confidence"]
    assert (own.auroc, own.gain) == (
        of(record, "sst2", "im-bert").score("gradient").auroc,
        of(record, "sst2", "im-bert").score("gradient").gain,
    )
    assert foreign.of_other == own.of_other, "the same confidence on the same inputs"
    beside = gains["explicit gradient", "gradient"]
    assert beside.auroc == foreign.auroc and beside.of_other == own.auroc
    assert beside.gain.value == pytest.approx(foreign.auroc.value - own.auroc.value)
    assert ("explicit characters spread", "confidence") in gains


def test_transfer_takes_the_rows_that_the_implicit_model_has_right(tmp_path: Path) -> None:
    paths = arm_files(tmp_path, {("sst2", "bert", 0): 0, ("sst2", "im-bert", 0): 1})
    condition = json.loads(paths[3].read_text())
    attack = json.loads(paths[4].read_text())
    for i in range(0, COUNT, 3):
        condition["inputs"][i]["predicted"] = 1
        attack["per_example"][i] |= {"right_before": False, "right_after": False}
    written(tmp_path, paths[3].stem, condition)
    written(tmp_path, paths[4].stem, attack)
    found = judge(read_files(paths), resamples=20).transfers[0]
    assert (
        found.inputs
        == COUNT - COUNT // 3
        == sum((found.compared[0].flipped, found.compared[0].held))
    )
    gradients = [each["gradient"] for each in json.loads(paths[0].read_text())["inputs"]]
    rows = [i for i in range(COUNT) if i % 3]
    flips = np.array([not attack["per_example"][i]["right_after"] for i in rows])
    values = np.array(gradients)[rows]
    expected = (np.subtract.outer(values[flips], values[~flips]) > 0).mean()
    assert found.compared[0].auroc.value == pytest.approx(expected)


def test_the_plan_selects_its_sentence_by_rule(tmp_path: Path) -> None:
    paths = arm_files(tmp_path, {("sst2", "bert", 0): 0, ("sst2", "bert", 1): 1})
    sentences = {}
    gain = judge(read_files(paths), resamples=RESAMPLES).pooled("right")[0].score("gradient").gain
    for threshold in (0.0, gain.value, 0.9):
        plan = written(tmp_path, "plan", a_plan(threshold=threshold))
        record = judge(read_files([*paths, plan]), resamples=RESAMPLES)
        (reading,) = record.readings
        sentences[threshold] = reading.sentence
        assert reading.gain == gain
        assert [plan.digest for plan in record.plans] == [reading.plan] == ["a" * 64]
        assert reading.sentence in "\n".join(told(record))
    assert list(sentences.values()) == [READING[name] for name in ("above", "between", "below")]


def test_an_outcome_without_an_interval_selects_no_sentence(tmp_path: Path) -> None:
    paths = arm_files(tmp_path, {("sst2", "bert", 0): 0})
    attack = json.loads(paths[1].read_text())
    for i, outcome in enumerate(attack["per_example"]):
        outcome["right_after"] = i > 2
    written(tmp_path, paths[1].stem, attack)
    plan = written(tmp_path, "plan", a_plan())
    record = judge(read_files([*paths, plan]), resamples=20)
    (reading,) = record.readings
    assert reading.gain.low is None and reading.outcome == "unknown"
    assert reading.sentence not in READING.values()
    assert "unknown. Too few sentences" in " ".join(" ".join(told(record)).split())


def test_each_arm_has_the_reading_of_its_own_plan(tmp_path: Path) -> None:
    paths = arm_files(tmp_path, {("sst2", "bert", 0): 0, ("sst2", "im-bert", 0): 1})
    other = {**READING, "above": "Of implicit models too."}
    implicit = {**a_plan(reading=other), "plan": "b" * 64, "kinds": ["im-bert"]}
    plans = [written(tmp_path, "explicit", {**a_plan(), "kinds": ["bert"]})]
    plans.append(written(tmp_path, "implicit", implicit))
    record = judge(read_files([*paths, *plans]), resamples=RESAMPLES)
    assert [(each.kind, each.plan[0], each.sentence) for each in record.readings] == [
        ("bert", "a", READING["above"]),
        ("im-bert", "b", other["above"]),
    ]


def test_what_does_not_belong_to_one_study_is_refused(tmp_path: Path) -> None:
    paths = arm_files(tmp_path, ARMS)
    plan = written(tmp_path, "plan", a_plan())
    again = written(tmp_path, "plan-2", a_plan())
    wrong = written(tmp_path, "wrong", a_plan(primary="dev accuracy"))
    with pytest.raises(
        ValueError, match=r"expected one plan for models of sst2, bert, got .* and "
    ):
        read_files([*paths, plan, again])
    with pytest.raises(ValueError, match=r"question.primary of the plan must be 'gradient over co"):
        judge(read_files([*paths, wrong]), resamples=20)
    without = [path for path in paths if path.name != "result-rte-bert-0.json"]
    with pytest.raises(ValueError, match=r"condition-rte-bert-0.json: expected the result.json of"):
        read_files(without)
    seed = json.loads(paths[5].read_text())
    written(tmp_path, paths[5].stem, {**seed, "run": json.loads(paths[2].read_text())["run"]})
    with pytest.raises(ValueError, match="expected one model of each task, kind and seed, got ano"):
        read_files(paths)
    written(tmp_path, paths[5].stem, a_run("mrpc", "bert", 1, 1))
    with pytest.raises(ValueError, match="expected attacks on one task, got mrpc and sst2"):
        read_files(paths)


@pytest.mark.parametrize(
    ("table", "name", "value"),
    [
        ("train", "regularizer", {"kind": "monotone", "strength": 0.1}),
        ("data", "size", 250),
        ("model", "step_size", 0.1),
    ],
)
def test_runs_that_differ_in_more_than_the_seed_are_refused(
    tmp_path: Path, table: str, name: str, value: Any
) -> None:
    paths = arm_files(tmp_path, {("sst2", "im-bert", 0): 0, ("sst2", "im-bert", 1): 1})
    run = json.loads(paths[5].read_text())
    run["run"]["evaluate"] = {"limit": 3}
    run["run"]["model"]["dropout"] = None  # as a result of another version, which has the choice
    written(tmp_path, paths[5].stem, run)
    assert len(read_files(paths).arms) == 2
    run["run"][table][name] = value
    written(tmp_path, paths[5].stem, run)
    differ = rf"sst2, im-bert that differ .* got {paths[2]} and {paths[5]}, .* in {table}.{name}$"
    with pytest.raises(ValueError, match=differ):
        read_files(paths)


def test_two_results_of_one_model_are_refused(tmp_path: Path) -> None:
    paths = arm_files(tmp_path, {("sst2", "bert", 0): 0})
    again = written(tmp_path, "again", a_run("sst2", "ex-bert", 0, 0))
    with pytest.raises(ValueError, match=f"different weights, got {paths[2]} and {again}"):
        read_files([*paths, again])


def test_explicit_steps_of_an_im_bert_are_no_implicit_model(tmp_path: Path) -> None:
    paths = arm_files(tmp_path, {("sst2", "bert", 0): 0, ("sst2", "im-bert", 0): 1})
    assert len(judge(read_files(paths), resamples=20).transfers) == 1
    run = json.loads(paths[5].read_text())
    run["run"]["model"]["method"] = "explicit_euler"
    written(tmp_path, paths[5].stem, run)
    assert judge(read_files(paths), resamples=20).transfers == []


def test_a_run_without_a_condition_is_missing(tmp_path: Path) -> None:
    paths = arm_files(tmp_path, {("sst2", "bert", 0): 0})
    paths.append(written(tmp_path, "lonely", a_run("sst2", "im-bert", 0, 7)))
    assert judge(read_files(paths), resamples=20).missing == [
        "sst2, im-bert, seed 0: no condition.json"
    ]


def test_without_results_models_of_a_task_are_of_one_kind(tmp_path: Path) -> None:
    paths = [path for path in arm_files(tmp_path, ARMS) if "result" not in path.name]
    record = judge(read_files(paths), resamples=20)
    assert [(each.task, each.kind, each.models) for each in record.pooled("right")] == [
        ("sst2", "", [0, 1, 2]),
        ("rte", "", [3, 4]),
    ]
    assert all(each.primary for each in record.pooled("right")) and record.transfers == []


def test_one_row_in_a_hundred_may_differ_between_the_records(tmp_path: Path) -> None:
    """A batch of other texts moves the logits of a row that is close to the boundary."""
    paths = arm_files(tmp_path, {("sst2", "bert", 0): 0})
    attack = json.loads(paths[1].read_text())
    attack["per_example"][4] |= {"right_before": False, "right_after": False}
    written(tmp_path, paths[1].stem, attack)
    record = judge(read_files(paths), resamples=20)
    assert (record.joined[0].rows, record.joined[0].disagreeing) == (COUNT - 1, 1)
    assert record.pooled("right")[0].inputs == COUNT - 1
    assert "1 left out" in " ".join(told(record))
    attack["per_example"][5] |= {"right_before": False, "right_after": False}
    written(tmp_path, paths[1].stem, attack)
    with pytest.raises(
        ValueError,
        match=r"other answers before it in 2 of them \(first in row 4\): if these are other rows",
    ):
        read_files(paths)


@pytest.mark.slow
def test_the_command_tells_of_all_groups(tmp_path: Path, odestab: Command) -> None:
    paths = arm_files(tmp_path, ARMS, rows=90)
    paths.append(written(tmp_path, "plan", a_plan()))
    out = tmp_path / "out"
    outcome = odestab("confirm", *paths, "--out", out)
    assert outcome.code == 0 and outcome.err == []
    assert "sst2, im-bert: above. It says more." in outcome.out
    record = read_typed(out / "flips.json", Flips)
    assert len(record.readings) == 4 and (out / "transfers.csv").exists()
    page = (out / "flips.html").read_text(encoding="utf-8")
    assert "It says more." in page and "a" * 12 in page
    assert "sst2, im-bert, seed 1: not attacked" in page and "explicit gradient" in page
    assert (out / "flips_groups.svg").exists()


def test_a_plan_holds_for_its_own_runs_alone(tmp_path: Path) -> None:
    paths = arm_files(tmp_path, {("sst2", "bert", 0): 0, ("sst2", "im-bert", 0): 1})
    result = next(path for path in paths if path.stem.startswith("result-sst2-bert"))
    own = read_typed(result, Run).digest
    plan = written(tmp_path, "plan", {**a_plan(), "runs": [own]})
    judged = judge(read_files([*paths, plan]), resamples=RESAMPLES)
    assert [each.kind for each in judged.readings] == ["bert"]


def test_a_question_without_a_known_run_is_refused(tmp_path: Path) -> None:
    paths = arm_files(tmp_path, {("sst2", "bert", 0): 0, ("sst2", "im-bert", 0): 1})
    without = [path for path in paths if "result" not in path.name]
    plan = written(tmp_path, "plan", a_plan())
    with pytest.raises(
        ValueError, match=r"plan.*expected the result\.json of each model.*got none"
    ):
        read_files([*without, plan])
