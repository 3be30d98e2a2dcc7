"""The question of a plan is answered by the difference that it names, from the pairs that are
there; what is missing is said.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_attacks import Attacked, asked, made_up_attack, of_group
from msgspec import UNSET, structs

from analysis.ground.difference import Difference
from analysis.ground.json_records import digest_of
from analysis.ground.question import Question
from imbert import __main__ as command
from imbert.attack_records import Attack
from imbert.records import as_written, plain
from imbert.study.comparison import under_attacks
from imbert.study.plan import StudyConfig, read_study
from imbert.study.printed import told
from imbert.study.study_record import MissingSeed, Study, Verdict, read_study_record
from imbert.study.summary import summarise
from imbert.study.tables import markdown
from imbert.study.verdict import NOTHING, verdict

STUDIES = Path(__file__).parents[2] / "docs" / "studies"
B_OVER_A = {"attack": "characters", "model": "b", "over": "a"}
TWO_BY_TWO = {**B_OVER_A, "without": {"model": "d", "over": "c"}}


def judged(difference: dict[str, Any], attacked: Attacked, **plan: Any) -> Any:
    study = asked(difference, **plan)
    return verdict(study, *of_group(study, attacked))


def drawn(random: np.random.Generator, items: int) -> Attack:
    """Right before with a chance of 0.8, right after with one of 0.5 of these."""
    before = random.random(items) < 0.8
    after = before & (random.random(items) < 0.5)
    bits = ["".join("1" if bit else "0" for bit in bits) for bits in (before, after)]
    return made_up_attack(*bits, clusters=[i // 2 for i in range(items)])


def test_a_difference_is_that_of_examples_which_both_have_right_before() -> None:
    attacked = {
        "a": {0: made_up_attack("11101", "10001"), 1: made_up_attack("11111", "00001")},
        "b": {0: made_up_attack("11110", "11010"), 1: made_up_attack("11111", "01011")},
    }
    found = judged(B_OVER_A, attacked)
    # seed 0: of the first three, b keeps 2 and a 1; seed 1: of five, b keeps 3 and a 1
    assert found.value == pytest.approx((1 + 2) / (3 + 5)) and found.pairs == [3, 5]
    assert found.over_seeds.mean == pytest.approx((1 / 3 + 2 / 5) / 2)
    assert (found.seeds, found.missing, found.preliminary) == ([0, 1], [], False)
    assert (found.outcome, found.sentence) == ("between", "Not told apart.")
    higher = judged(B_OVER_A, attacked, threshold=1.1)
    assert (higher.outcome, higher.sentence) == ("below", "It harms.")


def test_it_is_the_interval_of_the_comparison_with_the_baseline() -> None:
    random = np.random.default_rng(0)
    attacked = {name: {seed: drawn(random, 30) for seed in range(4)} for name in "ab"}
    found = judged(B_OVER_A, attacked, seeds=4)
    pairs = [({"characters": attacked["b"][s]}, {"characters": attacked["a"][s]}) for s in range(4)]
    items = under_attacks(pairs)["characters"].both
    assert items.hierarchical is not None
    assert (found.low, found.high) == (items.hierarchical.low, items.hierarchical.high)
    assert found.value == pytest.approx(items.hierarchical.mean, abs=1e-15)
    assert (found.pairs, found.clusters, found.resampled) == (
        items.pairs,
        items.clusters,
        items.resampled,
    )


def test_an_interaction_is_that_of_drawing_seeds_and_texts_of_all_four() -> None:
    """Brute force: rows and columns of the differences of differences, drawn one by one."""
    random = np.random.default_rng(1)
    attacked = {name: {seed: drawn(random, 40) for seed in range(3)} for name in "abcd"}
    found = judged(TWO_BY_TWO, attacked, models="abcd", seeds=3)
    sums = np.zeros((3, 20))
    counts = np.zeros((3, 20))
    for seed in range(3):
        for i in range(40):
            rows = {name: attacked[name][seed].per_example[i] for name in "abcd"}
            if all(row.right_before for row in rows.values()):
                after = {name: int(row.right_after) for name, row in rows.items()}
                sums[seed, i // 2] += (after["b"] - after["a"]) - (after["d"] - after["c"])
                counts[seed, i // 2] += 1
    assert found.value == pytest.approx(sums.sum() / counts.sum(), abs=1e-15)
    assert found.pairs == counts.sum(axis=1).tolist()
    means = []
    for _ in range(20_000):
        seeds = random.integers(0, 3, 3)
        texts = random.integers(0, 20, 20)
        cells = np.ix_(seeds, texts)
        means.append(sums[cells].sum() / counts[cells].sum())
    # the quantiles at 2.5 % of 10,000 and of 20,000 draws differ by 4 √(0.025·0.975 (1/10⁴ +
    # 1/(2·10⁴)))/φ(1.96) = 0.13 standard deviations at most
    assert (found.low, found.high) == pytest.approx(
        tuple(np.quantile(means, [0.025, 0.975])), abs=0.13 * float(np.std(means)) + 1 / 80
    )


def test_factors_that_only_add_up_have_no_interaction() -> None:
    """b and d keep one example more than a and c: each difference is 1/4, the interaction 0."""
    fewer, more = made_up_attack("1111", "0001"), made_up_attack("1111", "0011")
    attacked = {"a": {0: fewer}, "b": {0: more}, "c": {0: fewer}, "d": {0: more}}
    found = judged(TWO_BY_TWO, attacked, models="abcd", seeds=1)
    assert (found.value, found.low, found.high, found.outcome) == (0.0, 0.0, 0.0, "between")
    assert judged(B_OVER_A, attacked, models="abcd", seeds=1).value == 0.25


def test_a_seed_that_one_arm_lacks_is_named_and_makes_the_verdict_preliminary() -> None:
    keeps, loses = made_up_attack("1111", "1111"), made_up_attack("1111", "0000")
    attacked = {"a": {0: loses, 2: loses, 3: loses}, "b": {0: keeps, 1: keeps, 2: keeps}}
    found = judged(B_OVER_A, attacked, seeds=4)
    assert (found.seeds, found.value, found.outcome) == ([0, 2], 1.0, "above")
    assert found.missing == [MissingSeed(1, "a has not run"), MissingSeed(3, "b has not run")]
    assert found.preliminary and found.sentence == (
        "Preliminary, the study is not complete (pairs of seeds 0, 2, of 4 planned): It helps."
    )


def test_a_sentence_that_the_seeds_do_not_bear_alone_says_so() -> None:
    """Two seeds of five gain everything: by resampling the mean gain lies below 0.85, by Student's
    interval 0.4 ± 2.78·0.55/√5 it need not.
    """
    keeps, loses = made_up_attack("1" * 9, "1" * 9), made_up_attack("1" * 9, "0" * 9)
    some = {seed: keeps if seed < 2 else loses for seed in range(5)}
    attacked = {"a": dict.fromkeys(range(5), loses), "b": some}
    caution = "(Student's interval over the 5 seeds alone does not show it.)"
    found = judged(B_OVER_A, attacked, seeds=5, threshold=0.85)
    assert (found.outcome, found.over_seeds.high > 0.85) == ("below", True)
    assert found.sentence == f"It harms. {caution}"
    assert judged(B_OVER_A, attacked, seeds=5).sentence == "Not told apart."
    clear = {"a": dict.fromkeys(range(5), loses), "b": dict.fromkeys(range(5), keeps)}
    assert judged(B_OVER_A, clear, seeds=5).sentence == "It helps."


def test_a_sentence_of_one_seed_says_so() -> None:
    attacked = {"a": {0: made_up_attack("1111", "0000")}, "b": {0: made_up_attack("1111", "1111")}}
    caution = "(Of one seed: what others would say is not known.)"
    assert judged(B_OVER_A, attacked, seeds=1).sentence == f"It helps. {caution}"
    assert judged(B_OVER_A, attacked).sentence.endswith(f"It helps. {caution}")
    # of the other seed no example is right before: it counts for nothing
    attacked["a"][1] = attacked["b"][1] = made_up_attack("0000", "0000")
    assert judged(B_OVER_A, attacked).sentence == f"It helps. {caution}"


def test_only_the_seeds_that_the_plan_attacks_are_asked_for() -> None:
    keeps, loses = made_up_attack("11", "11"), made_up_attack("11", "00")
    plan = {"seeds": 4, "attacks": {"seeds": [1]}}
    found = judged(B_OVER_A, {"a": {0: loses, 1: loses}, "b": {0: keeps, 1: keeps}}, **plan)
    assert (found.seeds, found.missing, found.preliminary) == ([1], [], False)


def test_what_cannot_be_compared_is_missing_with_its_reason() -> None:
    keeps, loses = made_up_attack("11", "11"), made_up_attack("11", "00")
    others = made_up_attack("11", "00", examples="others")
    found = judged(B_OVER_A, {"a": {0: loses, 1: others}, "b": {0: keeps, 1: keeps}})
    assert found.seeds == [0] and found.missing == [
        MissingSeed(1, "the attack on a is of other examples or choices")
    ]
    study = asked(B_OVER_A)
    by_model, records = of_group(study, {"a": {0: loses}, "b": {0: keeps}})
    records[by_model["b"][0]] = {}
    found = verdict(study, by_model, records)
    assert isinstance(found, Verdict)
    assert found.missing[0] == MissingSeed(0, "b has no attack characters")
    assert (found.outcome, found.value, found.resampled) == ("unknown", None, "nothing")
    assert found.sentence.startswith("Preliminary") and found.sentence.endswith(NOTHING)


def test_seeds_of_other_choices_than_the_first_are_not_pooled() -> None:
    keeps, longer = made_up_attack("11", "11"), made_up_attack("111", "111", examples="more")
    found = judged(B_OVER_A, {name: {0: keeps, 1: longer} for name in "ab"})
    assert found.seeds == [0] and [each.seed for each in found.missing] == [1]


def test_where_no_example_is_right_before_nothing_is_selected() -> None:
    attacked = {"a": {0: made_up_attack("10", "00")}, "b": {0: made_up_attack("01", "00")}}
    found = judged(B_OVER_A, attacked, seeds=1)
    assert (found.outcome, found.sentence, found.pairs) == ("unknown", NOTHING, [0])


def test_there_is_no_verdict_without_a_difference_or_a_model_that_ran() -> None:
    alone = {"b": {0: made_up_attack("11", "11")}}
    assert judged(B_OVER_A, alone) is UNSET
    study = asked(None)
    assert verdict(study, *of_group(study, {**alone, "a": alone["b"]})) is UNSET


def test_edits_needed_are_compared_in_edits() -> None:
    attacked = {
        "a": {0: made_up_attack("111", "001", "123")},
        "b": {0: made_up_attack("111", "101", "323")},
    }
    found = judged({**B_OVER_A, "measure": "edits needed"}, attacked, seeds=1)
    assert found.value == pytest.approx(((4 + 2 + 4) - (1 + 2 + 4)) / 3)


def test_edits_need_records_that_say_the_budget() -> None:
    whole = made_up_attack("11", "10", "12")
    graded = {**B_OVER_A, "measure": "edits needed"}
    old = made_up_attack("11", "10", "12", options={"max_fraction": 0.5})
    found = judged(graded, {"a": {0: whole, 1: old}, "b": {0: whole, 1: old}})
    reason = "the record of b does not say how many edits the attack may make"
    assert found.seeds == [0] and found.missing == [MissingSeed(1, reason)]
    more = made_up_attack("11", "10", "12", options={"max_edits": 4, "order": "greedy"})
    found = judged(graded, {"a": {0: more}, "b": {0: whole}}, seeds=1)
    assert found.missing == [MissingSeed(0, "the attack on a has other options")]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "x"}, "question.difference.model must be one of a, b, got 'x'"),
        ({"over": "b"}, "question.difference must be of 2 different models, got 'b' twice"),
        ({"attack": "square"}, "question.difference.attack must be one of characters, words, pgd"),
        ({"measure": "drops"}, "question.difference.measure must be one of robust accuracy, edits"),
        (
            {"measure": "edits needed", "attack": "pgd"},
            "question.difference.measure 'edits needed' must be of an attack on texts, got 'pgd'",
        ),
        (
            {"without": {"model": "x", "over": "y"}},
            "question.difference.without.model must be one of a, b, got 'x'",
        ),
        (
            {"without": {"model": "a", "over": "x"}},
            "question.difference must be of 4 different models, got 'a' twice",
        ),
        (
            {"without": {"model": "x"}},
            r"\[question.difference.without\] must have model, over, got no over",
        ),
        ({"moon": 1}, r"\[question.difference\]: expected keys among attack, model, .*, got moon"),
    ],
)
def test_a_difference_that_the_study_cannot_measure_is_refused(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        asked({**B_OVER_A, **changes})
    assert len(str(refused.value).splitlines()) == 1


def test_a_difference_without_attacks_is_refused() -> None:
    study = asked(B_OVER_A)
    with pytest.raises(ValueError, match=r"\[question.difference\] needs a table \[attacks\]"):
        structs.replace(study, attacks=None)


@pytest.mark.parametrize(
    ("plan", "digest"),
    [
        (
            "conditioning/implicit",
            "b0a9ff9d0fdcf47979eade51f66a3cd8c1d59b98c65fbcd7c6562f9e534abfd6",
        ),
        ("conditioning/study", "84bbf75a87ef02631ef1fdada74c173924a919b9de537af670b9a12b10226c99"),
        ("placement/study", "0a35bc869509f7d3e84a5a25bde5da466b990a733bcf8c14bc25771a00c59d4a"),
    ],
)
def test_a_plan_without_a_difference_keeps_its_digest(plan: str, digest: str) -> None:
    study = read_study(STUDIES / f"{plan}.toml")
    assert digest_of(study.as_dict()) == digest_of(plain(study)) == digest


def test_the_plan_of_eight_steps_names_the_difference_of_its_primary_outcome() -> None:
    study = read_study(STUDIES / "substeps" / "study.toml")
    assert study.difference == Difference("characters", "implicit-8", "explicit-8")
    assert isinstance(study.question, Question) and study.question.primary == (
        "characters: robust accuracy of implicit-8 minus that of explicit-8, "
        "where both are right before, paired over seeds"
    )


RECORDS = ("result.json", "attacks/characters.json", "attacks/words.json")
TAKEN = {  # models of other studies
    "regularised": {"bert": "conditioning/runs"},
    "placement-seeds": {"none": "conditioning/runs", "layers-3-4-5": "conditioning/implicit"},
}


def publish(name: str, study: StudyConfig, out: Path) -> None:
    """Lay the records of a published study out as its command left them."""
    for cell in study.cells():
        places = [STUDIES / name / "runs" / f"{cell.model}-{cell.seed}"]
        if other := TAKEN.get(name, {}).get(cell.model):
            places.append(STUDIES / other / f"seed-{cell.seed}")
        for record in RECORDS if study.is_attacked(cell) else RECORDS[:1]:
            found = [place / record for place in places if (place / record).exists()]
            if found:
                file = out / cell.folder / record
                file.parent.mkdir(parents=True, exist_ok=True)
                file.symlink_to(found[0])


@pytest.mark.parametrize("name", ["substeps", "regularised", "placement-seeds"])
def test_the_published_verdict_follows_from_its_runs(name: str, tmp_path: Path) -> None:
    folder = STUDIES / name
    study = read_study(folder / "study.toml")
    publish(name, study, tmp_path)
    again = summarise(study, tmp_path)
    published = read_study_record(folder / "study.json")
    assert published.plan == hashlib.sha256((folder / "study.toml").read_bytes()).hexdigest()
    verdicts = [plain(one.groups[0].verdict) for one in (again, published)]
    assert verdicts[0] == verdicts[1] and isinstance(again.groups[0].verdict, Verdict)
    computed, written = (
        [plain(model) for model in one.groups[0].models] for one in (again, published)
    )
    for model in (*computed, *written):
        del model["transfer"]  # it takes the changed texts, which are not published
    assert computed == written


def test_every_entry_of_a_verdict_is_explained() -> None:
    pages = (STUDIES.parent / "records.md").read_text(encoding="utf-8")
    for kind in (Verdict, MissingSeed, Difference):
        assert [name for name in kind.__struct_fields__ if f"`{name}`" not in pages] == []


@pytest.mark.slow
def test_the_command_prints_the_question(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = STUDIES / "substeps" / "study.toml"
    out = tmp_path / "out"
    assert command.main(["study", str(plan), "--out", str(out), "--stages", "summarise"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Question\n") and "\nsst2-1000: nothing to compare yet" in shown
    recorded = read_study_record(out / "study.json")
    assert recorded.groups[0].verdict is UNSET and recorded.study.difference is not None


def answered(found: Verdict) -> Study:
    """A published study with the question and the answer that it might have had."""
    record = read_study_record(STUDIES / "placement" / "study.json")
    group = structs.replace(record.groups[0], verdict=as_written(found))
    return structs.replace(record, study=asked(B_OVER_A), groups=[group])


def test_the_table_begins_with_the_question_and_its_answer() -> None:
    keeps, loses = made_up_attack("1111", "1111"), made_up_attack("1111", "0000")
    attacked = {"a": {0: loses, 1: loses}, "b": {0: keeps}}
    summary = answered(judged(B_OVER_A, attacked))
    lines = markdown(summary).splitlines()
    start = lines.index("## Question")
    assert lines[start + 2] == "Does b help?"
    assert lines[start + 4] == "Primary outcome, of the plan: b minus a under characters"
    assert lines[start + 6 : start + 9] == [
        "- sst2-1000, characters, robust accuracy, b − a: +100.00 [+100.00, +100.00] points (95 %, "
        "resampling clusters; threshold 0); over seeds 100.00; 4 examples of 4 texts over 1 seed "
        "(0), where all are right before",
        "- sst2-1000, seed 1 is missing: b has not run",
        "- sst2-1000, **above**: Preliminary, the study is not complete (pairs of seeds 0, of 2 "
        "planned): It helps. (Of one seed: what others would say is not known.)",
    ]
    printed = told(summary)
    assert max(map(len, printed)) <= 80 and printed[:2] == ["Question", "Does b help?"]
    assert "sst2-1000, above: Preliminary, the study is not complete" in " ".join(printed)


def test_an_interaction_stands_in_the_table_with_its_signs() -> None:
    keeps, loses = made_up_attack("11", "11"), made_up_attack("11", "00")
    attacked = {"a": {0: loses}, "b": {0: keeps}, "c": {0: loses}, "d": {0: loses}}
    study = asked(TWO_BY_TWO, models="abcd", seeds=1)
    record = read_study_record(STUDIES / "placement" / "study.json")
    found = verdict(study, *of_group(study, attacked))
    assert isinstance(found, Verdict)
    group = structs.replace(record.groups[0], verdict=found)
    table = markdown(structs.replace(record, study=study, groups=[group]))
    assert "characters, robust accuracy, b − a − d + c: +100.00 [" in table
    before_any = structs.replace(record, study=study)
    assert "- sst2-1000: nothing to compare yet" in markdown(before_any)
