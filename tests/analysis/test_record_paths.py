"""Paths name entries of records by what they hold."""

from typing import Any

import pytest

from analysis.ground.record_paths import entry

RECORD: dict[str, Any] = {
    "models": [
        {"name": "im-bert", "layers": [3, 4, 5], "dev": 0.8, "primary": True, "size": 1e-4},
        {"name": "none, as it is", "layers": [], "dev": 0.9, "primary": False, "size": None},
    ],
    "powers": {"0.02": 0.35},
    "by_layer": [{"value": 1.5}, {"value": 2.5}],
    "rows": [{"": "seed-0", "dev": 0.7}],
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("models[name=im-bert].dev", 0.8),
        ('models[name="none, as it is"].dev', 0.9),
        ("models[layers=3 4 5].dev", 0.8),
        ("models[layers=].dev", 0.9),
        ("models[layers!=].dev", 0.8),
        ("models[primary=true,size=0.0001].dev", 0.8),
        ("models[size=null].dev", 0.9),
        ("models[*].dev", [0.8, 0.9]),
        ("models[*,primary=false].dev", [0.9]),
        ("models[*].layers[*]", [3, 4, 5]),
        ('powers."0.02"', 0.35),
        ("by_layer[1].value", 2.5),
        ('rows[""=seed-0].dev', 0.7),
        ("powers", {"0.02": 0.35}),
    ],
)
def test_a_path_reaches_its_entry(path: str, expected: object) -> None:
    assert entry(RECORD, path) == expected


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("models[name=bert].dev", "expected one entry with name=bert, got 0"),
        ("models[size!=1].dev", "expected one entry with size!=1, got 2"),
        ("models[*,name=bert].dev", "no entry is like that"),
        ("models[names=bert].dev", "expected an object with 'names', got name, layers"),
        ("models[*size!=1].dev", r"expected an object with '\*size', got name, layers"),
        ("models.dev", "expected an object with 'dev', got list"),
        ("powers[*]", r"expected a list before \[\*\], got dict"),
        ("by_layer[2].value", "expected more than 2 entries, got 2"),
        ("models[name].dev", "expected field=value, got 'name'"),
        ("models[name=im-bert", r"expected a key or \[field=value\], got '\[name=im-bert'"),
    ],
)
def test_a_path_that_leads_nowhere_says_where_it_ends(path: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        entry(RECORD, path)
