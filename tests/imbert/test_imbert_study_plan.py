"""What a study plans: its models and their roles, the rungs of its attacks, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from tiny_runs import tiny_study

from imbert.attacks.choice import AttackChoice
from imbert.attacks.registry import order_of
from imbert.model.choice import ModelChoice
from imbert.study import summary as study_summary
from imbert.study.plan import read_study

pytestmark = pytest.mark.slow

STUDIES = Path(__file__).parents[2] / "docs" / "studies"


def test_the_rungs_of_a_ladder_are_ordered_by_radius() -> None:
    names = ["words", "pgd-3", "pgd-10", "pgd-0.3", "square", "pgd"]
    assert sorted(names, key=order_of) == [
        "pgd",
        "pgd-0.3",
        "pgd-3",
        "pgd-10",
        "square",
        "words",
    ]


@pytest.mark.parametrize(
    ("radius", "names"),
    [(None, ["pgd", "words"]), (0.3, ["pgd", "words"]), ((0.3, 2.0), ["pgd", "pgd-2", "words"])],
)
def test_every_radius_has_a_record_of_its_own(radius: Any, names: list[str]) -> None:
    choice = AttackChoice(kinds=("pgd", "words"), radius=radius)
    assert list(choice.records) == names and choice.records["words"] == ("words", None)
    assert next(one for _, one in choice.records.values()) == choice.radii[0]


@pytest.mark.parametrize("radius", [(), (0.1, 0.1), (0.1, -1.0), 0.0])
def test_a_ladder_has_rungs_above_each_other(radius: Any) -> None:
    with pytest.raises(ValueError, match=r"attacks\.radius"):
        AttackChoice(radius=radius)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({}, "explicit"),
        ({"kind": "ex-bert"}, "explicit"),
        ({"kind": "im-bert", "method": "explicit_euler"}, "explicit"),
        ({"kind": "im-bert", "solver": {"name": "GradientDescent"}}, "truncated"),
        ({"kind": "im-bert"}, "implicit"),
    ],
)
def test_the_role_of_a_model(model: dict[str, Any], expected: str) -> None:
    assert study_summary.role(ModelChoice(**model)) == expected


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"study": {"baseline": "bart"}}, "baseline must be one of bert, im-bert, got 'bart'"),
        (
            {"study": {"seeds": [0, 0]}},
            r"seeds: expected at least one and none twice, got \[0, 0\]",
        ),
        (
            {"study": {"seed": 0}},
            r"\[study\]: expected keys among name, baseline, seeds, tasks, sizes, got seed",
        ),
        (
            {"models": {"bert": {"knd": "bert"}}},
            r"\[models.bert\]: expected keys among checkpoint, .*, got knd",
        ),
        (
            {"models": {"bert": {"train": {"epoch": 1}}}},
            r"models.bert: \[train\]: expected keys among .*, got epoch",
        ),
        ({"models": {"a/b": {}}, "study": {"baseline": "a/b"}}, "expected names of letters"),
        (
            {"attacks": {"kinds": ["magic"]}},
            "attacks.kinds must be one of pgd, apgd, square, characters, words, got 'magic'",
        ),
    ],
)
def test_what_is_wrong_in_a_study_is_named(
    changes: dict[str, Any], said: str, tiny_folder: Path
) -> None:
    with pytest.raises(ValueError, match=said):
        tiny_study(tiny_folder, **changes)


def test_the_committed_studies_share_their_runs() -> None:
    first, second = (
        read_study(STUDIES / name / "study.toml") for name in ("sst2-1000", "sst2-1000-controls")
    )
    assert {"bert", "ex-bert", "im-bert", "im-bert-published"} == set(first.models) and len(
        first.seeds
    ) == 5
    runs = {cell.folder: cell.run for cell in first.cells()}
    shared = [cell for cell in second.cells() if cell.model in first.models]
    assert len(set(second.models) - set(first.models)) == 4 and all(
        runs[cell.folder] == cell.run for cell in shared
    )
