"""A confirmation ranks measured robustness against a prediction, and takes no run that was not its
test.
"""

import hashlib
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from analysis.confirmation import confirm
from analysis.confirmation.outcomes import resampled
from analysis.confirmation.runs import Run
from analysis.confirmation.verdict import _detectable, _outcome
from analysis.ground.rank_correlation import STATISTICS, correlation, ranking_power, seed_scatter
from figures import confirmation as picture
from figures.records import Confirmation, typed

EXAMPLES = 400
PLACEMENT = Path(__file__).parents[2] / "docs" / "studies" / "placement"
SETS = [(), (0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2)]


def write_prediction(folder: Path, values: list[float]) -> Path:
    placements = [
        {
            "layers": layers,
            "step_size": 1.0,
            "name": str(layers),
            "advantage": {"value": value, "low": value - 0.1, "high": value + 0.1},
        }
        for layers, value in zip(SETS, values, strict=True)
    ]
    path = folder / "prediction.json"
    config = {"checkpoint": "c" * 64, "field": "increment", "encoder_depth": 3}
    path.write_text(json.dumps({"schema": 1, "config": config, "placements": placements}))
    return path


def write_run(
    folder: Path, layers: tuple[int, ...], flips: float, digest: str, seed: int = 0, **changes: Any
) -> Path:
    """A run whose right examples are flipped with the given chance."""
    random = np.random.default_rng([seed, *layers, 7])
    right = random.random(EXAMPLES) < 0.9
    after = right & (random.random(EXAMPLES) >= flips)
    dev = changes.get("dev", 0.9)
    place = folder / f"{'-'.join(map(str, layers)) or 'none'}-{seed}"
    model = {
        "kind": "im-bert" if layers else "bert",
        "implicit_layers": list(layers),
        "field": None,
        "step_size": None,
        "method": None,
    }
    result: dict[str, Any] = {
        "run": {
            "model": model | changes.get("model", {}),
            "data": {"size": changes.get("size", 1000)},
            "train": {"seed": seed, "epochs": changes.get("epochs", 5)},
            "evaluate": {"prediction": changes.get("prediction", digest)},
        },
        "evaluation": {"dev": {"metrics": {"accuracy": dev}, "interval": [dev - 0.02, dev + 0.02]}},
        "meta": {
            "schema": changes.get("schema", 1),
            "checkpoints": {"start": changes.get("start", "c" * 64), "final": f"of {place}"},
        },
    }
    (place / "attacks").mkdir(parents=True)
    (place / "result.json").write_text(json.dumps(result))
    rows = [
        {"right_before": bool(a), "right_after": bool(b)} for a, b in zip(right, after, strict=True)
    ]
    of = {
        "checkpoint": changes.get("attacked", f"of {place}"),
        "examples": changes.get("examples", "e"),
        "choice": {"seed": 0},
    }
    attack = {"of": of, "per_example": rows}
    (place / "attacks" / "characters.json").write_text(json.dumps(attack))
    return place


def study(
    folder: Path, values: list[float], flips: list[float], seeds: int = 1
) -> tuple[Path, Path]:
    path = write_prediction(folder, values)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for layers, chance in zip(SETS, flips, strict=True):
        for seed in range(seeds):
            write_run(folder / "study", layers, chance, digest, seed)
    return path, folder / "study"


RISING = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]


@pytest.mark.parametrize("seeds", [1, 2])
def test_what_is_predicted_and_found_is_confirmed(tmp_path: Path, seeds: int) -> None:
    found = confirm(
        *study(tmp_path, RISING, [0.9, 0.8, 0.7, 0.55, 0.4, 0.25, 0.1], seeds), "characters"
    )
    assert [one.layers for one in found.outcomes] == SETS and found.outcomes[0].measured == 0.0
    assert all(one.low <= one.measured <= one.high for one in found.outcomes)
    assert np.allclose(
        [one.measured for one in found.outcomes], [0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8], atol=0.1
    )
    assert all(one.value == pytest.approx(1.0) for one in found.correlations) and all(
        one.p_value < 0.01 for one in found.correlations[:2]
    )
    assert "Over 6 placements" in found.sentence, "the explicit model is not ranked against itself"
    assert (found.noise is None) == (seeds == 1) and len(found.powers) == (0 if seeds == 1 else 3)
    assert ": confirmed." in found.sentence and "p = 0.0" in found.sentence
    assert [one.seeds for one in found.outcomes] == [tuple(range(seeds))] * 7


def test_the_opposite_is_refuted_and_noise_is_neither(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    falling = confirm(
        *study(tmp_path / "a", RISING, [0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9]), "characters"
    )
    assert "refuted" in falling.sentence and falling.correlations[0].value == pytest.approx(-1.0)
    mixed = confirm(
        *study(tmp_path / "b", RISING, [0.5, 0.3, 0.7, 0.2, 0.6, 0.4, 0.5]), "characters"
    )
    assert "not confirmed" in mixed.sentence and mixed.correlations[0].p_value > 0.05


def test_correlations_are_scipys() -> None:
    random = np.random.default_rng(0)
    order, values = random.normal(size=9), np.round(random.normal(size=(20, 9)), 1)
    for name, reference in (
        ("Spearman", scipy.stats.spearmanr),
        ("Kendall", scipy.stats.kendalltau),
    ):
        found = STATISTICS[name](order, values, np.zeros(9))
        assert found == pytest.approx([reference(order, row).statistic for row in values])
        values[3, 2] = np.nan
        assert np.isnan(STATISTICS[name](order, values, np.zeros(9))).tolist() == [
            i == 3 for i in range(20)
        ]
        values[3, 2] = 0.0


@pytest.mark.parametrize(
    ("placements", "critical"), [(5, 1.0), (6, 0.886), (7, 0.786), (8, 0.738), (12, 0.587)]
)
def test_the_critical_correlation_is_the_tables(placements: int, critical: float) -> None:
    """Two-sided 5 %, Spearman (Zar, table B.20; of 12 by permutations that are drawn)."""
    order = np.arange(float(placements))
    found = correlation("Spearman", order, order[:, None], 0)
    assert (
        found.critical == pytest.approx(critical, abs=5e-4 if placements < 9 else 0.015)
        and found.p_value < 0.05
    )


def test_a_prediction_that_only_counts_layers_is_not_confirmed_among_equally_many(
    tmp_path: Path,
) -> None:
    flips = {0: 0.9, 1: 0.6, 2: 0.3, 3: 0.1}  # by the number of layers alone
    found = confirm(*study(tmp_path, RISING, [flips[len(one)] for one in SETS]), "characters")
    assert found.correlations[0].value > 0.8 and found.meta["with_count"] > 0.9
    within = found.correlations[-1]
    assert (
        within.p_value > 0.05
        and np.isnan(within.critical)
        and "among placements of equally many" in found.sentence
    )


def test_among_equally_many_it_is_a_permutation_test_of_those() -> None:
    order, counts = np.array([0.0, 1, 2, 3, 4, 5, 10, 11, 12, 13]), np.array([1] * 6 + [3] * 4)
    measured = np.array([5.0, 6, 7, 8, 9, 10, 0, 1, 2, 3])  # rises within, falls between
    assert correlation("Spearman", order, measured[:, None], 0).value < 0
    found = correlation("Spearman", order, measured[:, None], 0, strata=counts)
    assert found.value == pytest.approx(1.0) and found.p_value == pytest.approx(
        2 / 17280
    )  # itself and its reverse


def test_a_model_that_has_collapsed_is_named(tmp_path: Path) -> None:
    path, folder = study(tmp_path, RISING, [0.9, 0.8, 0.7, 0.55, 0.4, 0.25, 0.1])
    shutil.rmtree(folder / "0-1-2-0")
    write_run(folder, (0, 1, 2), 0.1, hashlib.sha256(path.read_bytes()).hexdigest(), dev=0.5)
    found = confirm(path, folder, "characters")
    assert [one.layers for one in found.outcomes if one.fallen] == [
        (0, 1, 2)
    ] and "0–1–2 fall below" in found.sentence


def test_another_attack_is_exploratory(tmp_path: Path) -> None:
    path, folder = study(tmp_path, RISING, [0.5] * 7)
    for one in folder.iterdir():
        (one / "attacks" / "characters.json").rename(one / "attacks" / "words.json")
    found = confirm(path, folder, "words")
    assert not found.meta["primary"] and found.sentence.endswith("exploratory.")


def test_the_detectable_difference_is_found_in_four_studies_of_five() -> None:
    random, found = np.random.default_rng(1), 0
    right = np.ones(500, dtype=bool)

    def pair(difference: float) -> tuple[Run, Run]:
        draw = random.random(500)  # a fifth of the examples tell the two apart
        a, b = draw < 0.1 - difference / 2, (draw > 0.5) & (draw < 0.6 + difference / 2)
        return Run("a", (0,), 0, 1.0, (1.0, 1.0), right, a), Run(
            "b", (), 0, 1.0, (1.0, 1.0), right, b
        )

    none = [[pair(0.0)]]
    least = _detectable(none, resampled(none, 0))
    for _ in range(400):
        one, other = pair(least)
        only, alone = (
            int((one.flipped & ~other.flipped).sum()),
            int((other.flipped & ~one.flipped).sum()),
        )
        found += scipy.stats.binomtest(only, only + alone).pvalue <= 0.05
    assert 0.72 < found / 400 < 0.88


def runs(
    differences: np.ndarray, examples: int, clusters: np.ndarray | None = None
) -> list[tuple[Run, Run]]:
    """Pairs of runs, one a seed, whose flips differ by so much on all examples alike."""
    right, pairs = np.ones(examples, dtype=bool), []
    for seed, one in enumerate(differences):
        flipped = np.arange(examples) < round(one * examples)
        explicit = Run("b", (), seed, 1.0, (1.0, 1.0), right, flipped, clusters)
        pairs.append(
            (
                Run(
                    "a",
                    (0,),
                    seed,
                    1.0,
                    (1.0, 1.0),
                    right,
                    np.zeros(examples, dtype=bool),
                    clusters,
                ),
                explicit,
            )
        )
    return pairs


def test_what_seeds_scatter_widens_intervals_and_what_can_be_detected() -> None:
    """Examples that are all alike: nothing is left but the seeds."""
    differences = np.array([0.1, 0.3, 0.2, 0.5, 0.4])
    scattered, level = [runs(differences, 1000)], [runs(np.full(5, 0.3), 1000)]
    few, many = (resampled(one, 0)[0][1:] for one in (level, scattered))
    assert many.std() ** 2 == pytest.approx(
        differences.var() / 5 + few.std() ** 2, rel=0.1
    )  # of 5 seeds 4/5 of the variance
    error = np.sqrt(differences.var(ddof=1) / 5 + few.var() * 5 / 4)
    quantiles = scipy.stats.t(4).ppf(0.975) + scipy.stats.t(4).ppf(0.8)
    assert _detectable(scattered, resampled(scattered, 0)) == pytest.approx(
        quantiles * error, rel=0.05
    )


def test_of_two_seeds_the_interval_is_students() -> None:
    found = _outcome(runs(np.array([0.1, 0.2]), 1000), {}, np.array([0.15, 0.14, 0.16]))
    half = math.tan(0.475 * math.pi) * 0.05  # t_1 is Cauchy's, s/√2 = 0.05
    assert (found.low, found.high) == pytest.approx((0.15 - half, 0.15 + half))


def test_examples_of_the_same_texts_are_drawn_together() -> None:
    alone = resampled([runs(np.array([0.3]), 100)], 0)[0][1:]
    copies = resampled([runs(np.array([0.3]), 900, np.arange(900) // 9)], 0)[0][1:]
    ignored = resampled([runs(np.array([0.3]), 900)], 0)[0][1:]
    assert copies.std() == pytest.approx(alone.std(), rel=0.05) and ignored.std() == pytest.approx(
        alone.std() / 3, rel=0.05
    )


def test_the_power_of_a_rank_test_by_its_limits_and_by_hand() -> None:
    assert ranking_power(12, 0.0, 1.0) == pytest.approx(
        0.025, abs=0.01
    )  # no spread: chance, on one side
    assert ranking_power(12, 0.02, 0.0) == 1.0 and ranking_power(12, 3.0, 1.0, trials=500) > 0.9
    powers = [ranking_power(12, spread, 2.65, trials=3000) for spread in (1, 2, 3)]
    random, order = np.random.default_rng(5), np.arange(12.0)
    truth = (order - order.mean()) / order.std()
    by_hand = [
        scipy.stats.spearmanr(order, 2 * truth + 2.65 * random.normal(size=12)) for _ in range(600)
    ]
    expected = np.mean([one.statistic > 0 and one.pvalue < 0.05 for one in by_hand])
    assert powers == sorted(powers) and powers[1] == pytest.approx(
        expected, abs=0.08
    )  # four standard deviations of 600 tosses
    for bad in ((2, 1.0, 1.0), (12, -1.0, 1.0), (12, 1.0, float("nan"))):
        with pytest.raises(ValueError, match="must be >="):
            ranking_power(*bad)


def test_what_all_placements_share_in_a_seed_is_no_noise_of_ranks() -> None:
    random = np.random.default_rng(2)
    own = 0.03 * random.normal(size=(200, 6))
    shared = own + np.array([0, 1.0, 5, -3, 2, 0])[None] + random.normal(size=(200, 1))
    assert seed_scatter(shared) == pytest.approx(seed_scatter(own)) == pytest.approx(0.03, rel=0.1)
    assert np.isnan(seed_scatter(own[:, :1]))


def test_a_study_of_one_seed_takes_the_scatter_of_another(tmp_path: Path) -> None:
    found = confirm(*study(tmp_path, RISING, [0.5] * 7), "characters", seed_sd=0.04)
    assert (
        found.noise == 0.04
        and list(found.powers) == ["0.01", "0.02", "0.03"]
        and "4.0 points" in found.power
    )
    with pytest.raises(ValueError, match="seed_sd must be >= 0 and finite, got -1"):
        confirm(tmp_path / "prediction.json", tmp_path / "study", "characters", seed_sd=-1.0)


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
        (
            {"model": {"solver": {"name": "GradientDescent"}}},
            "solver that converges, got GradientDescent",
        ),
        ({"model": {"solver": {"name": "Auto"}}}, "the same implicit step in all runs"),
        ({"size": 500}, "the same data in all runs"),
        ({"epochs": 9}, "the same training in all runs"),
        ({"attacked": "another"}, "an attack on the run's checkpoint"),
        ({"start": None}, "from the predicted checkpoint c+, got None"),
        ({}, "one run for each placement and seed"),
    ],
)
def test_a_run_that_is_no_test_of_it_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path, folder = study(tmp_path, RISING, [0.5] * 7)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    write_run(folder / "more", (0, 1, 2), 0.5, digest, **changes)
    with pytest.raises(ValueError, match=message):
        confirm(path, folder, "characters")


@pytest.mark.parametrize("name", ["config", "tokenizer"])
def test_an_attack_on_the_same_weights_in_another_model_is_refused(
    tmp_path: Path, name: str
) -> None:
    path, folder = study(tmp_path, RISING, [0.5] * 7)
    result, attack = folder / "1-0" / "result.json", folder / "1-0" / "attacks" / "characters.json"
    found, attacked = json.loads(result.read_text()), json.loads(attack.read_text())
    found["meta"]["final"] = {"config": "a", "tokenizer": "b"}
    result.write_text(json.dumps(found))
    confirm(path, folder, "characters")  # an older attack, which knows its weights alone
    attacked["of"] |= {"config": "a", "tokenizer": "b"}
    attack.write_text(json.dumps(attacked))
    confirm(path, folder, "characters")
    attacked["of"][name] = "another"
    attack.write_text(json.dumps(attacked))
    with pytest.raises(
        ValueError, match=f"an attack on the run's checkpoint, got one with another {name}"
    ):
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


@pytest.mark.parametrize(
    ("file", "entry"),
    [("result.json", "meta"), ("result.json", "evaluation"), ("attacks/characters.json", "of")],
)
def test_a_record_without_an_entry_is_named(tmp_path: Path, file: str, entry: str) -> None:
    path, folder = study(tmp_path, RISING, [0.5] * 7)
    damaged = folder / "1-0" / file
    damaged.write_text(
        json.dumps(
            {key: value for key, value in json.loads(damaged.read_text()).items() if key != entry}
        )
    )
    with pytest.raises(ValueError, match=rf"1-0.*expected an entry {entry}\."):
        confirm(path, folder, "characters")


def test_a_placement_without_a_prediction_is_left_out(tmp_path: Path) -> None:
    path = write_prediction(tmp_path, RISING)
    ahead = json.loads(path.read_text())
    ahead["placements"][3]["advantage"]["value"] = None
    path.write_text(json.dumps(ahead))
    for layers in SETS:
        write_run(tmp_path / "study", layers, 0.5, hashlib.sha256(path.read_bytes()).hexdigest())
    assert confirm(path, tmp_path / "study", "characters").meta["unpredicted"] == [[2]]


def test_too_few_placements_are_refused_with_the_number_needed(tmp_path: Path) -> None:
    path = write_prediction(tmp_path, RISING)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for layers in SETS[:4]:
        write_run(tmp_path / "study", layers, 0.5, digest)
    with pytest.raises(
        ValueError,
        match="at least 5 placements of implicit steps that were predicted and run, got 3",
    ):
        confirm(path, tmp_path / "study", "characters")


def study_of_fine_tuned(
    folder: Path, flips: dict[tuple[int, ...], float], seeds: int = 4, **changes: Any
) -> tuple[Path, Path]:
    """A study, and a prediction from its explicit model of seed 0, which no run names."""
    path = write_prediction(folder, RISING)
    ahead = json.loads(path.read_text())
    ahead["config"]["checkpoint"] = f"of {folder / 'study' / 'none-0'}"
    path.write_text(json.dumps(ahead))
    for layers, chance in flips.items():
        for seed in range(seeds):
            write_run(folder / "study", layers, chance, "0" * 64, seed, **changes)
    return path, folder / "study"


FEW = {(): 0.7, (2,): 0.6, (0, 1): 0.4, (1, 2): 0.3}


def test_a_prediction_from_a_fine_tuned_model_is_tested_by_the_other_seeds(tmp_path: Path) -> None:
    path, folder = study_of_fine_tuned(tmp_path, FEW)
    found = confirm(path, folder, "characters")
    assert found.contrasts is not None and found.correlations == () and found.powers == {}
    every, within = found.contrasts
    assert (every.most, every.least) == ((1, 2), ()) and every.seeds == (1, 2, 3)
    assert (within.most, within.least) == ((1, 2), (0, 1))
    assert every.value == pytest.approx(0.4, abs=0.1) and within.value == pytest.approx(
        0.1, abs=0.1
    )
    assert 0 < every.low < every.value < every.high
    # of equally many layers it is not said
    assert found.sentence.count("These differ in the number of implicit layers") == 1
    assert "Of one seed" not in found.sentence
    assert "seed 0, whose runs are left out" in found.sentence and "confirmed" in found.sentence
    assert "Of 12 runs 0 name the prediction" in found.sentence
    assert found.meta["runs"] == 12 and all(0 not in one.seeds for one in found.outcomes)
    assert "ranks" not in found.power and "probability" not in found.power
    assert picture.draw(typed(json.loads(json.dumps(found.record())), Confirmation, "record"))
    write_run(folder, (0,), 0.5, "0" * 64, seed=1, start="d" * 64)
    with pytest.raises(ValueError, match="expected the same checkpoint to start from in all runs"):
        confirm(path, folder, "characters")


def test_few_placements_can_refute_it_or_be_too_alike(tmp_path: Path) -> None:
    (tmp_path / "opposite").mkdir()
    path, folder = study_of_fine_tuned(tmp_path / "opposite", {(): 0.2, (2,): 0.7})
    assert "refuted" in confirm(path, folder, "characters").sentence
    (tmp_path / "alike").mkdir()
    path, folder = study_of_fine_tuned(tmp_path / "alike", {(): 0.5, (2,): 0.5})
    found = confirm(path, folder, "characters")
    assert "not told apart" in found.sentence and found.contrasts is not None
    by_seeds = [one.measured for one in found.outcomes if one.layers]
    assert found.contrasts[0].value == pytest.approx(by_seeds[0])


def test_one_other_seed_says_so_and_one_placement_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "seed").mkdir()
    path, folder = study_of_fine_tuned(tmp_path / "seed", {(): 0.7, (2,): 0.3}, seeds=2)
    assert "confirmed. These differ in" in (told := confirm(path, folder, "characters").sentence)
    assert "Of one seed: what others would say is not known." in told
    ahead = json.loads(path.read_text())
    ahead["placements"] = [one for one in ahead["placements"] if one["layers"]]
    path.write_text(json.dumps(ahead))
    with pytest.raises(ValueError, match="expected two placements of unequal predicted advantage"):
        confirm(path, folder, "characters")


def test_runs_that_name_a_prediction_from_a_fine_tuned_model_are_counted(tmp_path: Path) -> None:
    path, folder = study_of_fine_tuned(tmp_path, {(): 0.5, (2,): 0.5}, seeds=3)
    for layers in ((0, 1), (1, 2), (0,), (1,), (0, 1, 2)):
        for seed in (1, 2):
            write_run(folder, layers, 0.5, hashlib.sha256(path.read_bytes()).hexdigest(), seed)
    found = confirm(path, folder, "characters")
    assert "Of 14 runs 10 name the prediction" in found.sentence
    assert len(found.correlations) == 3 and "Over 6 placements" in found.sentence


def test_the_command_and_its_picture(tmp_path: Path, odestab) -> None:
    path, folder = study(tmp_path, RISING, [0.9, 0.8, 0.7, 0.55, 0.4, 0.25, 0.1])
    assert odestab("confirm", path, folder, "--out", tmp_path / "out").code == 0
    record = json.loads((tmp_path / "out/confirmation.json").read_text())
    panel, dev = picture.draw(typed(record, Confirmation, "record")).axes
    points = [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in panel.lines
        if line.get_marker() == "o"
    ]
    assert np.allclose(
        points, [(one["predicted"]["value"], one["measured"]) for one in record["outcomes"]]
    )
    assert [label.get_text() for label in dev.get_yticklabels()] == [
        "none",
        "0",
        "1",
        "2",
        "0–1",
        "1–2",
        "0–2",
    ]
    odestab.refuses(["confirm", path, tmp_path / "nothing"], "expected runs with a result")


def test_the_published_confirmation_follows_from_its_runs() -> None:
    published_noise = json.loads((PLACEMENT / "confirmation.json").read_text(encoding="utf-8"))[
        "noise"
    ]
    found = confirm(
        PLACEMENT / "prediction.json", PLACEMENT / "runs", "characters", seed_sd=published_noise
    ).record()
    published = json.loads((PLACEMENT / "confirmation.json").read_text(encoding="utf-8"))
    assert found["sentence"] == published["sentence"] and found["meta"] == published["meta"]
    assert found["powers"] == pytest.approx(published["powers"]) and found[
        "detectable"
    ] == pytest.approx(published["detectable"])
    assert [list(one["layers"]) for one in found["outcomes"]] == [
        one["layers"] for one in published["outcomes"]
    ]
    for name, keys in (
        ("outcomes", ("measured", "low", "high", "dev")),
        ("correlations", ("value", "low", "high", "p_value")),
    ):
        for one, other in zip(found[name], published[name], strict=True):
            assert [one[key] for key in keys] == pytest.approx([other[key] for key in keys])
