"""Three hundred damaged records: each is refused in one line that names it, or read as what it
was.
"""

import copy
import functools
import json
import random
import shutil
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.confirmation import confirm, verdict
from analysis.ground import rank_correlation, resampling
from analysis.ground.json_records import DIGEST, sealed
from analysis.ground.synonyms import load_synonyms
from analysis.record import read_config
from figures import story, style, template
from imbert.data.advglue import read_advglue
from imbert.records import read_result
from imbert.study.plan import StudyConfig, read_study, study_config
from imbert.study.summary import summarise
from imbert.training.run_config import read_run

STUDIES = Path(__file__).parents[1] / "docs" / "studies"
EXAMPLES = Path(__file__).parents[1] / "examples" / "finetune"
MODELS = ("none", "layers-0")
CONFIG = {
    "model": "m",
    "field": "outer",
    "step_sizes": [0.5, 1.0],
    "map_step_sizes": [1.0],
    "texts": ["a"],
    "tokens": [3],
    "pairs": [["typo", "a b", "a c"]],
    "skipped_pairs": [[0, "why"]],
    "warnings": [],
    "cells": ["layer-l00"],
    "encoder_depth": 3,
}
STRANGE = (
    None,
    True,
    -1,
    0,
    3,
    1.5,
    "",
    "text",
    "1",
    [],
    {},
    [[]],
    {"": {}},
    10**30,
    "\x00",
    [None],
    -0.0,
    "NaN",
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every entry below."""
    entries = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, below in entries:
        yield (*path, key)
        yield from places(below, (*path, key))


def parent(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        value = value[key]
    return value


def nested(depth: int) -> Any:
    found: Any = 1
    for _ in range(depth):
        found = [found]
    return found


def damaged(record: Any, draw: random.Random) -> bytes:
    """A record as a slip, a crash or malice leaves it."""
    value = copy.deepcopy(record)
    known = list(places(value))
    short = [path for path in known if len(path) <= 4] or known
    place = draw.choice(draw.choice((known, short)))
    holder, key = parent(value, place), place[-1]
    kind = draw.randrange(11)
    text = json.dumps(value)
    if kind == 0:
        del holder[key]
    elif kind == 1:
        holder[key] = copy.deepcopy(draw.choice(STRANGE))
    elif kind == 2:
        other = draw.choice(known)
        holder[key] = copy.deepcopy(parent(record, other)[other[-1]])
    elif kind == 3:
        holder[key] = nested(draw.choice((40, 5_000)))
    elif kind == 4:
        holder[key] = draw.choice((float("nan"), float("inf"), float("-inf")))
    elif kind == 5:
        holder[key] = "half a \ud83d"
    elif kind == 6:
        return text[: draw.randrange(len(text))].encode()
    elif kind == 7:
        at = draw.randrange(len(text))
        return text[:at].encode() + bytes([draw.randrange(256)]) + text[at + 1 :].encode()
    elif kind == 8:
        return ('{"schema": 1, ' + text[1:]).encode()
    elif kind == 9:
        return b'{"a":' * 3_000 + b"1" + b"}" * 3_000
    else:
        holder[key] = {"_": 1e308} if draw.random() < 0.5 else 2**80
    return _dumped(value).encode()


def _dumped(value: Any) -> str:
    """As json.dumps, which ends at a thousand levels."""
    try:
        return json.dumps(value)
    except RecursionError:
        marker = "5e4c1f"
        return json.dumps(_without_depth(value, marker)).replace(
            f'"{marker}"', "[" * 5_000 + "1" + "]" * 5_000
        )


def _without_depth(value: Any, marker: str, depth: int = 0) -> Any:
    if depth > 30:
        return marker
    if isinstance(value, dict):
        return {key: _without_depth(below, marker, depth + 1) for key, below in value.items()}
    return (
        [_without_depth(below, marker, depth + 1) for below in value]
        if isinstance(value, list)
        else value
    )


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Few resamples, and pictures that are drawn but not written."""
    monkeypatch.setattr(rank_correlation, "RESAMPLES", 20)
    monkeypatch.setattr(resampling, "RESAMPLES", 20)
    blank = tmp_path_factory.mktemp("blank") / "blank.svg"
    blank.write_text('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"/>')
    monkeypatch.setattr(style, "save", lambda *figure, **kinds: {"svg": blank})


def tables() -> dict[str, Any]:
    """The published plan of placements, of two models."""
    found = tomllib.loads((STUDIES / "placement" / "study.toml").read_text(encoding="utf-8"))
    return found | {"models": {name: found["models"][name] for name in MODELS}}


def study_folder(out: Path) -> StudyConfig:
    """Two published runs where a study has them."""
    plan = study_config(tables())
    for name in MODELS:
        shutil.copytree(
            STUDIES / "placement" / "runs" / name, out / "runs" / "sst2-1000" / name / "seed-0"
        )
    return plan


def written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def ends_well(call: Callable[[], Any]) -> Any:
    """What is read, or None where one line says what is wrong."""
    try:
        return call()
    except (ValueError, OSError) as error:
        line = (
            " ".join(str(part) for part in error.args) if isinstance(error, OSError) else str(error)
        )
        assert line and "\n" not in line and len(line) < 2_000, line[:300]
        return None


def pruned(record: Any, longest: int = 3) -> Any:
    """The same with short lists."""
    if isinstance(record, dict):
        return {key: pruned(value, longest) for key, value in record.items()}
    return (
        [pruned(value, longest) for value in record[:longest]]
        if isinstance(record, list)
        else record
    )


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["result.json", "attacks/characters.json"])
def test_records_of_a_run(name: str, tmp_path: Path, quick: None) -> None:
    plan, draw = study_folder(tmp_path), random.Random(1)
    path = tmp_path / "runs/sst2-1000/layers-0/seed-0" / name
    record = sealed(load(path))
    path.write_text(json.dumps(record))
    before, refused = summarise(plan, tmp_path), 0
    for number in range(40):
        with_digest = number % 2 == 0
        plain = (
            record
            if with_digest
            else {key: value for key, value in record.items() if key != DIGEST}
        )
        content = damaged(plain, draw)
        path.write_bytes(content)
        found = ends_well(lambda: summarise(plan, tmp_path))
        refused += found is None
        if with_digest and found is not None:
            assert found == before or DIGEST not in json.loads(content), (
                "a sealed record is refused, or is what it was"
            )
    assert refused > 20


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["prediction.json", "runs/layers-0/result.json", "runs/layers-0/attacks/characters.json"],
)
def test_what_a_confirmation_reads(
    name: str, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, draw = (
        Path(shutil.copytree(STUDIES / "placement", tmp_path / "placement")),
        random.Random(2),
    )
    for run in sorted((folder / "runs").glob("layers-*-*"))[1:]:
        shutil.rmtree(run)  # fewer placements, for speed
    monkeypatch.setattr(
        verdict.hashlib,
        "sha256",
        lambda content: type("Known", (), {"hexdigest": lambda self: digest})(),
    )
    digest = load(folder / "runs/none/result.json")["run"]["evaluate"]["prediction"]
    record, refused = load(folder / name), 0
    for _ in range(20):
        (folder / name).write_bytes(damaged(record, draw))
        refused += (
            ends_well(lambda: confirm(folder / "prediction.json", folder / "runs", "characters"))
            is None
        )
    assert refused > 5


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("prediction", STUDIES / "placement" / "prediction.json"),
        ("confirmation", STUDIES / "placement" / "confirmation.json"),
        ("study", STUDIES / "sst2-1000" / "study.json"),
        ("calibration", STUDIES / "calibration" / "im-bert.json"),
    ],
)
def test_what_a_report_tells_of(name: str, path: Path, tmp_path: Path, quick: None) -> None:
    record, draw, refused = pruned(load(path)), random.Random(3), 0
    file = written(tmp_path / "whole.json", json.dumps(record).encode())

    def page() -> str:
        told = story.tell(story.read_story(**{name: file}), tmp_path)
        return template.render("story.html.j2", told=told)

    assert "<figure>" in page()
    for _ in range(25):
        written(file, damaged(record, draw))
        refused += ends_well(page) is None
    assert refused > 5


READERS: list[tuple[str, Any, Callable[[Path], Any]]] = [
    ("config.json", CONFIG, lambda path: read_config(path.parent)),
    ("result.json", load(STUDIES / "placement" / "runs" / "none" / "result.json"), read_result),
    (
        "advglue.json",
        {"sst2": [{"sentence": "a", "original_sentence": "b", "label": 1, "idx": 0}]},
        lambda p: read_advglue(p, "sst2"),
    ),
    ("words.json", {"good": ["fine", "great"], "bad": {"noun": ["poor"]}}, load_synonyms),
]


@pytest.mark.parametrize(("name", "record", "read"), READERS, ids=[name for name, _, _ in READERS])
def test_other_json(name: str, record: Any, read: Callable[[Path], Any], tmp_path: Path) -> None:
    draw, refused = random.Random(4), 0
    assert (
        ends_well(lambda: read(written(tmp_path / name, json.dumps(record).encode()))) is not None
    )
    for _ in range(20):
        refused += ends_well(lambda: read(written(tmp_path / name, damaged(record, draw)))) is None
    assert refused > 5


@pytest.mark.parametrize(("name", "read"), [("run.toml", read_run), ("study.toml", read_study)])
def test_toml(name: str, read: Callable[[Path], Any], tmp_path: Path) -> None:
    text, draw, refused = (EXAMPLES / name).read_text(encoding="utf-8"), random.Random(5), 0
    values = (
        "nan",
        "inf",
        "true",
        "-5",
        "1.5",
        '""',
        '"x"',
        "[]",
        "{}",
        "1979-05-27",
        "[" * 40 + "]" * 40,
        "[" * 9_000,
        '"\\ud83d"',
        "1_0",
    )
    for _ in range(40):
        lines = text.split("\n")
        at = draw.choice(
            [i for i, line in enumerate(lines) if line.strip() and not line.startswith("#")]
        )
        key, equals, _ = lines[at].partition("=")
        kind = draw.randrange(5)
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(at, lines[at])
        elif kind == 2:
            lines = [*lines[:at], lines[at][: draw.randrange(len(lines[at]) + 1)]]
        else:
            lines[at] = (
                f"{key}= {draw.choice(values)}"
                if equals
                else f"{lines[at]} = {draw.choice(values)}"
            )
        content = "\n".join(lines).encode()
        if draw.random() < 0.1:
            content = content.replace(b"e", b"\xff", 1)
        found = ends_well(functools.partial(read, written(tmp_path / name, content)))
        refused += found is None
        if found is not None:
            assert read_again(found) == found.as_dict()
    assert refused > 10


def read_again(found: Any) -> Any:
    """A configuration by way of JSON, as a run folder keeps it."""
    return json.loads(json.dumps(found.as_dict(), allow_nan=False))
