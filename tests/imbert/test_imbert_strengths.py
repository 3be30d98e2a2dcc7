"""The strength of a regularizer is chosen by held-out rows alone: the largest that costs a point at
most.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from imbert import __main__ as command
from imbert.records import plain
from imbert.result import write_json
from imbert.study.plan import StudyConfig, read_study, study_config
from imbert.study.strengths import DIVERGED, choose_strengths, told

RESULT = Path(__file__).parents[2] / "docs/studies/conditioning/runs/seed-0/result.json"
GRID = {
    "weak": {"kind": "consistency", "strength": 0.1},
    "middle": {"kind": "consistency", "strength": 0.3},
    "strong": {"kind": "consistency", "strength": 1.0},
    "ball": {"kind": "freelb", "radius": 0.6},
}
PLAIN = {"bert": (0.852, 0.85)}


def plan(**changes: Any) -> StudyConfig:
    """A grid of regularizers, strongest first, beside plain training."""
    models: dict[str, Any] = {
        name: {"kind": "bert", "train": {"regularizer": choice}}
        for name, choice in reversed(GRID.items())
    }
    head = {"name": "grid", "seeds": [0, 1], **changes.pop("study", {})}
    return study_config({"study": head, "models": {"bert": {}, **models, **changes}})


def write_results(
    study: StudyConfig, out: Path, accuracies: Mapping[str, tuple[float, ...]]
) -> None:
    """A result for each accuracy of each model, that of the kept step in the middle of its log."""
    pattern = json.loads(RESULT.read_text(encoding="utf-8"))
    del pattern["digest"]
    entry = pattern["train"]["log"][-1]
    for cell in study.cells():
        if cell.seed >= len(accuracies.get(cell.model, ())):
            continue
        validation = entry["validation"] | {"accuracy": accuracies[cell.model][cell.seed]}
        other = entry | {"validation": validation | {"accuracy": 0.999}}
        log = [other | {"step": 1}, entry | {"step": 2, "validation": validation}, other]
        train = pattern["train"] | {"log": log, "best_step": 2}
        folder = out / cell.folder
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "result.json", pattern | {"run": cell.run.as_dict(), "train": train})


def test_the_largest_strength_that_costs_a_point_at_most_is_chosen(tmp_path: Path) -> None:
    # 0.852 − 0.842 is a little more than 0.01 in floating point, and is a point all the same
    kept = {"weak": (0.8, 0.8), "middle": (0.842, 0.84), "strong": (0.84, 0.84)}
    write_results(plan(), tmp_path, PLAIN | kept | {"ball": (0.9, 0.9)})
    found = choose_strengths(plan(), tmp_path)
    assert found.chosen == {"consistency": "middle", "freelb": "ball"}
    assert [(each.model, each.strength, each.is_allowed) for each in found.tried] == [
        ("weak", 0.1, False),
        ("middle", 0.3, True),
        ("strong", 1.0, False),
        ("ball", 0.6, True),
    ]
    assert found.accuracy == pytest.approx(0.851) and found.seeds == [0, 1]
    assert found.tried[0].cost == pytest.approx(0.051)
    assert "strong (consistency, 1): 84.0%, -1.1 points: too dear" in told(found)


def test_a_kind_of_which_every_strength_costs_too_much_has_none(tmp_path: Path) -> None:
    kept = dict.fromkeys(GRID, (0.8, 0.8))
    write_results(plan(), tmp_path, PLAIN | kept)
    assert choose_strengths(plan(), tmp_path).chosen == {"consistency": None, "freelb": None}


def test_means_are_over_the_seeds_that_all_models_have(tmp_path: Path) -> None:
    kept = dict.fromkeys(GRID, (0.845, 0.1))
    write_results(plan(), tmp_path, PLAIN | kept | {"weak": (0.8,)})
    found = choose_strengths(plan(), tmp_path)
    assert found.seeds == [0] and found.chosen["consistency"] == "strong"
    assert found.left_out == [1]
    assert "seeds of the plan that some needed model lacks, left out: 1" in told(found)


def test_a_strength_below_the_chosen_one_needs_no_result(tmp_path: Path) -> None:
    write_results(plan(), tmp_path, PLAIN | {"strong": (0.8, 0.8), "ball": (0.85, 0.85)})
    with pytest.raises(ValueError, match="down to one that is allowed, got none"):
        choose_strengths(plan(), tmp_path)
    write_results(plan(), tmp_path, {"middle": (0.85, 0.85), "weak": (0.1,)})
    found = choose_strengths(plan(), tmp_path)
    assert found.chosen == {"consistency": "middle", "freelb": "ball"}
    assert found.seeds == [0, 1] and found.not_needed == ["weak"]
    assert [each.model for each in found.tried] == ["middle", "strong", "ball"]
    assert "not needed, as a larger strength of their kind is allowed: weak" in told(found)


def test_as_many_seeds_are_taken_as_the_choice_can_be_made_by(tmp_path: Path) -> None:
    # over both seeds "strong" is too dear and "middle" lacks one of them
    kept = {"strong": (0.85, 0.8), "ball": (0.85, 0.85)}
    write_results(plan(), tmp_path, PLAIN | kept)
    found = choose_strengths(plan(), tmp_path)
    assert found.chosen["consistency"] == "strong" and found.seeds == [0]
    write_results(plan(), tmp_path, {"middle": (0.85, 0.85)})
    found = choose_strengths(plan(), tmp_path)
    assert found.chosen["consistency"] == "middle" and found.seeds == [0, 1]


def test_a_strength_that_diverges_is_not_chosen_and_costs_no_other_a_seed(tmp_path: Path) -> None:
    kept = {"weak": (0.85, 0.85), "middle": (0.85, 0.85), "ball": (0.85, 0.85)}
    study = plan()
    write_results(study, tmp_path, PLAIN | kept | {"strong": (0.85,)})
    failed = next(cell for cell in study.cells() if (cell.model, cell.seed) == ("strong", 1))
    (tmp_path / failed.folder).mkdir(parents=True)
    write_json(tmp_path / failed.folder / "failed-train.json", {"error": "NaN", "kind": DIVERGED})
    found = choose_strengths(study, tmp_path)
    assert found.chosen["consistency"] == "middle" and found.seeds == [0, 1]
    assert found.left_out == []
    assert "strong (consistency, 1): training diverged" in told(found)
    # what a lack of memory ended says nothing of a strength
    error = {"error": "out of memory", "kind": "RuntimeError"}
    write_json(tmp_path / failed.folder / "failed-train.json", error)
    with pytest.raises(ValueError, match=r"got one that failed \(out of memory\): run it again"):
        choose_strengths(study, tmp_path)


def test_what_the_rule_cannot_see_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a seed with a result of bert and of every strength"):
        choose_strengths(plan(), tmp_path)
    with pytest.raises(ValueError, match="of one task and size, got sst2-1000, sst2-500"):
        choose_strengths(plan(study={"sizes": [1000, 500]}), tmp_path)
    again = {"train": {"regularizer": {**GRID["weak"], "max_edits": 2}}}
    with pytest.raises(ValueError, match=r"models\.\w+: expected another strength of consistency"):
        choose_strengths(plan(again=again), tmp_path)
    with pytest.raises(ValueError, match=r"models\.other: expected a model with a regularizer"):
        choose_strengths(plan(other={"dropout": 0.2}), tmp_path)
    write_results(plan(), tmp_path, PLAIN | dict.fromkeys(GRID, (0.85, 0.85)))
    changed = plan(weak={"train": {"regularizer": {"kind": "consistency", "strength": 0.2}}})
    with pytest.raises(ValueError, match="has the result of another run"):
        choose_strengths(changed, tmp_path)


def test_the_command_writes_the_choice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = '[study]\n[models.bert]\n[models.weak]\ntrain.regularizer = { kind = "r3f" }\n'
    (tmp_path / "study.toml").write_text(text)
    study = study_config(
        {"study": {}, "models": {"bert": {}, "weak": {"train": {"regularizer": {"kind": "r3f"}}}}}
    )
    write_results(study, tmp_path / "out", {"bert": (0.8,), "weak": (0.8,)})
    arguments = ["strengths", str(tmp_path / "study.toml"), "--out", str(tmp_path / "out")]
    assert command.main(arguments) == 0
    assert "chosen for r3f: weak" in capsys.readouterr().out
    record = json.loads((tmp_path / "out" / "strengths.json").read_text())
    assert record["chosen"] == {"r3f": "weak"} and record["schema"] == 1


def test_the_published_choice_follows_from_its_runs() -> None:
    folder = Path(__file__).parents[2] / "docs" / "studies" / "regularised"
    found = choose_strengths(read_study(folder / "strength.toml"), folder / "strength")
    written = json.loads((folder / "strength" / "strengths.json").read_text(encoding="utf-8"))
    assert {key: value for key, value in written.items() if key != "digest"} == plain(found)
