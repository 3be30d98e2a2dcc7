"""What an attack flipped is a table of pairs, and stays out of the record."""

import json
from pathlib import Path

import numpy as np
import pytest
from made_up_attacks import made_up_attack
from msgspec import structs
from tiny_classifiers import trained

from analysis.edits.pairs import read_pairs
from analysis.ground.identity import file_digest
from imbert.__main__ import main
from imbert.attack_records import Attack
from imbert.data.tasks import Examples, task
from imbert.result import write_json
from imbert.study.flipped_texts import flipped_table, texts_file, write_flipped

Rows = list[tuple[str, ...]]
BEFORE: Rows = [("a fine\tfilm",), ("dull",), ('"so\r\nso" story',), ("label",)]
AFTER: Rows = [("a fnie\tfilm",), ("dulll",), ('"so\r\nzo" story',), ("1",)]


def examples(texts: Rows, name: str) -> Examples:
    labels = np.zeros(len(texts))
    return Examples(task(name), tuple(texts), labels, tuple(map(str, range(len(texts)))), "made up")


def attacked(
    out: Path, before: Rows, after: Rows, changed: list[int], name: str = "sst2"
) -> tuple[Attack, Examples]:
    """The record of an attack, its texts as the attack leaves them."""
    texts = texts_file(out, "characters")
    texts.parent.mkdir(parents=True, exist_ok=True)
    write_json(texts, after)
    record = made_up_attack("1" * len(before), "0" * len(before))
    record = structs.replace(record, changed=changed, texts_digest=file_digest(texts))
    return record, examples(before, name)


def pairs_of(out: Path) -> list[tuple[str, str]]:
    """As `odestab edits --texts` and `odestab analyze --texts` read them."""
    pairs = read_pairs(flipped_table(out, "characters"))
    return [(pair.original, pair.edited) for pair in pairs]


def test_what_was_flipped_is_read_as_pairs_whatever_the_texts_hold(tmp_path: Path) -> None:
    write_flipped(tmp_path, "characters", *attacked(tmp_path, BEFORE, AFTER, [0, 2, 3]))
    assert pairs_of(tmp_path) == [
        ("a fine film", "a fnie film"),
        ('"so  so" story', '"so  zo" story'),
        ("label", "1"),
    ]


def test_of_two_texts_the_edited_one_is_told(tmp_path: Path) -> None:
    before: Rows = [("a", "b c"), ("a", "d")]
    after: Rows = [("a", "b x"), ("y", "d")]
    write_flipped(tmp_path, "characters", *attacked(tmp_path, before, after, [0, 1], "rte"))
    assert pairs_of(tmp_path) == [("b c", "b x"), ("a", "y")]


@pytest.mark.parametrize(
    ("before", "after"),
    [("a film", "a film"), ("a", " "), ("a\tfilm", "a film")],
    ids=["unchanged", "nothing left", "another blank"],
)
def test_what_is_no_pair_is_left_out(before: str, after: str, tmp_path: Path) -> None:
    record, rows = attacked(tmp_path, [(before,), ("dull",)], [(after,), ("dul",)], [0, 1])
    write_flipped(tmp_path, "characters", record, rows)
    assert pairs_of(tmp_path) == [("dull", "dul")]


def test_there_is_no_table_where_nothing_was_flipped(tmp_path: Path) -> None:
    write_flipped(tmp_path, "characters", *attacked(tmp_path, BEFORE, AFTER, [1]))
    assert flipped_table(tmp_path, "characters").is_file()
    write_flipped(tmp_path, "characters", *attacked(tmp_path, BEFORE, AFTER, []))
    assert not flipped_table(tmp_path, "characters").exists()


def test_other_texts_than_those_of_the_record_are_no_edits_of_its_examples(tmp_path: Path) -> None:
    record, rows = attacked(tmp_path, BEFORE, AFTER, [0])
    write_json(texts_file(tmp_path, "characters"), BEFORE[::-1])
    write_flipped(tmp_path, "characters", record, rows)
    assert not flipped_table(tmp_path, "characters").exists()


def test_the_command_says_how_many_flipped_and_where_their_texts_are(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = tmp_path / "model", tmp_path / "out"
    trained().model.save_pretrained(model)
    trained().tokenizer.save_pretrained(model)
    arguments = ["attack", str(model), "--data", str(data), "--kind", "characters", "--examples"]
    again = [*arguments, "8", "--no-masking", "--out", str(out)]
    assert main(again) == 0
    printed = capsys.readouterr().out
    record = json.loads((out / "characters.json").read_text())
    right = sum(row["right_before"] for row in record["per_example"])
    flipped = len(record["changed"])
    assert flipped > 0
    table = out / "texts" / "characters.tsv"
    assert printed.splitlines()[1:] == [
        f"  of {right} right answers {right - flipped} held, {flipped} flipped",
        f"  flipped texts: {table}",
        f"  all texts: {table.with_suffix('.json')}",
        f"results: {out}",
        "next: rank its inputs by how easily an edit flips them:",
        f"  odestab condition {model} --data {data}/glue/sst2_dev.tsv.gz --max-tokens 128",
        "next: see in which layers the edits that flipped it grow:",
        f"  odestab edits {model} --texts {table}",
    ]
    pairs = pairs_of(out)
    assert len(pairs) == flipped and not any(
        text in (out / "characters.json").read_text() for pair in pairs for text in pair
    )
    # of a record that is there already the table is written again
    table.unlink()
    assert main(again) == 0
    assert capsys.readouterr().out == printed and pairs_of(out) == pairs
