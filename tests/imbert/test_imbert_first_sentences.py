"""A record of attacks on the first sentences follows from one of attacks on more of them."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from imbert.attack_records import Attack, read_attack
from imbert.records import plain
from imbert.study.attack_runs import identity
from imbert.study.plan import read_study

STUDIES = Path(__file__).parents[2] / "docs" / "studies"
FOLDER = STUDIES / "placement-seeds"
WHOLE = STUDIES / "conditioning" / "runs"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("first", FOLDER / "first.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def attack(path: Path) -> Attack:
    record = read_attack(path)
    assert isinstance(record, Attack)
    return record


@pytest.mark.parametrize("kind", ["characters", "words"])
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_the_published_records_are_cut_out_of_the_conditioning_study(
    kind: str, seed: int, script: ModuleType
) -> None:
    published = attack(FOLDER / "runs" / f"none-{seed}" / "attacks" / f"{kind}.json")
    whole = attack(WHOLE / f"seed-{seed}" / "attacks" / f"{kind}.json")
    cut = script.first(whole, published.examples, published.of.examples)
    assert plain(cut) == plain(published) and published.examples == 300
    choice = read_study(FOLDER / "study.toml").attacks
    assert choice is not None and published.of.choice == identity(choice)


@pytest.mark.parametrize("kind", ["characters", "words"])
def test_all_of_a_record_has_the_sums_of_the_record(kind: str, script: ModuleType) -> None:
    whole = attack(WHOLE / "seed-1" / "attacks" / f"{kind}.json")
    again = script.first(whole, whole.examples, whole.of.examples)
    for name in ("examples", "changed", "per_example", "queries_max", "of"):
        assert getattr(again, name) == getattr(whole, name), name
    for name in ("clean_accuracy", "robust_accuracy", "success_rate", "queries"):
        assert getattr(again, name) == pytest.approx(getattr(whole, name), rel=1e-12), name
    assert again.statistics.edits_of_flipped == pytest.approx(whole.statistics.edits_of_flipped)
    assert again.statistics.budget_used_up == whole.statistics.budget_used_up


def test_a_record_without_a_right_answer_is_cut_too(script: ModuleType) -> None:
    whole = attack(WHOLE / "seed-1" / "attacks" / "characters.json")
    wrong = next(row.index for row in whole.per_example if not row.right_before)
    rows = whole.per_example[wrong : wrong + 1]
    cut = script.first(script.structs.replace(whole, per_example=rows), 1, "digest")
    assert (cut.clean_accuracy, cut.robust_accuracy, cut.queries) == (0, 0, 0)
    assert cut.success_rate is None
