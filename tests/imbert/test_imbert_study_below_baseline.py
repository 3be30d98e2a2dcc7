"""A model that is right on dev less often than the baseline, by more than the interval, is marked:
what guesses looks robust.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from made_up_attacks import asked
from msgspec import structs

from analysis.ground.json_records import DIGEST
from imbert.records import Result, Rows, read_result
from imbert.result import read_json
from imbert.study.below_baseline import below_baseline, on_dev
from imbert.study.plan import Cell, read_study
from imbert.study.printed import told
from imbert.study.summary import summarise
from imbert.study.tables import markdown

STUDIES = Path(__file__).parents[2] / "docs" / "studies"
FIRST = read_result(STUDIES / "placement" / "runs" / "none" / "result.json")
SOUND = "1" * 80 + "0" * 20
GUESSES = "1" * 60 + "0" * 40
# 10 rows lost and 8 gained: 2 points below, with a standard error of 4
WITHIN = "0" * 10 + "1" * 78 + "0" * 12


def evaluated(right: str, rows: str = "rows", task: str = "sst2") -> Result:
    """A published result with other answers on dev; "" is none."""
    dev = structs.replace(FIRST.evaluation.dev, right=right) if right else None
    return structs.replace(
        FIRST,
        run=structs.replace(FIRST.run, data=structs.replace(FIRST.run.data, task=task)),
        evaluation=structs.replace(FIRST.evaluation, dev=dev),
        meta=structs.replace(FIRST.meta, data={"dev": Rows(len(right), rows)}),
    )


def ran(baseline: list[Result], model: list[Result]) -> dict[Cell, Result]:
    """The results of a study of a, its baseline, and b, seed by seed."""
    cells = {(cell.model, cell.seed): cell for cell in asked(None, seeds=5).cells()}
    return {
        cells[name, seed]: result
        for name, results in (("a", baseline), ("b", model))
        for seed, result in enumerate(results)
    }


@pytest.mark.parametrize(("seeds", "count"), [(1, "1 seed"), (2, "2 seeds"), (5, "5 seeds")])
def test_a_model_that_has_fallen_is_marked(seeds: int, count: str) -> None:
    results = ran([evaluated(SOUND)] * seeds, [evaluated(GUESSES)] * seeds)
    (line,) = below_baseline(asked(None), results)
    head = "sst2-32: b: accuracy on dev minus that of a is -20.0 points [-"
    assert line.startswith(head) and line.endswith(
        f"(95 %, {count}): a model that guesses more looks more robust"
    )
    # of 100 rows of which 20 are lost: by the normal approximation 20 ± 1.96·√(0.2·0.8/100), whose
    # ends differ from those of resampled rows by 1 row at most
    low, high = json.loads(line[len(head) - 2 : line.index("]") + 1])
    half = 196 * np.sqrt(0.2 * 0.8 / 100)
    assert (low, high) == pytest.approx((-20 - half, -20 + half), abs=1)


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_a_model_within_its_interval_or_above_is_not(seeds: int) -> None:
    for own, other in ((WITHIN, SOUND), (SOUND, SOUND), (SOUND, GUESSES)):
        results = ran([evaluated(other)] * seeds, [evaluated(own)] * seeds)
        assert below_baseline(asked(None), results) == []


def test_two_seeds_that_disagree_are_judged_by_students_interval() -> None:
    """20 points and 1 point lower: −10.5 ± 12.7·9.5, though each row that differs is lost."""
    slightly = evaluated("1" * 79 + "0" * 21)
    results = ran([evaluated(SOUND)] * 2, [evaluated(GUESSES), slightly])
    assert below_baseline(asked(None), results) == []


def test_only_runs_of_equal_seed_and_equal_rows_are_compared() -> None:
    fallen, sound = evaluated(GUESSES), evaluated(SOUND)
    assert below_baseline(asked(None), ran([], [fallen])) == []
    assert on_dev([]) is None
    for own, other in (
        (evaluated(GUESSES, rows="others"), sound),
        (evaluated(GUESSES + "0"), sound),
        (evaluated(""), evaluated("")),
        (evaluated(GUESSES, task="stsb"), evaluated(SOUND, task="stsb")),
    ):
        assert on_dev([(own, other)]) is None
    other_rows = [evaluated(right, rows="others") for right in (SOUND, SOUND)]
    found = on_dev([(fallen, sound), (other_rows[0], other_rows[1])])
    assert found is not None and found.pairs == [100]


def test_the_mark_stands_in_the_record_and_the_table(tmp_path: Path) -> None:
    """Published runs, of which one model loses every second answer."""
    study = read_study(STUDIES / "substeps" / "study.toml")
    for cell in study.cells():
        shutil.copytree(
            STUDIES / "substeps" / "runs" / f"{cell.model}-{cell.seed}", tmp_path / cell.folder
        )
    assert summarise(study, tmp_path).warnings == []
    lost = []
    for path in sorted(tmp_path.glob("runs/*/implicit-8/*/result.json")):
        record = read_json(path)
        dev = record["evaluation"]["dev"]
        dev["right"] = "".join("0" if i % 2 else bit for i, bit in enumerate(dev["right"]))
        other = Path(str(path).replace("implicit-8", "explicit-8"))
        right = read_json(other)["evaluation"]["dev"]["right"]
        lost.append(100 * (right.count("1") - dev["right"].count("1")) / len(right))
        del record[DIGEST]
        path.write_text(json.dumps(record))
    summary = summarise(study, tmp_path)
    (line,) = summary.warnings
    difference = f"minus that of explicit-8 is {-np.mean(lost):+.1f} points ["
    assert line.startswith(f"sst2-1000: implicit-8: accuracy on dev {difference}")
    assert f"## Warnings\n\n- {line}\n" in markdown(summary)
    assert f"warning: {line}" in " ".join(" ".join(told(summary)).split())
