"""Pairs of texts from training to the verdict: drafts and attacks edit the same text of a pair, and
their records are of the same rows.
"""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from tiny import sentences
from tiny_classifiers import TABLE
from tiny_runs import tiny_study

from analysis.__main__ import main
from analysis.conditioning.records import LAST, read_condition
from analysis.flips import judge, read_files
from analysis.flips.records import Flips
from analysis.ground.json_records import DIGEST
from imbert.result import read_json
from imbert.study.run_study import run_study

pytestmark = pytest.mark.slow

CELL = "runs/rte-32/bert/seed-0"


def write_pairs(folder: Path) -> Path:
    """RTE in the layout of the prepared data: is the second sentence of the mood of the first?"""
    (folder / "glue").mkdir(parents=True)
    (folder / "attack").mkdir()
    (folder / "attack" / "synonyms.json").write_text(json.dumps(TABLE))
    for split, count, seed in (("train", 64, 0), ("dev", 20, 1)):
        texts, moods = sentences(2 * count, seed)
        rows = zip(texts[::2], texts[1::2], moods[::2], moods[1::2], strict=True)
        lines = [f"{i}\t{a}\t{b}\t{int(x != y)}" for i, (a, b, x, y) in enumerate(rows)]
        with gzip.open(folder / "glue" / f"rte_{split}.tsv.gz", "wt") as file:
            file.write("\n".join(["idx\tsentence1\tsentence2\tlabel", *lines]) + "\n")
    return folder


@pytest.fixture(scope="module")
def done(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The data, and the study's folder with the condition beside it."""
    data = write_pairs(tmp_path_factory.mktemp("pairs"))
    out = tmp_path_factory.mktemp("study")
    study = tiny_study(
        tiny_folder,
        study={"seeds": [0], "tasks": ["rte"]},
        models={"bert": {}},
        attacks={
            "kinds": ["characters", "words"],
            "examples": 20,
            "synonyms": "attack/synonyms.json",
        },
    )
    study = structs.replace(study, shared={**study.shared, "evaluate": {}})  # no AdvGLUE
    summary = run_study(study, out, data, report=lambda line: None)
    assert summary is not None and summary.missing == []
    words = ["--synonyms", str(data / "attack" / "synonyms.json"), "--drafts", "3"]
    rows = ["--data", str(data / "glue" / "rte_dev.tsv.gz"), "--max-tokens", "16", "--workers", "1"]
    checkpoint = str(out / CELL / "checkpoint")
    assert main(["condition", checkpoint, *rows, *words, "--out", str(out / "condition")]) == 0
    return data, out


def files(out: Path) -> list[Path]:
    attacks = [out / CELL / "attacks" / f"{name}.json" for name in ("characters", "words")]
    return [out / "condition" / "condition.json", *attacks, out / CELL / "result.json"]


def judged(out: Path) -> Flips:
    return judge(read_files(files(out)), resamples=20)


def test_the_records_are_of_the_same_rows(done: tuple[Path, Path]) -> None:
    _, out = done
    record = judged(out)
    assert [(each.task, each.kind, each.seed) for each in record.models] == [("rte", "bert", 0)]
    assert [(each.attack, each.rows, each.disagreeing) for each in record.joined] == [
        ("characters", 20, 0),
        ("words", 20, 0),
    ]
    condition = read_condition(out / "condition" / "condition.json")
    assert condition.columns == ("sentence1", "sentence2", "label")
    attack = read_json(out / CELL / "attacks" / "words.json")
    assert condition.examples == attack["of"]["examples"]


def test_tokens_and_words_are_those_of_both_texts(done: tuple[Path, Path]) -> None:
    data, out = done
    with gzip.open(data / "glue" / "rte_dev.tsv.gz", "rt") as file:
        rows = [line.rstrip("\n").split("\t") for line in file][1:]
    condition = read_condition(out / "condition" / "condition.json")
    for each, (_, first, second, _) in zip(condition.inputs, rows, strict=True):
        words = len(first.split()) + len(second.split())
        assert each.words == words and each.tokens == words + 3  # [CLS] first [SEP] second [SEP]


def test_attacks_edit_the_text_of_a_pair_that_drafts_edit(done: tuple[Path, Path]) -> None:
    data, out = done
    with gzip.open(data / "glue" / "rte_dev.tsv.gz", "rt") as file:
        rows = [line.rstrip("\n").split("\t")[1:3] for line in file][1:]
    edited = 0
    for name in ("characters", "words"):
        attack = read_json(out / CELL / "attacks" / f"{name}.json")
        assert attack["options"]["part"] == LAST
        for before, after in zip(rows, _texts(out, name), strict=True):
            assert after[0] == before[0]
            edited += after[1] != before[1]
    assert edited


def _texts(out: Path, name: str) -> list[Any]:
    return json.loads((out / CELL / "attacks" / "texts" / f"{name}.json").read_text())


def test_an_attack_on_the_other_text_of_a_pair_is_refused(
    done: tuple[Path, Path], tmp_path: Path
) -> None:
    _, out = done
    paths = files(out)
    attack = read_json(paths[1])
    del attack[DIGEST]
    other = tmp_path / "other.json"
    for part, is_same in ((0, False), (1, True)):
        other.write_text(json.dumps({**attack, "options": {**attack["options"], "part": part}}))
        if is_same:
            assert len(read_files([paths[0], other]).attacked) == 1
            continue
        with pytest.raises(ValueError, match=r"other.json: expected an attack on the last text of"):
            read_files([paths[0], other])


def test_a_condition_of_texts_that_are_cut_elsewhere_is_refused(
    done: tuple[Path, Path], tmp_path: Path
) -> None:
    _, out = done
    paths = files(out)
    attack = read_json(paths[1])
    assert attack["of"]["max_length"] == 16
    longest = max(row.tokens for row in read_condition(paths[0]).inputs)
    condition = read_json(paths[0])
    cut = {
        **condition,
        "max_tokens": 8,
        "inputs": [{**row, "truncated": True} for row in condition["inputs"]],
    }
    del attack[DIGEST]
    match = r"expected an attack on as much of each text as .*; measure .* --max-tokens "
    for name, max_length, values in (("short", longest - 1, condition), ("long", 16, cut)):
        first = tmp_path / f"condition-{name}.json"
        first.write_text(json.dumps(values))
        other = tmp_path / f"{name}.json"
        of = {**attack["of"], "max_length": max_length}
        other.write_text(json.dumps({**attack, "of": of}))
        with pytest.raises(ValueError, match=f"{name}.json: {match}{max_length}"):
            read_files([first, other])
