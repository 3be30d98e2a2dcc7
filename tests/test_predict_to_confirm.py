"""From a checkpoint that nobody has seen to a confirmed or refuted prediction, by the commands of
the how-to alone.
"""

import json
from pathlib import Path

import pytest
import transformers

from analysis.__main__ import main as odestab
from analysis.prediction.records import TESTED
from imbert.__main__ import main as imbert

EXAMPLES = Path(__file__).parents[1] / "examples" / "finetune"


@pytest.mark.slow
def test_a_prediction_is_made_tested_and_judged(
    tmp_path: Path,
    minilm_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    config = transformers.BertConfig(
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=24,
        initializer_range=0.1,
    )
    transformers.BertModel(config).save_pretrained("unseen")
    transformers.AutoTokenizer.from_pretrained(minilm_folder).save_pretrained("unseen")
    rows = (EXAMPLES / "train.tsv").read_text(encoding="utf-8").splitlines()[1:9]
    Path("texts.txt").write_text("\n".join(row.split("\t")[0] for row in rows), encoding="utf-8")
    assert (
        odestab(["predict", "unseen", "--texts", "texts.txt", "--workers", "1", "--out", "ahead"])
        == 0
    )
    plan = Path("ahead/study.toml")
    plan.write_text(plan.read_text().replace("\nvalidation = 500", "\nvalidation = 16"))
    assert imbert(["study", str(plan), "--data", str(EXAMPLES), "--out", "placements"]) == 0
    assert odestab(["confirm", "ahead/prediction.json", "placements", "--out", "confirmation"]) == 0
    record, told = (
        json.loads(Path("confirmation/confirmation.json").read_text()),
        capsys.readouterr().out,
    )
    placed = json.loads(Path("ahead/prediction.json").read_text())["placements"]
    assert {tuple(one["layers"]) for one in record["outcomes"]} == {
        tuple(one["layers"]) for one in placed
    } and len(placed) >= 7
    assert (
        record["meta"]["primary"]
        and record["sentence"] in " ".join(told.split())
        and Path("confirmation/confirmation.svg").exists()
    )
    assert " ".join(told.split()).count(TESTED) == 1
    changed = Path("ahead/prediction.json")
    changed.write_text(changed.read_text() + "\n")  # a prediction made afterwards
    assert odestab(["confirm", "ahead/prediction.json", "placements", "--out", "confirmation"]) == 2
