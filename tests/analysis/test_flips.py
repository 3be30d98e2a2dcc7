"""Which scores foretell flips: what was fixed beforehand is told first, intervals keep sentences
together, and pairs are those of one model.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from flips_records import (
    a_condition,
    a_study,
    an_attack,
    an_input,
    drafted,
    some_edits,
    written,
)
from tiny_study import Command

from analysis.conditioning.records import Drafted, Input
from analysis.flips import Files, judge, read_files
from analysis.flips.records import Flips, Population, Ranking, Score
from analysis.flips.scores import definitions, scores_of
from analysis.flips.telling import WIDTH, told
from analysis.ground.typed_records import read_typed

COUNT = 40
RESAMPLES = 200


def files(
    folder: Path,
    conditions: Sequence[Sequence[Input]],
    flipped: Sequence[Sequence[bool]],
    attack: str = "characters",
    families: Sequence[str] = (),
) -> Files:
    """One condition for each model, and one attack on each."""
    paths = []
    for model, (inputs, flips) in enumerate(zip(conditions, flipped, strict=True)):
        condition = a_condition(inputs, model, families)
        right = [each.right for each in inputs[: len(flips)]]
        paths.append(written(folder, f"condition-{model}", condition))
        record = an_attack(right, flips, model, attack)
        if len(flips) < len(inputs):
            record["of"]["examples"] = "f" * 64
        paths.append(written(folder, f"{attack}-{model}", record))
    return read_files(paths)


def judged(*arguments: Any, **changes: Any) -> Flips:
    return judge(files(*arguments, **changes), resamples=RESAMPLES)


def pooled(record: Flips, population: Population = "right") -> Ranking:
    (ranking,) = record.pooled(population)
    return ranking


def test_every_score_is_larger_for_the_more_fragile() -> None:
    drafts = {"characters": Drafted(4, 2.0, -0.5, 1, [1.0, 1.5, 3.0])}
    condition = a_condition([an_input(0, 2.0, 4.0, drafts=drafts)], families=["characters"])
    found = {name: float(values[0]) for name, values in scores_of(condition).items()}
    assert found == {
        "confidence": -4.0,
        "length": 5.0,
        "gradient": 2.0,
        "distance": -2.0,
        "relative": 1.5,
        "characters spread": 2.0,
        "characters least": 0.5,
        "characters flipped": 0.25,
        "characters growth 1": 1.5,
        "characters growth 2": 3.0,
    }
    assert list(definitions(condition)) == list(found)


def test_what_is_no_number_is_left_out_and_counted(tmp_path: Path) -> None:
    none = Drafted(0, None, None, 0, [])
    inputs = [
        an_input(i, float(i + 1), drafts={"words": none if i < 6 else drafted(spread=float(i))})
        for i in range(COUNT)
    ]
    inputs[20] = an_input(20, gradient=None, drafts=inputs[20].drafts)
    inputs[22] = an_input(22, margin=None, drafts=inputs[22].drafts)  # no confidence beside it
    record = judged(tmp_path, [inputs], [[i % 2 == 0 for i in range(COUNT)]], families=["words"])
    ranking = pooled(record)
    left_out = {score.name: score.left_out for score in ranking.scores}
    assert (left_out["gradient"], left_out["distance"]) == (2, 2)
    assert all(left_out[f"words {name}"] == 7 for name in ("spread", "least", "flipped"))
    assert left_out["words growth 2"] == 7 and left_out["confidence"] == left_out["length"] == 1
    spread = ranking.score("words spread")
    assert (spread.flipped, spread.held, spread.sentences) == (16, 17, 33)


def test_the_primary_outcome_is_told_first_whatever_it_is(tmp_path: Path) -> None:
    half = [i < COUNT // 2 for i in range(COUNT)]
    for name, gradients, verdict in (
        ("more", [2.0 + i / COUNT if flip else 1.0 for i, flip in enumerate(half)], "says more"),
        ("less", [1.0 if flip else 2.0 + i / COUNT for i, flip in enumerate(half)], "says less"),
        ("none", [1.0] * COUNT, "not told apart"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        margins = np.where(np.arange(COUNT) % 2 == 0, 1.0, 2.0)  # tells nothing of the halves
        inputs = [an_input(i, gradients[i], float(margins[i])) for i in range(COUNT)]
        record = judged(folder, [inputs], [half])
        lines = told(record)
        assert lines[0].startswith("Fixed beforehand: ") and verdict in record.primary.sentence
        assert "not tested against words" in record.primary.sentence
        assert " ".join(lines).startswith(record.primary.sentence)
        primary = [each for each in record.rankings if each.primary]
        assert [each.population for each in primary] == ["right"]
        assert (record.primary.score, record.primary.attacks) == (
            "gradient",
            ["characters", "words"],
        )
        # two populations of five scores, confidence itself and the primary one apart
        assert record.explored == 2 * 4 - 1
        assert f"exploratory: {record.explored} other" in " ".join(lines)


@pytest.mark.parametrize("worse", [True, False])
def test_a_gain_over_confidence_that_is_itself_worse_than_chance_is_no_success(
    worse: bool, tmp_path: Path
) -> None:
    half = [i < COUNT // 2 for i in range(COUNT)]
    # worse: large margins flip, and the steeper inputs hold, but for a quarter
    margins = [2.0 + i / COUNT if flip is worse else 1.0 for i, flip in enumerate(half)]
    steep = [i % 4 == 0 if flip is worse else i % 4 != 0 for i, flip in enumerate(half)]
    inputs = [an_input(i, 1.0 + 2 * steep[i], margins[i]) for i in range(COUNT)]
    record = judged(tmp_path, [inputs], [half])
    g = next(each for each in record.rankings if each.primary).score("gradient")
    assert (g.confidence.value < 0.5) is (g.auroc.value < 0.5) is worse
    assert ("both rank worse than chance" in record.primary.sentence) is worse


def test_an_attack_that_was_not_fixed_beforehand_is_not_primary(tmp_path: Path) -> None:
    inputs = [an_input(i, float(i + 1)) for i in range(COUNT)]
    record = judged(tmp_path, [inputs], [[i > 20 for i in range(COUNT)]], attack="pgd")
    assert not any(ranking.primary for ranking in record.rankings)
    assert "is not tested against characters and words." in record.primary.sentence
    assert record.explored == 2 * 4


def test_only_right_answers_count_and_those_that_no_draft_flips_apart(tmp_path: Path) -> None:
    inputs = [
        an_input(
            i,
            float(i + 1),
            right=i % 4 != 0,
            margin=1.0 if i % 4 else -1.0,
            drafts={
                "characters": drafted(flipped=int(i % 3 == 0)),
                "words": drafted(flipped=int(i % 5 == 0)),
            },
        )
        for i in range(60)
    ]
    flips = [i % 4 != 0 and i >= 30 for i in range(60)]
    record = judged(tmp_path, [inputs], [flips], families=["characters", "words"])
    right = pooled(record)
    unflipped = pooled(record, "unflipped")
    kept = [i for i in range(60) if i % 4 and i % 3 and i % 5]
    assert (right.inputs, right.flipped) == (45, sum(flips))
    assert (unflipped.inputs, unflipped.flipped) == (len(kept), sum(flips[i] for i in kept))
    assert right.score("gradient").auroc.value == 1.0
    names = {score.name for score in right.scores} - {score.name for score in unflipped.scores}
    assert names == {"characters flipped", "words flipped"}, "0 of all inputs by definition"
    assert unflipped.calibration is None and not unflipped.primary


def test_an_attack_on_the_first_rows_is_judged_on_these(tmp_path: Path) -> None:
    inputs = [an_input(i, float(i + 1)) for i in range(COUNT)]
    record = judged(tmp_path, [inputs], [[i >= 15 for i in range(30)]])
    ranking = pooled(record)
    assert (ranking.inputs, ranking.flipped) == (30, 15)
    assert ranking.score("gradient").auroc.value == 1.0


def test_gain_is_paired_on_the_inputs_that_both_scores_have(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    margins = random.uniform(1, 3, COUNT)
    inputs = [
        an_input(i, None if i % 3 == 0 else float(random.random()), float(margins[i]))
        for i in range(COUNT)
    ]
    flips = (random.random(COUNT) < 0.5).tolist()
    found = pooled(judged(tmp_path, [inputs], [flips])).score("gradient")
    kept = [i for i in range(COUNT) if i % 3]
    flipped = np.array(flips)[kept]
    pairs = np.subtract.outer(-margins[kept][flipped], -margins[kept][~flipped])
    assert found.confidence.value == pytest.approx((pairs > 0).mean())
    assert found.auroc.value is not None and found.gain.value is not None
    assert found.gain.value == pytest.approx(found.auroc.value - found.confidence.value)
    same = pooled(judged(tmp_path, [inputs], [flips])).score("confidence")
    assert (same.gain.value, same.gain.low, same.gain.high) == (0.0, 0.0, 0.0)


def width(score: Score) -> float:
    assert score.auroc.high is not None and score.auroc.low is not None
    return score.auroc.high - score.auroc.low


def test_intervals_widen_where_inputs_are_one_sentence(tmp_path: Path) -> None:
    """Eight copies of each of ten sentences are ten observations."""
    random = np.random.default_rng(1)
    of_sentence = random.normal(size=10)
    flips = [bool(of_sentence[i // 8] + random.normal() > 0) for i in range(80)]
    widths = {}
    for name in ("alone", "together"):
        folder = tmp_path / name
        folder.mkdir()
        inputs = [
            an_input(
                i,
                float(np.exp(of_sentence[i // 8])),
                text=f"{i // 8}" if name == "together" else f"{i}",
            )
            for i in range(80)
        ]
        found = pooled(judged(folder, [inputs], [flips])).score("gradient")
        widths[name] = width(found)
        assert found.sentences == (10 if name == "together" else 80)
    assert widths["together"] > 1.3 * widths["alone"]


def test_a_sentence_is_drawn_with_all_its_models(tmp_path: Path) -> None:
    """Four models that answer alike are no more evidence than one."""
    random = np.random.default_rng(2)
    gradients = random.normal(size=60)
    flips = [bool(gradient + random.logistic() > 0) for gradient in gradients]
    inputs = [an_input(i, float(np.exp(gradient))) for i, gradient in enumerate(gradients)]
    one, four = tmp_path / "one", tmp_path / "four"
    one.mkdir()
    four.mkdir()
    single = pooled(judged(one, [inputs], [flips])).score("gradient")
    several = pooled(judged(four, [inputs] * 4, [flips] * 4)).score("gradient")
    assert several.auroc.value == pytest.approx(single.auroc.value)
    assert width(several) == pytest.approx(width(single))
    assert (several.flipped, several.sentences) == (4 * single.flipped, 60)


def test_models_are_pooled_within_themselves(tmp_path: Path) -> None:
    """A model with large gradients that flips often says nothing of the gradient."""
    scales = (1.0, 100.0)
    shares = (0.2, 0.8)
    random = np.random.default_rng(3)
    conditions = []
    flips = []
    for scale, share in zip(scales, shares, strict=True):
        gradients = scale * (1 + random.random(400))
        conditions.append([an_input(i, float(g)) for i, g in enumerate(gradients)])
        flips.append((random.random(400) < share).tolist())
    conditions[1][0] = an_input(0, None)  # it is in no ranking, of one model or of both
    record = judged(tmp_path, conditions, flips)
    together, *alone = (each for each in record.rankings if each.population == "right")
    assert (together.models, [each.models for each in alone]) == ([0, 1], [[0], [1]])
    assert together.score("gradient").auroc.value == pytest.approx(0.5, abs=0.06)
    assert "Single models have " in record.primary.alone
    assert [each.primary for each in (together, *alone)] == [True, False, False]
    # In one ranking of both, the gradient names the model that flips often; margins are all equal.
    gradients = np.array([each.gradient for inputs in conditions for each in inputs], dtype=float)
    known = np.isfinite(gradients)
    gradients = gradients[known]
    own = np.array(flips).ravel()[known]
    across = (np.subtract.outer(gradients[own], gradients[~own]) > 0).mean() - 0.5
    assert together.across is not None and across > 0.2
    assert together.across.value == pytest.approx(across)
    assert "comparing those of different models too gives +0." in record.primary.alone
    assert all(each.across is None for each in alone)
    pairs = [each.score("gradient").flipped * each.score("gradient").held for each in alone]
    values = [each.score("gradient").auroc.value for each in alone]
    assert together.score("gradient").auroc.value == pytest.approx(
        np.average(values, weights=pairs)
    )


@pytest.mark.parametrize("flipped", [0, 4, 36, 40])
def test_a_handful_of_flips_has_no_interval_and_says_so(tmp_path: Path, flipped: int) -> None:
    inputs = [an_input(i, float(i + 1)) for i in range(COUNT)]
    record = judged(tmp_path, [inputs], [[i < flipped for i in range(COUNT)]])
    found = pooled(record).score("gradient")
    assert found.auroc.low is None and found.gain.high is None
    assert pooled(record).calibration is None
    assert (found.auroc.value is None) == (flipped in (0, COUNT))
    words = (
        "is not known against characters, where" if flipped in (0, COUNT) else "too few sentences"
    )
    assert words in record.primary.sentence
    assert "No flip rates are predicted" in "\n".join(told(record))


@pytest.mark.parametrize("without", [True, False])
def test_an_outcome_is_unknown_for_the_reason_that_it_gives(tmp_path: Path, without: bool) -> None:
    half = [i < COUNT // 2 for i in range(COUNT)]
    inputs = [an_input(i, None if flip == without else 1.0 + i) for i, flip in enumerate(half)]
    found = judged(tmp_path, [inputs], [half]).primary.sentence
    which = "flips" if without else "holds"
    assert f"characters, where g or confidence is no number for any input that {which};" in found


def test_pairs_of_two_models_are_no_pairs(tmp_path: Path) -> None:
    inputs = [an_input(i, 1.0 + i) for i in range(COUNT)]
    found = judged(tmp_path, [inputs] * 2, [[True] * COUNT, [False] * COUNT]).primary.sentence
    assert "characters, where of each model all inputs flip, or all hold;" in found


def test_one_sentence_that_flips_for_every_model_is_one(tmp_path: Path) -> None:
    inputs = [an_input(i, float(i + 1)) for i in range(COUNT)]
    record = judged(tmp_path, [inputs] * 5, [[i < 3 for i in range(COUNT)]] * 5)
    found = pooled(record).score("gradient")
    assert found.flipped == 15 and found.auroc.value == 0.0 and found.auroc.low is None


def test_nobody_right_and_nothing_known(tmp_path: Path) -> None:
    inputs = [an_input(i, right=False, margin=-1.0) for i in range(6)]
    record = judged(tmp_path, [inputs], [[False] * 6])
    ranking = pooled(record)
    assert (ranking.inputs, ranking.flipped) == (0, 0)
    assert all(score.auroc.value is None for score in ranking.scores)
    assert "not known against characters, where no answer is right;" in record.primary.sentence
    assert max(map(len, told(record))) <= WIDTH


def test_attacks_of_one_name_are_told_apart_by_their_options(tmp_path: Path) -> None:
    inputs = [an_input(i, float(i + 1)) for i in range(COUNT)]
    paths = [written(tmp_path, "condition", a_condition(inputs))]
    for radius in (0.1, 0.3):
        record = an_attack([True] * COUNT, [i < 20 for i in range(COUNT)], attack="pgd")
        record["options"] = {"radius": radius, "seed": 0}
        paths.append(written(tmp_path, f"pgd-{radius}", record))
    for edits in (1, 2):
        record = an_attack([True] * COUNT, [i < 20 for i in range(COUNT)], attack="words")
        record["options"] = {"edits": edits, "seed": 0}
        paths.append(written(tmp_path, f"words-{edits}", record))
    found = judge(read_files(paths), resamples=20)
    names = [each.attack for each in found.pooled("right")]
    assert names == ["words", "words (2)", "pgd 0.1", "pgd 0.3"]
    assert "against words (2)" in found.primary.sentence


@pytest.mark.slow
def test_the_command_writes_record_tables_and_page(tmp_path: Path, odestab: Command) -> None:
    paths = a_study(tmp_path, models=2, count=60)
    sizes = np.random.default_rng(0).uniform(1, 2, (12, 3))
    edits = written(tmp_path, "edits", some_edits(sizes, [1.0] * 12, [i < 6 for i in range(12)]))
    random = np.random.default_rng(1)
    shuffled = [paths[i] for i in random.permutation(len(paths))]
    out = tmp_path / "out"
    outcome = odestab("confirm", *shuffled, "--edits", edits, "--out", out, "--format", "parquet")
    assert outcome.code == 0 and outcome.err == []
    lines = outcome.out.splitlines()
    assert lines[0].startswith("Fixed beforehand: AUROC of gradient size g less that of confidence")
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= WIDTH
    record = read_typed(out / "flips.json", Flips)
    assert len(record.fates) == 1 and len(record.models) == 2
    assert [each.attack for each in record.pooled("right")] == ["characters", "words", "pgd"]
    assert {path.name for path in out.glob("*.parquet")} == {
        "scores.parquet",
        "flip_rates.parquet",
        "fates.parquet",
    }
    scores = pd.read_parquet(out / "scores.parquet")
    primary = scores[scores.primary]
    assert primary[["attack", "models", "population", "score"]].to_numpy().tolist() == [
        [attack, "0 1", "right", "gradient"] for attack in ("characters", "words")
    ]
    of_record = [each.score("gradient").gain for each in record.pooled("right")[:2]]
    assert primary.gain_low.tolist() == pytest.approx([gain.low for gain in of_record])
    assert len(scores) == sum(len(ranking.scores) for ranking in record.rankings)
    assert len(pd.read_parquet(out / "flip_rates.parquet")) == 3 * 3 * 10
    assert len(pd.read_parquet(out / "fates.parquet")) == 3 * 3
    page = (out / "flips.html").read_text(encoding="utf-8")
    assert record.primary.sentence.replace("'", "&#39;") in page
    for figure in ("flips_scores", "flips_rates", "flips_fates"):
        assert (out / f"{figure}.svg").exists()
    assert '"text' not in json.dumps(msgspec.to_builtins(record)), "no text is part of it"


def test_options_of_the_other_kind_are_refused(tmp_path: Path, odestab: Command) -> None:
    condition, attack, *_ = a_study(tmp_path, models=1, count=12)
    prediction = written(tmp_path, "prediction", {"schema": 1, "config": {}, "placements": []})
    strange = written(tmp_path, "strange", {"a": 1})
    for arguments, match in (
        ([condition, attack, "--attack", "words"], "--attack is not an option of conditions"),
        ([condition, attack, "--seed-sd", "0.1"], "--seed-sd is not an option of conditions"),
        ([prediction, tmp_path, "--format", "csv"], "--format is not an option of a prediction"),
        ([prediction, tmp_path, "--edits", attack], "--edits is not an option of a prediction"),
        ([prediction], "expected a prediction and the folder of one study, got 1 paths"),
        ([prediction, tmp_path, attack], "expected a prediction and the folder of one study"),
        ([strange, attack], "strange.json: expected prediction.json, condition.json, edits.json"),
        ([tmp_path / "nothing.json"], "nothing.json: No such file"),
    ):
        odestab.refuses(["confirm", *arguments], match)
