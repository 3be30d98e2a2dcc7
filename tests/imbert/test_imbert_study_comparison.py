"""A study compares its models seed by seed, on the same items; published tables are those of their
records.
"""

from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from imbert.attack_records import Attack, read_attack
from imbert.records import PairScores, Rates, Result, Rows, Scored, Unpaired, read_result
from imbert.study.comparison import on_advglue, under_attacks
from imbert.study.plan import read_study
from imbert.study.study_record import read_study_record
from imbert.study.tables import comma_separated, markdown

pytestmark = pytest.mark.slow

STUDIES = Path(__file__).parents[2] / "docs" / "studies"

PLACED = STUDIES / "placement" / "runs" / "none"


def pair_scores(original: str, adversarial: str, clusters: list[int] | None) -> PairScores:
    """What is compared of AdvGLUE is the bits and the clusters."""
    rates = structs.asdict(Rates(len(original), 0, 0, 0, None, None, None))
    return PairScores(
        **rates,
        unpaired=Unpaired(0, 0, None),
        all=Scored(len(original), 0, {}),
        kinds={},
        right_original=original,
        right_adversarial=adversarial,
        right_unpaired="",
        clusters=clusters,
    )


def evaluated(
    original: str | None,
    adversarial: str = "",
    clusters: list[int] | None = None,
    digest: str | None = None,
) -> Result:
    """A published result with other answers on AdvGLUE, or none."""
    result = read_result(PLACED / "result.json")
    tasks = None if original is None else {"sst2": pair_scores(original, adversarial, clusters)}
    rows = {} if digest is None else {"advglue sst2": Rows(4, digest)}
    return structs.replace(
        result,
        evaluation=structs.replace(result.evaluation, advglue=tasks),
        meta=structs.replace(result.meta, data=rows),
    )


def test_pairs_are_compared_where_both_originals_are_right() -> None:
    found = on_advglue([(evaluated("1110", "1011"), evaluated("1101", "0001"))] * 2)
    assert found is not None
    assert found.both.hierarchical.mean == pytest.approx(0.5) and found.both.hierarchical.low <= 0.5
    one, other = (evaluated("1101", "0001", digest=name) for name in "ab")
    with pytest.raises(ValueError, match="the same AdvGLUE texts, got advglue sst2 digest a and b"):
        on_advglue([(one, other)])
    assert on_advglue([(one, one)]) is not None
    assert found.both.pairs == [2, 2] and found.all.pairs == [4, 4]
    assert found.both.pooled.difference == pytest.approx(0.5) and found.both.pooled.only_a == 2
    assert found.all.seeds.mean == pytest.approx(np.mean([1, 0, 1, 1]) - np.mean([0, 0, 0, 1]))
    assert on_advglue([(evaluated(None), evaluated("1", "1"))]) is None and on_advglue([]) is None


def test_models_of_other_advglue_tasks_are_not_compared() -> None:
    one = evaluated("1", "1")
    tasks = {"rte": one.evaluation.advglue["sst2"]}
    other = structs.replace(one, evaluation=structs.replace(one.evaluation, advglue=tasks))
    with pytest.raises(ValueError, match="the same AdvGLUE tasks, got rte of one alone"):
        on_advglue([(one, other)])


def test_attacks_are_compared_on_the_same_examples() -> None:
    record = read_attack(PLACED / "attacks" / "characters.json")
    assert isinstance(record, Attack)

    def attack(before: str, after: str, examples: str = "e") -> Attack:
        rows = [
            structs.replace(record.per_example[i], right_before=b == "1", right_after=a == "1")
            for i, (b, a) in enumerate(zip(before, after, strict=True))
        ]
        return structs.replace(
            record, per_example=rows, of=structs.replace(record.of, examples=examples)
        )

    first, second = {"pgd": attack("1110", "1100")}, {"pgd": attack("1101", "1001")}
    found = under_attacks([(first, second)] * 2)
    assert (
        set(found) == {"pgd"}
        and found["pgd"].both.pairs == [2, 2]
        and found["pgd"].all.pairs == [4, 4]
    )
    assert (
        found["pgd"].both.hierarchical.mean == pytest.approx(0.5)
        and found["pgd"].all.hierarchical.mean == 0
    )
    assert (
        under_attacks([(first, {"pgd": attack("1101", "1001", "others")})])
        == {}
        == under_attacks([])
    )


def test_pairs_of_one_original_are_one_cluster_and_two_seeds_have_students_interval() -> None:
    known = [0, 0, 0, 0, 0, 0, 6, 7]

    def run(adversarial: str, clusters: list[int] | None = None) -> Result:
        return evaluated("1" * 8, adversarial, clusters)

    pairs = [(run("11111110", known), run("00000011"))]
    found = on_advglue(pairs).all
    assert found.clusters == 3 and found.pooled.clusters == 3 and found.resampled == "clusters"
    alone = on_advglue([(run("11111110"), run("00000011"))]).all
    assert alone.clusters is None and alone.pooled.p_value == 0.125 < found.pooled.p_value == 1.0
    two = on_advglue([*pairs, (run("11100000", known), run("00000011"))]).all
    assert two.hierarchical.high == two.seeds.high > 1 and "two seeds" in two.resampled
    agreeing = on_advglue(pairs * 2).all
    assert agreeing.seeds.low == agreeing.seeds.high, "two seeds that agree by chance"
    assert (agreeing.hierarchical.low, agreeing.hierarchical.high) == (
        found.hierarchical.low,
        found.hierarchical.high,
    )
    assert on_advglue(pairs * 3).all.resampled == "seeds and clusters"


PUBLISHED = sorted(STUDIES.glob("*/study.json"))


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.parent.name)
def test_a_published_table_is_that_of_its_record(path: Path) -> None:
    record = read_study_record(path)
    assert markdown(record) == (path.parent / "table.md").read_text(encoding="utf-8")
    assert comma_separated(record) == (path.parent / "study.csv").read_text(encoding="utf-8")
    plan = read_study(path.parent / "study.toml")
    for group in record.groups:
        for model in group.models:
            assert model.measures["dev"].n == len(model.seeds) >= 1, (
                "no adversarial number without one on dev"
            )
            own = record.study.models[model.name]
            assert plan.models.get(model.name, own) == own
