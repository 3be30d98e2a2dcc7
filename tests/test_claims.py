"""Every number with decimals and every percentage in the README's results and in the study pages
follows from a record, or is listed as quoted.
"""

import json
import re
from pathlib import Path

import pytest
from claims import Claim, Page, Quoted, read_claims

ROOT = Path(__file__).parent.parent
STUDIES = ROOT / "docs" / "studies"
FILES = sorted((ROOT / "docs").rglob("claims.toml"))
# a table is written by the program
PAGES = [page for page in sorted(STUDIES.rglob("*.md")) if page.name != "table.md"]
# of the README the results alone: what things cost is told from benchmarks
SCANNED = {
    ROOT / "README.md": ("Does it help?", "\n## "),
    **dict.fromkeys(PAGES, ("", "")),
}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def claims() -> list[Claim | Quoted]:
    return [claim for file in FILES for claim in read_claims(file)]


@pytest.mark.parametrize("file", FILES, ids=name)
def test_pages_say_what_the_records_say(file: Path) -> None:
    claims = read_claims(file)
    for page in {claim.page for claim in claims}:
        assert Page.read(page).failures([claim for claim in claims if claim.page == page]) == []


@pytest.mark.parametrize("page", SCANNED, ids=name)
def test_every_number_is_held_by_a_claim(page: Path, claims: list[Claim | Quoted]) -> None:
    about = [claim for claim in claims if claim.page == page]
    assert Page.read(page, *SCANNED[page]).unheld(about) == []


PAGE = """# A study

The model is 1.5 points
above (−2.0 to +5.25); each seed has 0.80 or 0.90, version 0.1.0 of `x = 7.5`
([table](table-3.5.md)). Others had 8.3.

```sh
study --radius 0.1
```
"""
RECORD = {
    "models": [
        {"name": "a", "mean": 0.015, "low": -0.02, "high": 0.0525, "values": [0.8, 0.9]},
        {"name": "b", "mean": 0.5},
    ]
}
CLAIMS = """
page = "page.md"
record = "record.json"

[[claim]]
text = "is {100 * mean:.1f} points above ({100 * low:.1f} to {100 * high:+.2f}); each"
at = "models[name=a]"

[[claim]]
text = "has {min(seeds):.2f} or {max(seeds):.2f}, version"
values = { seeds = "models[<which>].values" }
each = [{ which = "name=a" }]

[[quoted]]
text = "Others had 8.3."
reason = "their table 2"
"""


def check(folder: Path, page: str = PAGE, claims: str = CLAIMS, mean: float = 0.015) -> list[str]:
    """What the two tests above would find."""
    (folder / "page.md").write_text(page, encoding="utf-8")
    models = [{**RECORD["models"][0], "mean": mean}, *RECORD["models"][1:]]
    # a folder of its own for each record, which is read once
    (folder / "record.json").write_text(json.dumps({"models": models}), encoding="utf-8")
    (folder / "claims.toml").write_text(claims, encoding="utf-8")
    read = Page.read(folder / "page.md")
    found = read_claims(folder / "claims.toml")
    return read.failures(found) + read.unheld(found)


def test_a_page_that_says_what_its_record_says_passes(tmp_path: Path) -> None:
    assert check(tmp_path) == []


def test_a_changed_record_is_found(tmp_path: Path) -> None:
    failures = check(tmp_path, mean=0.017)
    assert failures[0].startswith("stands 0 times, expected once: 'is 1.7 points above (-2.0")
    assert any(failure.startswith("1.5 in …") for failure in failures[1:])


@pytest.mark.parametrize("page", ["−1.5 points", "+1.5 points", "2,001.5 points"])
def test_a_claim_that_begins_with_a_number_begins_with_the_whole_of_it(
    tmp_path: Path, page: str
) -> None:
    first = CLAIMS.replace("is {100 * mean:.1f}", "{100 * mean:.1f}")
    assert check(tmp_path, claims=first) == []
    assert check(tmp_path, PAGE.replace("1.5 points", page), first)[0].startswith("stands 0 times")


def test_a_claim_that_ends_with_a_number_ends_with_the_whole_of_it(tmp_path: Path) -> None:
    last = CLAIMS.replace(":+.2f}); each", ":+.2f}")
    assert check(tmp_path, claims=last) == []
    failures = check(tmp_path, PAGE.replace("+5.25", "+5.25e-3"), last)
    assert failures[0].startswith("stands 0 times")


@pytest.mark.parametrize("changed", ["1.6", "1.55", "11.5"])
def test_a_changed_page_is_found(tmp_path: Path, changed: str) -> None:
    failures = check(tmp_path, PAGE.replace("1.5 points", f"{changed} points"))
    assert failures[0].startswith("stands 0 times")
    assert any(failure.startswith(f"{changed} in …") for failure in failures[1:])


def test_a_new_number_is_found(tmp_path: Path) -> None:
    assert check(tmp_path, PAGE + "\nAnd 12.5 % of all.\n") == [
        "12.5 in …-3.5.md)). Others had 8.3. ```sh study --radius 0.1 ``` And 12.5 % of all.…"
    ]


def test_a_new_percentage_is_found(tmp_path: Path) -> None:
    failures = check(tmp_path, PAGE + "\nA 95 % interval; 12 % of 300.\n")
    assert [failure[:5] for failure in failures] == ["12 in"]


def test_a_number_in_the_words_of_a_claim_is_not_held(tmp_path: Path) -> None:
    literal = CLAIMS.replace("{max(seeds):.2f}", "0.90")
    assert [failure[:4] for failure in check(tmp_path, claims=literal)] == ["0.90"]


def test_a_part_of_a_number_does_not_pass_for_it(tmp_path: Path) -> None:
    short = CLAIMS.replace(", version", "").replace("{max(seeds):.2f}", "{max(seeds):.1f}")
    failures = check(tmp_path, claims=short)
    assert failures[0] == "stands 0 times, expected once: 'has 0.80 or 0.9'"


def test_words_that_stand_twice_say_nothing(tmp_path: Path) -> None:
    failures = check(tmp_path, PAGE + "\nOthers had 8.3.\n")
    assert failures[0] == "stands 2 times, expected once: 'Others had 8.3.'"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("models[name=a]", "models[name=c]"), "expected one entry with name=c, got 0"),
        (("100 * low", "100 * lowest"), "expected an object with 'lowest'"),
        (('record = "record.json"', ""), "expected a record for"),
        (("100 * mean", "1.5"), "'1.5': expected an entry of a record, got none"),
        (("100 * mean", "len(mean.real)"), "expected arithmetic, got an attribute"),
    ],
)
def test_a_claim_without_an_entry_is_found(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    assert message in check(tmp_path, claims=CLAIMS.replace(*change))[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('text = "is', 'texts = "is'), "claims.toml: Object contains unknown field `texts`"),
        (('reason = "their table 2"', ""), "claims.toml: Object missing required field `reason`"),
    ],
)
def test_a_wrong_key_is_refused(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(tmp_path, claims=CLAIMS.replace(*change))


def test_the_one_page_has_ten_sentences_one_figure_and_every_study() -> None:
    page = (STUDIES / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^(\d+)\. ", page, re.MULTILINE) == [str(place) for place in range(1, 11)]
    assert page.count("![") == 1
    studies = {file.parent.name for file in STUDIES.glob("*/*.toml")}
    assert studies == set(re.findall(r"^\| \[[\w, -]+\]\(([\w-]+)/\) \|", page, re.MULTILINE))
