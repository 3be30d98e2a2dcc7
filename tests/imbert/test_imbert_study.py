"""A study runs what is missing, passes over what another process holds, tells what failed, and
compares seed by seed.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from made_up_attacks import QUESTION
from msgspec import structs
from tiny_runs import MODELS, tiny_study

from analysis.ground.json_records import DIGEST
from imbert.attack_records import Check
from imbert.attacks import AbstractAttack
from imbert.records import plain
from imbert.result import folder_lock, read_json
from imbert.study import attack_runs as attack_stage
from imbert.study import summary as study_summary
from imbert.study.plan import StudyConfig
from imbert.study.run_study import run_study, shard_of_ranks
from imbert.study.study_record import Study, read_study_record
from imbert.study.tables import markdown

pytestmark = pytest.mark.slow

STUDIES = Path(__file__).parents[2] / "docs" / "studies"


@pytest.fixture(scope="module")
def done(
    tiny_folder: Path, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[StudyConfig, Path, Study]:
    study, out = tiny_study(tiny_folder), tmp_path_factory.mktemp("study")
    return study, out, run_study(study, out, data, report=lambda line: None)


def test_every_run_is_there_with_its_attacks(
    done: tuple[StudyConfig, Path, Study],
) -> None:
    study, out, summary = done
    assert summary.missing == [] and read_study_record(out / "study.json") == summary
    assert [cell.folder for cell in study.cells()][:2] == [
        "runs/sst2-32/bert/seed-0",
        "runs/sst2-32/im-bert/seed-0",
    ]
    for model in summary.groups[0].models:
        assert model.seeds == [0, 1] and model.measures["dev"].n == 2
        assert set(model.attacks) == {"characters", "pgd", "pgd-0.3", "pgd-1"}
        assert model.attacks["pgd-0.3"].clean_accuracy.n == 2
    assert set(summary.groups[0].models[1].transfer) == {"characters"}


def test_the_same_data_in_every_model_of_a_study(
    done: tuple[StudyConfig, Path, Study],
) -> None:
    study, out, _ = done
    inputs = [
        read_json(out / cell.folder / "result.json")["meta"]["data"] for cell in study.cells()
    ]
    assert all(one == inputs[0] for one in inputs)


def test_no_adversarial_number_without_dev_and_no_text(
    done: tuple[StudyConfig, Path, Study],
) -> None:
    _, out, summary = done
    table = markdown(summary)
    head = next(line for line in table.splitlines() if line.startswith("| model"))
    assert (
        head.index("dev")
        < head.index("AdvGLUE originals")
        < head.index("AdvGLUE adversarial")
        < head.index("where the original is right")
    )
    assert "robust (clean)" in head
    for name in ("study.json", "table.md", "study.csv"):
        assert "the film is" not in (out / name).read_text()
    rows = (out / "study.csv").read_text().splitlines()
    assert rows[0] == "task,size,model,measure,seed,value" and any(
        row.startswith("sst2,32,im-bert,dev,1,") for row in rows
    )


def test_the_question_of_the_plan_is_answered_in_record_and_table(
    done: tuple[StudyConfig, Path, Study], data: Path, tmp_path: Path, tiny_folder: Path
) -> None:
    copy = Path(shutil.copytree(done[1], tmp_path / "study"))
    difference = {"attack": "characters", "model": "im-bert", "over": "bert"}
    asked = tiny_study(tiny_folder, question={**QUESTION, "difference": difference})
    group = run_study(asked, copy, data, ["summarise"], report=lambda line: None).groups[0]
    compared = group.models[1].attacks_against_baseline["characters"].both
    assert (group.verdict.low, group.verdict.high, group.verdict.seeds, group.verdict.pairs) == (
        compared.hierarchical.low,
        compared.hierarchical.high,
        [0, 1],
        compared.pairs,
    )
    table = (copy / "table.md").read_text()
    assert group.verdict.sentence in table and not group.verdict.preliminary
    assert group.models[1].edits_against_baseline["characters"].pairs == compared.pairs
    assert "| characters: robust (clean) | characters: edits needed |" in table
    assert "pgd: edits needed" not in table and "Edits needed minus bert's" in table
    assert "sst2,32,bert,characters edits_needed,0," in (copy / "study.csv").read_text()
    (copy / "runs/sst2-32/bert/seed-0/attacks/characters.json").unlink()
    fewer = run_study(asked, copy, data, ["summarise"], report=lambda line: None).groups[0]
    assert fewer.verdict.seeds == [1] and fewer.verdict.preliminary
    assert fewer.verdict.missing[0].reason == "bert has no attack characters"


def test_what_was_measured_of_one_seed_only_is_told_of_that_seed(
    done: tuple[StudyConfig, Path, Study], data: Path, tmp_path: Path
) -> None:
    study, out, _ = done
    copy = Path(shutil.copytree(out, tmp_path / "study"))
    (copy / "runs/sst2-32/bert/seed-0/attacks/pgd-0.3.json").unlink()
    summary = run_study(study, copy, data, ["summarise"], report=lambda line: None)
    assert summary.groups[0].models[0].attacks["pgd-0.3"].robust_accuracy.seeds == [1]
    rows = [
        row
        for row in (copy / "study.csv").read_text().splitlines()
        if row.startswith("sst2,32,bert,pgd-0.3 robust_accuracy,")
    ]
    assert len(rows) == 1 and ",1," in rows[0] and "no attack pgd-0.3 yet" in summary.missing[0]


def test_a_summary_of_runs_that_are_gone_is_kept(
    done: tuple[StudyConfig, Path, Study], data: Path, tmp_path: Path, tiny_folder: Path
) -> None:
    study, out, summary = done
    copy = Path(shutil.copytree(out, tmp_path / "study"))
    before = {name: (copy / name).read_bytes() for name in ("study.json", "table.md", "study.csv")}
    shutil.rmtree(copy / "runs/sst2-32/im-bert/seed-1")
    expected = "expected the 4 runs that it was made from, got none in runs/sst2-32/im-bert/seed-1;"
    with pytest.raises(ValueError, match=expected):
        run_study(study, copy, data, ["summarise"], report=lambda line: None)
    one_seed = tiny_study(tiny_folder, study={"seeds": [0]})
    fewer = run_study(one_seed, copy, data, ["summarise"], report=lambda line: None)
    assert len(fewer.runs) == 2, "another plan may ask for fewer runs"
    (copy / "study.json").write_bytes(before["study.json"])
    shutil.rmtree(copy / "runs")
    for asked in (study, one_seed):
        with pytest.raises(ValueError, match=r"got none in runs/.* and 3 more; nothing was writ"):
            run_study(asked, copy, data, ["summarise"], report=lambda line: None)
    assert read_study_record(copy / "study.json") == summary
    (copy / "study.json").write_bytes(before["study.json"].replace(b'"tiny"', b'"tinY"'))
    lines = list[str]()
    empty = run_study(study, copy, data, ["summarise"], report=lines.append)
    assert empty.runs == [] and lines[0].startswith("damaged record, written again: ")


def test_checks_that_were_not_made_are_missing_and_made_when_the_other_is_there(
    done: tuple[StudyConfig, Path, Study], data: Path, tmp_path: Path
) -> None:
    study, out, _ = done
    copy = Path(shutil.copytree(out, tmp_path / "study"))
    attacks = copy / "runs/sst2-32/im-bert/seed-0/attacks"
    for name in ("masking", "transfer"):
        (attacks / f"{name}.json").unlink(missing_ok=True)
    told = run_study(study, copy, data, ["summarise"], report=lambda line: None).missing
    checks = (
        "no masking checks yet; " if study.attacks is not None and study.attacks.masking else ""
    )
    assert told == [f"runs/sst2-32/im-bert/seed-0: {checks}no transfer yet"]
    shutil.rmtree(
        copy / "runs/sst2-32/bert/seed-0/attacks"
    )  # the baseline is attacked after the model
    turned = structs.replace(study, models=dict(reversed(study.models.items())))
    assert (
        run_study(turned, copy, data, report=lambda line: None).missing == []
        and (attacks / "transfer.json").exists()
    )


def test_again_nothing_is_done(
    done: tuple[StudyConfig, Path, Study], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, out, summary = done
    monkeypatch.setattr(AbstractAttack, "run", lambda *_: pytest.fail("attacked again"))
    monkeypatch.setattr(
        "imbert.training.finetune.finetune", lambda *_: pytest.fail("trained again")
    )
    assert run_study(study, out, data, report=lambda line: None) == summary


def test_an_attack_with_other_options_than_todays_is_run_again(
    done: tuple[StudyConfig, Path, Study],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study, out, _ = done
    copy = Path(shutil.copytree(out, tmp_path / "study"))
    file = copy / "runs/sst2-32/bert/seed-0/attacks/pgd-0.3.json"
    record = read_json(file)
    record["options"]["steps"] += 1
    file.write_text(json.dumps(record))
    ran, run = list[float](), AbstractAttack.run
    monkeypatch.setattr(
        AbstractAttack, "run", lambda self, *rest: ran.append(self.radius) or run(self, *rest)
    )
    run_study(study, copy, data, ["attack"], report=lambda line: None)
    assert ran == [0.3] and read_json(file)["options"]["steps"] == record["options"]["steps"] - 1


def test_which_pairs_share_an_original_comes_from_the_file_where_a_record_lacks_it(
    done: tuple[StudyConfig, Path, Study], data: Path, tmp_path: Path
) -> None:
    study, out, summary = done
    assert summary.groups[0].models[1].against_baseline.all.clusters is not None
    copy = Path(shutil.copytree(out, tmp_path / "study"))
    for file in copy.rglob("result.json"):
        record = read_json(file)
        del (
            record["evaluation"]["advglue"]["sst2"]["clusters"],
            record[DIGEST],
        )  # as earlier versions wrote it
        file.write_text(json.dumps(record))
    assert study_summary.summarise(study, copy, data).groups == summary.groups
    alone = study_summary.summarise(study, copy).groups[0].models[1].against_baseline.all
    assert alone.clusters is None and "which of them share a sentence is not known" in markdown(
        study_summary.summarise(study, copy)
    )
    other = tmp_path / "other"
    shutil.copytree(data, other)
    (other / "advglue.json").write_text(
        (data / "advglue.json").read_text().replace("film", "movie")
    )
    told = study_summary.summarise(study, copy, other).groups[0].models[1].against_baseline.all
    assert told.clusters is None, "another file than the runs were evaluated on"


def test_a_failed_check_is_a_warning_of_the_study(
    done: tuple[StudyConfig, Path, Study],
    tiny_folder: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given, baselines = [], []

    def checks(
        classifier: object,
        examples: object,
        white: list[Any],
        free: list[Any],
        seed: int,
        sweep_examples: int,
        baseline: object,
    ) -> list[Check]:
        given.append([(one.attack, one.options["radius"]) for one in (*white, *free)])
        baselines.append(baseline is not None)
        return [
            Check("gradients", False, {}, "WARNING: masked"),
            Check("residual", None, {}, "none"),
        ]

    monkeypatch.setattr(attack_stage, "masking_checks", checks)
    study = tiny_study(tiny_folder, attacks={"masking": True, "seeds": [1]})
    summary = run_study(study, done[1], data, ("attack", "summarise"), report=lambda line: None)
    assert baselines == [False, True], (
        "the baseline has none, the other model the baseline of its seed"
    )
    assert given == [[("pgd", 0.1), ("pgd", 0.3), ("pgd", 1.0)]] * 2, (
        "perturbations are in no record: the attack is run again for the checks"
    )
    assert summary.warnings == [
        f"runs/sst2-32/{name}/seed-1: masking: WARNING: masked" for name in MODELS
    ]
    assert summary.groups[0].models[0].masking == {
        "gradients": [False],
        "residual": [None],
    }
    for name in MODELS:
        (done[1] / f"runs/sst2-32/{name}/seed-1/attacks/masking.json").unlink()


def test_more_seeds_continue_a_study(
    done: tuple[StudyConfig, Path, Study], tiny_folder: Path
) -> None:
    summary = study_summary.summarise(tiny_study(tiny_folder, study={"seeds": [0, 1, 2]}), done[1])
    assert summary.missing == [
        "runs/sst2-32/bert/seed-2: not run yet",
        "runs/sst2-32/im-bert/seed-2: not run yet",
    ]


def test_a_cell_that_another_process_holds_is_passed_over(
    tiny_folder: Path, data: Path, tmp_path: Path
) -> None:
    study, lines = tiny_study(tiny_folder, models={"bert": {}}, study={"seeds": [0]}), list[str]()
    with folder_lock(tmp_path / "runs/sst2-32/bert/seed-0"):
        summary = run_study(study, tmp_path, data, report=lines.append)
    assert lines == ["[1/1] train runs/sst2-32/bert/seed-0: in use by another process, passed over"]
    assert (
        summary.missing == ["runs/sst2-32/bert/seed-0: not run yet"]
        and "nothing" not in markdown(summary).split("## Missing")[0]
    )


def test_a_cell_that_fails_is_told_and_the_others_go_on(
    tiny_folder: Path, data: Path, tmp_path: Path
) -> None:
    models = {"im-bert": {"kind": "im-bert", "implicit_layers": [7]}, "bert": {}}
    summary = run_study(
        tiny_study(tiny_folder, models=models, study={"seeds": [0]}),
        tmp_path,
        data,
        report=lambda line: None,
    )
    assert (
        summary.missing[0].startswith("runs/sst2-32/im-bert/seed-0: failed: ")
        and "7" in summary.missing[0]
    )
    assert summary.groups[0].models[1].measures["dev"].n == 1


def test_ranks_share_all_cells(
    tiny_folder: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = [set[str](), set[str]()]
    monkeypatch.setattr(
        "imbert.study.run_study._train", lambda study, cell, *_: shared[rank].add(cell.folder)
    )
    study = tiny_study(tiny_folder)
    for rank in (0, 1):
        run_study(study, tmp_path, data, ("train",), (rank, 2))
    assert not shared[0] & shared[1] and shared[0] | shared[1] == {
        cell.folder for cell in study.cells()
    }


def test_torchrun_tells_the_rank_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert shard_of_ranks() == (1, 3)
    assert shard_of_ranks() == (0, 1)


def test_every_field_of_a_record_is_explained(
    done: tuple[StudyConfig, Path, Study],
) -> None:
    told = set(
        re.findall(r"`([\w.]+)`", (STUDIES.parent / "records.md").read_text(encoding="utf-8"))
    )
    run = done[1] / "runs/sst2-32/im-bert/seed-0"
    result = read_json(run / "result.json")
    records = {
        "result": {name: one for name, one in result.items() if name != "run"},
        "groups": plain(done[2])["groups"],
    }
    records |= {path.stem: read_json(path) for path in (run / "attacks").glob("*.json")}
    open_ended = (
        "versions",
        "metrics",
        "options",
        "choice",
        "statistics",
        "model",
        "statuses",
        "measures",
    )  # their keys are names of other things
    names = {
        "sst2",
        "advglue sst2",
        "word",
        "characters",
        "pgd",
        "pgd-0.3",
        "pgd-1",
        "accuracy",
        "subset",
        "dev",
        "train",
        "validation",
        "training",
    }

    def fields(values: Any) -> set[str]:
        if isinstance(values, list):
            return set[str]().union(*map(fields, values))
        if not isinstance(values, dict):
            return set()
        return set(values) | set[str]().union(
            *(fields(one) for name, one in values.items() if name not in open_ended)
        )

    assert ", ".join(sorted(fields(records) - told - names - {"result"})) == ""
