"""What a study says in a terminal: 80 columns, whatever it compares."""

from pathlib import Path

import pytest
from msgspec import structs

from imbert.study.printed import told
from imbert.study.study_record import Study, read_study_record
from imbert.study.tables import spread, with_interval

STUDIES = Path(__file__).parents[2] / "docs" / "studies"


@pytest.fixture(scope="module")
def study() -> Study:
    return read_study_record(STUDIES / "sst2-1000" / "study.json")


@pytest.mark.parametrize("name", ["sst2-1000", "placement", "sst2-1000-controls"])
def test_every_line_fits(name: str) -> None:
    record = read_study_record(STUDIES / name / "study.json")
    lines = told(record)
    assert lines and max(map(len, lines)) <= 80
    named = " ".join(lines)
    assert all(model.name in named for group in record.groups for model in group.models)


def test_the_numbers_are_those_of_the_record(study: Study) -> None:
    lines = told(study)
    (group,) = study.groups
    first = group.models[0]
    dev = next(line for line in lines if line.startswith("dev "))
    assert spread(first.measures["dev"]) in dev
    under = [line for line in lines if ": under it" in line]
    robust = [spread(attack.robust_accuracy) for attack in first.attacks.values()]
    assert [any(value in line for line in under) for value in robust] == [True] * len(robust)
    compared = next(model for model in group.models if model.attacks_against_baseline)
    assert compared.attacks_against_baseline is not None
    for comparison in compared.attacks_against_baseline.values():
        assert any(with_interval(comparison.both.hierarchical) in line for line in lines)


def test_fewer_attacked_seeds_than_trained_ones_are_counted(study: Study) -> None:
    (group,) = study.groups
    model = next(
        each
        for each in group.models
        if any(attack.robust_accuracy.n < len(each.seeds) for attack in each.attacks.values())
    )
    attack, of_fewer = next(
        (name, each.robust_accuracy.n)
        for name, each in model.attacks.items()
        if each.robust_accuracy.n < len(model.seeds)
    )
    one = structs.replace(group, models=[model])
    lines = told(structs.replace(study, groups=[one]))
    (row,) = (line for line in lines if line.startswith(f"{attack}: seeds, where fewer"))
    assert row.split()[-1] == str(of_fewer)


def test_many_models_with_long_names_stand_below_each_other(study: Study) -> None:
    (group,) = study.groups
    models = [
        structs.replace(model, name=f"{place} {30 * 'name'}")
        for place, model in enumerate(5 * group.models)
    ]
    lines = told(structs.replace(study, groups=[structs.replace(group, models=models)]))
    assert max(map(len, lines)) <= 80
    heads = [line for line in lines if "namename" in line and "…" not in line]
    shown = " ".join(heads)
    assert all(f" {place} name" in shown for place in range(len(models)))


def test_what_nobody_measured_has_no_row_and_one_seed_no_interval(study: Study) -> None:
    (group,) = study.groups
    bare = [
        structs.replace(
            model,
            seeds=[0],
            measures=dict.fromkeys(model.measures),
            attacks={},
            attacks_against_baseline=None,
        )
        for model in group.models
    ]
    lines = told(structs.replace(study, groups=[structs.replace(group, models=bare)], scores=[]))
    assert lines[0] == f"{group.name}: {group.metric} in %"
    assert not any(line.startswith(("dev", "AdvGLUE", "Robust")) for line in lines)


def test_what_is_missing_is_said(study: Study) -> None:
    lines = told(structs.replace(study, missing=["runs/a: not run yet"], warnings=["look out"]))
    assert lines[-2:] == ["missing: runs/a: not run yet", "warning: look out"]
