"""The published archives become folders with named columns that `imbert` reads."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from imbert.data.read_examples import read_examples

SCRIPT = Path(__file__).parents[2] / "examples" / "finetune" / "prepare_glue.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("prepare_glue", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def put(path: Path, *lines: str, end: str = "\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + end for line in lines).encode())
    return path


MNLI = (
    "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence1_parse\t"
    "sentence1\tsentence2\tlabel1\tgold_label"
)
STSB = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore"
ARCHIVES = {
    "sst2": ("SST-2/dev.tsv", ["sentence\tlabel", "a fine film \t1"], [("a fine film ",)], [1]),
    "cola": ("CoLA/dev.tsv", ["gj04\t0\t*\tThe film fine is."], [("The film fine is.",)], [0]),
    "mrpc": (
        "MRPC/dev.tsv",
        ["Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", "1\t10\t11\tone\ttwo"],
        [("one", "two")],
        [1],
    ),
    "qqp": (
        "QQP/dev.tsv",
        ["id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate", "3\t5\t6\tone?\ttwo?\t0"],
        [("one?", "two?")],
        [0],
    ),
    "stsb": (
        "STS-B/dev.tsv",
        [STSB, "0\tnews\tf\t2012\t1\tnone\tnone\tone\ttwo\t3.750"],
        [("one", "two")],
        [3.75],
    ),
    "mnli": (
        "MNLI/dev_matched.tsv",
        [MNLI, "0\t1\t2\tfiction\t()\t()\tone\ttwo\tneutral\tcontradiction"],
        [("one", "two")],
        [2],
    ),
    "qnli": (
        "QNLI/dev.tsv",
        ["index\tquestion\tsentence\tlabel", "0\tone?\ttwo\tnot_entailment"],
        [("one?", "two")],
        [1],
    ),
    "rte": (
        "RTE/dev.tsv",
        ["index\tsentence1\tsentence2\tlabel", "0\tone\ttwo\tentailment"],
        [("one", "two")],
        [0],
    ),
    "wnli": (
        "WNLI/dev.tsv",
        ["index\tsentence1\tsentence2\tlabel", "0\tone\ttwo\t1"],
        [("one", "two")],
        [1],
    ),
}


@pytest.mark.parametrize("task", ARCHIVES)
def test_published_archive(script: ModuleType, tmp_path: Path, task: str) -> None:
    name, lines, texts, labels = ARCHIVES[task]
    path = put(tmp_path / name, *lines)
    for number, source in enumerate((tmp_path, path.parent)):
        out = tmp_path / str(number)
        assert script.prepare(source, out) == [f"{out / task / 'dev.tsv'}: 1 rows"]
        found = read_examples(task, out, "dev")
        assert (list(found.texts), found.labels.tolist()) == (texts, labels)
        assert found.ids == ("0",)


def test_mnli_mismatched_archive(script: ModuleType, tmp_path: Path) -> None:
    put(
        tmp_path / "MNLI" / "dev_mismatched.tsv",
        MNLI,
        "0\t1\t2\tfiction\t()\t()\tone\ttwo\tneutral\tneutral",
    )
    script.prepare(tmp_path, tmp_path / "out")
    assert read_examples("mnli", tmp_path / "out", "dev_mismatched").labels.tolist() == [1]
    with pytest.raises(ValueError, match=r"expected the split 'dev' of mnli as dev\.tsv, mnli_dev"):
        read_examples("mnli", tmp_path / "out", "dev")


def test_mrpc_release_is_split_by_the_published_list(script: ModuleType, tmp_path: Path) -> None:
    rows = [f"{index % 2}\t1{index}\t2{index}\tone {index}\ttwo {index}" for index in range(3)]
    header = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String"
    put(tmp_path / "MRPC" / "msr_paraphrase_train.txt", header, *rows, end="\r\n")
    put(tmp_path / "MRPC" / "msr_paraphrase_test.txt", header, rows[0], end="\r\n")
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=r"dev_ids\.tsv: expected the list"):
        script.prepare(tmp_path, out)
    put(tmp_path / "MRPC" / "dev_ids.tsv", "11\t21")
    script.prepare(tmp_path, out)
    counts = [len(read_examples("mrpc", out, split)) for split in ("train", "dev", "test")]
    assert counts == [2, 1, 1]
    assert read_examples("mrpc", out, "dev").texts == (("one 1", "two 1"),)
    put(tmp_path / "MRPC" / "dev_ids.tsv", "11 21")
    with pytest.raises(ValueError, match=r"dev_ids\.tsv:1: expected 2 columns .*, got 1"):
        script.prepare(tmp_path, out)


def test_published_qqp_has_broken_rows_that_are_counted(script: ModuleType, tmp_path: Path) -> None:
    header = ARCHIVES["qqp"][1][0]
    put(
        tmp_path / "QQP" / "train.tsv",
        header,
        "1\t2\t3\tone?\ttwo?\t1",
        '4\t5\t6\t"a question',
        '"\tanother?\t0',
        "7\t8\t9\t\ttwo?\t1",
    )
    [told] = script.prepare(tmp_path, tmp_path / "out")
    assert told.endswith("train.tsv: 1 rows, 3 incomplete")
    assert read_examples("qqp", tmp_path / "out", "train").texts == (("one?", "two?"),)


def test_a_wrong_label_and_a_missing_column_name_file_and_line(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "SST-2" / "dev.tsv", "sentence\tlabel", "a film\t7")
    assert script.main([str(tmp_path), str(tmp_path / "out")]) == 2
    assert "dev.tsv:2: expected a label of sst2" in capsys.readouterr().err
    put(tmp_path / "SST-2" / "dev.tsv", "text\tlabel", "a film\t1")
    assert script.main([str(tmp_path), str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert "dev.tsv:1: expected a column sentence, got text, label" in told
    assert told.count("\n") == 1
    assert script.main([str(tmp_path / "nowhere"), str(tmp_path / "out")]) == 2
    assert "expected one of SST-2, MRPC" in capsys.readouterr().err


def test_adversarial_texts_are_a_dev_split(script: ModuleType, tmp_path: Path) -> None:
    item = {"sentence": "an odd\tfilm", "original_sentence": "a film", "label": 1, "idx": 5}
    items = {name: [] for name in ("qqp", "mnli", "mnli-mm", "qnli", "rte")}
    path = tmp_path / "dev.json"
    path.write_text(json.dumps({**items, "sst2": [item]}))
    with pytest.raises(ValueError, match="expected at least one item of qqp"):
        script.prepare_advglue(path, tmp_path / "out")
    found = read_examples("sst2", tmp_path / "out" / "advglue-sst2", "dev")
    assert (found.texts, found.labels.tolist(), found.ids) == ((("an odd\tfilm",),), [1], ("5",))
