"""A confirmation ranks measured robustness against a prediction, and takes no run that was not its test."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from analysis.confirmation import confirm
from analysis.confirmation.rank import STATISTICS
from figures import confirmation as picture

EXAMPLES = 400
SETS = [(), (0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2)]


def write_prediction(folder: Path, values: list[float]) -> Path:
    placements = [
        {"layers": layers, "step_size": 1.0, "name": str(layers), "advantage": {"value": value, "low": value - 0.1, "high": value + 0.1}}
        for layers, value in zip(SETS, values, strict=True)
    ]
    path = folder / "prediction.json"
    config = {"checkpoint": "c" * 64, "field": "increment", "encoder_depth": 3}
    path.write_text(json.dumps({"schema": 1, "config": config, "placements": placements}))
    return path


def write_run(folder: Path, layers: tuple[int, ...], flips: float, digest: str, seed: int = 0, **changes: Any) -> Path:
    """A run whose right examples are flipped with the given chance."""
    random = np.random.default_rng([seed, *layers, 7])
    right = random.random(EXAMPLES) < 0.9
    after = right & (random.random(EXAMPLES) >= flips)
    model = {"kind": "im-bert" if layers else "bert", "implicit_layers": list(layers), "field": None, "step_size": None, "method": None}
    result: dict[str, Any] = {
        "run": {
            "model": model | changes.get("model", {}),
            "train": {"seed": seed},
            "evaluate": {"prediction": changes.get("prediction", digest)},
        },
        "evaluation": {"dev": {"metrics": {"accuracy": float(right.mean())}}},
        "meta": {"schema": changes.get("schema", 1), "checkpoints": {"start": changes.get("start", "c" * 64)}},
    }
    place = folder / f"{'-'.join(map(str, layers)) or 'none'}-{seed}"
    (place / "attacks").mkdir(parents=True)
    (place / "result.json").write_text(json.dumps(result))
    rows = [{"right_before": bool(a), "right_after": bool(b)} for a, b in zip(right, after, strict=True)]
    attack = {"of": {"examples": changes.get("examples", "e"), "choice": {"seed": 0}}, "per_example": rows}
    (place / "attacks" / "characters.json").write_text(json.dumps(attack))
    return place


def study(folder: Path, values: list[float], flips: list[float], seeds: int = 1) -> tuple[Path, Path]:
    path = write_prediction(folder, values)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for layers, chance in zip(SETS, flips, strict=True):
        for seed in range(seeds):
            write_run(folder / "study", layers, chance, digest, seed)
    return path, folder / "study"


RISING = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]


@pytest.mark.parametrize("seeds", [1, 2])
def test_what_is_predicted_and_found_is_confirmed(tmp_path: Path, seeds: int) -> None:
    found = confirm(*study(tmp_path, RISING, [0.9, 0.8, 0.7, 0.55, 0.4, 0.25, 0.1], seeds), "characters")
    assert [one.layers for one in found.outcomes] == SETS and found.outcomes[0].measured == 0.0
    assert all(one.low <= one.measured <= one.high for one in found.outcomes)
    assert np.allclose([one.measured for one in found.outcomes], [0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8], atol=0.1)
    assert all(one.value == pytest.approx(1.0) and one.p_value < 0.01 for one in found.correlations)
    assert found.sentence.endswith("confirmed.") and "not confirmed" not in found.sentence
    assert [one.seeds for one in found.outcomes] == [tuple(range(seeds))] * 7


def test_the_opposite_is_refuted_and_noise_is_neither(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    falling = confirm(*study(tmp_path / "a", RISING, [0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9]), "characters")
    assert "refuted" in falling.sentence and falling.correlations[0].value == pytest.approx(-1.0)
    mixed = confirm(*study(tmp_path / "b", RISING, [0.5, 0.3, 0.7, 0.2, 0.6, 0.4, 0.5]), "characters")
    assert "not confirmed" in mixed.sentence and mixed.correlations[0].p_value > 0.05


def test_correlations_are_scipys() -> None:
    random = np.random.default_rng(0)
    order, values = random.normal(size=9), np.round(random.normal(size=(20, 9)), 1)
    for name, reference in (("Spearman", scipy.stats.spearmanr), ("Kendall", scipy.stats.kendalltau)):
        assert STATISTICS[name](order, values) == pytest.approx([reference(order, row).statistic for row in values])


def test_the_detectable_correlation_is_the_tables(tmp_path: Path) -> None:
    """Two-sided 5 % for n = 7: Spearman 0.786 (Zar, table B.20)."""
    found = confirm(*study(tmp_path, RISING, [0.5] * 7), "characters")
    assert found.correlations[0].detectable == pytest.approx(0.786, abs=0.04)


def test_the_detectable_difference_is_found_in_four_studies_of_five() -> None:
    from analysis.confirmation.runs import Run
    from analysis.confirmation.verdict import _detectable

    random, found = np.random.default_rng(1), 0
    right = np.ones(500, dtype=bool)

    def pair(difference: float) -> tuple[Run, Run]:
        draw = random.random(500)  # a fifth of the examples tell the two apart
        a, b = draw < 0.1 - difference / 2, (draw > 0.5) & (draw < 0.6 + difference / 2)
        return Run("a", (0,), 0, 1.0, right, a), Run("b", (), 0, 1.0, right, b)

    least = _detectable([[pair(0.0)]])
    for _ in range(400):
        one, other = pair(least)
        only, alone = int((one.flipped & ~other.flipped).sum()), int((other.flipped & ~one.flipped).sum())
        found += scipy.stats.binomtest(only, only + alone).pvalue <= 0.05
    assert 0.72 < found / 400 < 0.88


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 9}, "schema 1, got 9"),
        ({"start": "d" * 64}, "from the predicted checkpoint c+, got d+"),
        ({"prediction": None}, "predicted after the fact"),
        ({"prediction": "0" * 64}, "predicted after the fact"),
        ({"examples": "other"}, "the same attack on the same examples"),
        ({"model": {"field": "outer"}}, "field increment that was predicted, got outer"),
        ({"model": {"step_size": 0.5}}, "steps of one size"),
        ({"model": {"kind": "ex-bert"}}, "kind bert and im-bert"),
    ],
)
def test_a_run_that_is_no_test_of_it_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path, folder = study(tmp_path, RISING, [0.5] * 7)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    write_run(folder / "more", (0, 1, 2), 0.5, digest, **changes)
    with pytest.raises(ValueError, match=message):
        confirm(path, folder, "characters")


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    path, folder = study(tmp_path, RISING, [0.5] * 7)
    with pytest.raises(ValueError, match=r"expected the attack words in attacks/words\.json"):
        confirm(path, folder, "words")
    with pytest.raises(ValueError, match="expected runs with a result"):
        confirm(path, tmp_path / "nothing", "characters")
    with pytest.raises(ValueError, match="expected a prediction of schema 1, got None"):
        confirm(folder / "none-0" / "result.json", folder, "characters")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    write_run(folder, (0,), 0.5, digest, seed=5)
    with pytest.raises(ValueError, match="none of seed 5"):
        confirm(path, folder, "characters")


def test_too_few_placements_are_refused_with_the_number_needed(tmp_path: Path) -> None:
    path = write_prediction(tmp_path, RISING)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for layers in SETS[:4]:
        write_run(tmp_path / "study", layers, 0.5, digest)
    with pytest.raises(ValueError, match="at least 5 placements that were predicted and run, got 4"):
        confirm(path, tmp_path / "study", "characters")


def test_the_command_and_its_picture(tmp_path: Path, odestab) -> None:
    path, folder = study(tmp_path, RISING, [0.9, 0.8, 0.7, 0.55, 0.4, 0.25, 0.1])
    assert odestab("confirm", path, folder, "--out", tmp_path / "out").code == 0
    record = json.loads((tmp_path / "out/confirmation.json").read_text())
    panel, dev = picture.draw(record).axes
    points = [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in panel.lines if line.get_marker() == "o"]
    assert np.allclose(points, [(one["predicted"]["value"], one["measured"]) for one in record["outcomes"]])
    assert [label.get_text() for label in dev.get_yticklabels()] == ["none", "0", "1", "2", "0–1", "1–2", "0–2"]
    odestab.refuses(["confirm", path, tmp_path / "nothing"], "expected runs with a result")
