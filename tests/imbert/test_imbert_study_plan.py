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


OTHERS = ("bert-margins.toml", "claims.toml")  # a run, and what holds pages to records
PLANS = sorted(path for path in STUDIES.glob("*/*.toml") if path.name not in OTHERS)


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.relative_to(STUDIES).as_posix())
def test_every_committed_plan_is_a_study(path: Path) -> None:
    study = read_study(path)
    assert list(study.cells())
    usage = path.read_text(encoding="utf-8")
    # the command that runs it stands on top
    assert f"imbert study docs/studies/{path.relative_to(STUDIES).as_posix()} --data DIR" in usage


@pytest.mark.parametrize(
    ("later", "names"),
    [
        ("placement-seeds/study.toml", {"bert": "none", "im-bert": "layers-3-4-5"}),
        ("sst2-1000-controls/study.toml", {"bert": "bert", "im-bert": "im-bert"}),
        ("regularised/study.toml", {"bert": "bert"}),
    ],
)
def test_runs_that_a_page_says_can_be_copied_are_the_same_runs(
    later: str, names: dict[str, str]
) -> None:
    earlier = {
        (names[cell.model], cell.seed): cell.run.digest
        for plan in ("study.toml", "implicit.toml")
        for cell in read_study(STUDIES / "conditioning" / plan).cells()
        if cell.model in names
    }
    copied = {
        (cell.model, cell.seed): cell.run.digest for cell in read_study(STUDIES / later).cells()
    }
    assert len(earlier) == 5 * len(names) and earlier.items() <= copied.items()


def test_the_affordable_part_of_a_table_is_part_of_the_whole() -> None:
    part, whole = (
        {
            cell.folder: cell.run.digest
            for cell in read_study(STUDIES / "paper-table" / name).cells()
        }
        for name in ("study.toml", "full.toml")
    )
    assert len(part) == 30 and len(whole) == 180 and part.items() <= whole.items()


def test_the_strength_of_a_regularizer_is_chosen_without_dev() -> None:
    study = read_study(STUDIES / "regularised" / "strength.toml")
    runs = [cell.run for cell in study.cells()]
    assert study.attacks is None
    assert not any(run.evaluate.dev or run.evaluate.advglue for run in runs)
