"""A Trainer of one's own learns with implicit layers, and tells of their solves."""

import importlib.util
from pathlib import Path

import pytest
import transformers

import imbert

FILE = Path(__file__).parents[2] / "examples" / "own_trainer.py"
SPEC = importlib.util.spec_from_file_location("own_trainer", FILE)
assert SPEC is not None and SPEC.loader is not None
own_trainer = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(own_trainer)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*pin_memory:UserWarning")
def test_it_learns_and_what_it_saves_loads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert own_trainer.main(tmp_path, 10) >= 0.9
    told = capsys.readouterr().out
    assert told.count("solver_evaluations") == 5
    again = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(again) is imbert.ImBertForSequenceClassification
    assert again.config.implicit_layers == [4, 5]
