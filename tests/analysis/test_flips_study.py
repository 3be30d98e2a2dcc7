"""The published verdict on flips follows from the records beside it, number by number."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from analysis.flips import judge, read_files
from analysis.flips.estimates import Estimate
from analysis.flips.records import Flips
from analysis.ground.typed_records import read_typed

STUDY = Path(__file__).parents[2] / "docs" / "studies" / "conditioning"
RUNS = STUDY / "runs"


def leaves(values: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(values, dict | list):
        entries = values.items() if isinstance(values, dict) else enumerate(values)
        for name, value in entries:
            yield from leaves(value, f"{place}.{name}")
    else:
        yield place, values


def results(record: Flips) -> dict[str, Any]:
    values = msgspec.to_builtins(record)
    del values["versions"]
    return dict(leaves(values))


@pytest.mark.slow
def test_the_published_verdict_is_computed_again() -> None:
    files = [
        path
        for pattern in ("*/condition.json", "*/result.json", "*/attacks/*.json")
        for path in sorted(RUNS.glob(pattern))
    ]
    assert len(files) == 5 * (1 + 1 + 3)
    found = results(judge(read_files(files, sorted(RUNS.glob("*/edits.json")))))
    published = results(read_typed(STUDY / "flips.json", Flips))
    assert found.keys() == published.keys()
    for place, value in published.items():
        close = pytest.approx(value, rel=1e-9, abs=1e-12) if isinstance(value, float) else value
        assert found[place] == close, place


def test_the_study_page_says_what_the_record_says() -> None:
    record = read_typed(STUDY / "flips.json", Flips)
    page = " ".join((STUDY / "README.md").read_text(encoding="utf-8").split())
    for part in ("+0.091 [+0.079, +0.105]", "+0.071 [+0.058, +0.084]", "+0.069 to +0.123"):
        assert part in f"{record.primary.sentence} {record.primary.alone}"
        assert part in page
    ranked = {
        (ranking.attack, ranking.population): ranking
        for ranking in record.rankings
        if len(ranking.models) == 5
    }

    def auroc(attack: str, population: str, score: str) -> Estimate:
        scores = {each.name: each for each in ranked[attack, population].scores}
        return scores[score].auroc

    def shown(estimate: Estimate) -> str:
        return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"

    def both(population: str, score: str) -> str:
        return " and ".join(
            f"{auroc(attack, population, score).value:.2f}" for attack in ("characters", "words")
        )

    right = ranked["characters", "right"]
    shares = [
        100 * ranked[attack, "right"].flipped / ranked[attack, "right"].inputs
        for attack in ("characters", "words", "pgd")
    ]
    words_by_characters = auroc("words", "right", "characters spread").value
    pgd = [auroc("pgd", "right", score).value for score in ("gradient", "confidence", "length")]
    length = [auroc(attack, "right", "length").value for attack in ("words", "characters")]
    for said in (
        f"{right.inputs:,} right answers at {right.scores[0].sentences} sentences",
        "flips {:.0f} %, the word attack {:.0f} %, PGD (radius 0.1) {:.0f} %".format(*shares),
        f"{shown(auroc('characters', 'right', 'characters spread'))} for characters",
        f"{shown(auroc('words', 'right', 'words spread'))} for words",
        f"than g does ({shown(auroc('characters', 'right', 'words spread'))})",
        f"({words_by_characters:.2f} and {auroc('words', 'right', 'confidence').value:.2f})",
        f"near chance ({both('unflipped', 'confidence')})",
        f"g has {both('unflipped', 'gradient')}",
        f"best ({pgd[0]:.2f} against {pgd[1]:.2f})",
        f"alone ({length[0]:.2f}; {length[1]:.2f} and {pgd[2]:.2f} for the others)",
    ):
        assert said in page
    for name, place in (("together", "together"), ("confidence", "confidence alone")):
        briers = [
            fit.brier
            for attack in ("characters", "words")
            for fit in ranked[attack, "right"].calibration.fits
            if fit.name == name
        ]
        assert f"{briers[0]:.3f} and {briers[1]:.3f} from" in page and place in page


def test_the_front_page_says_what_the_record_says() -> None:
    record = read_typed(STUDY / "flips.json", Flips)
    page = " ".join((STUDY.parents[2] / "README.md").read_text(encoding="utf-8").split())
    for attack in ("characters", "words"):
        ranking = next(each for each in record.rankings if each.primary and each.attack == attack)
        scores = {score.name: score for score in ranking.scores}
        gradient = scores["gradient"]
        ranks = f"{gradient.auroc.value:.2f} against {scores['confidence'].auroc.value:.2f}"
        assert f"{ranks} ({attack}" in page
        assert f"{gradient.gain.low:.3f} to {gradient.gain.high:.3f})" in page
