"""A user's own table: which columns hold texts and labels, and what is said where none do."""

import math
from pathlib import Path

import pytest

from analysis.ground.labelled_tables import (
    ColumnNames,
    Columns,
    class_of,
    labelled_rows,
    read_labelled,
    resolve_labels,
)


def put(folder: Path, name: str, content: str) -> Path:
    (folder / name).write_text(content)
    return folder / name


@pytest.mark.parametrize(
    ("header", "texts"),
    [
        ("text", ("text",)),
        ("sentence", ("sentence",)),
        ("sentence1\tsentence2", ("sentence1", "sentence2")),
        ("question1\tquestion2", ("question1", "question2")),
        ("hypothesis\tpremise", ("premise", "hypothesis")),
        ("question\tsentence", ("question", "sentence")),
    ],
)
def test_the_usual_columns_are_found(tmp_path: Path, header: str, texts: tuple[str, ...]) -> None:
    columns = header.split("\t")
    path = put(tmp_path, "a.tsv", f"idx\t{header}\n0\t" + "\t".join(columns) + "\n")
    rows = read_labelled(path)
    assert rows.columns.texts == texts and not rows.columns.label and rows.labels is None
    assert rows.texts == (texts,)  # each cell holds its column's name


def test_columns_may_be_named(tmp_path: Path) -> None:
    path = put(tmp_path, "a.csv", 'first,second,answer,text\na,"b, c",1,other\n')
    rows = read_labelled(path, ColumnNames("first", "second", "answer"))
    assert rows.texts == (("a", "b, c"),) and rows.labels == ("1",)
    with pytest.raises(ValueError, match=r"a\.csv:1: expected a column mine, got first, second"):
        read_labelled(path, ColumnNames("mine"))
    with pytest.raises(ValueError, match="--pair-column second needs --text-column"):
        read_labelled(path, ColumnNames(pair="second"))


def test_labels_are_numbers_or_names_in_any_case(tmp_path: Path) -> None:
    lines = ('{"text": "a", "label": 1}', '{"text": "b", "label": "Very  Good"}')
    more = ('{"text": "c", "label": "0"}', '{"text": "d", "label": "BAD"}')
    rows = read_labelled(put(tmp_path, "a.jsonl", "\n".join((*lines, *more))))
    assert resolve_labels(rows, ("bad", "very_good")) == (1, 1, 0, 0)


def test_a_name_that_is_a_number_is_a_name(tmp_path: Path) -> None:
    rows = read_labelled(put(tmp_path, "a.csv", "text,label\na,1\nb,2\n"))
    assert resolve_labels(rows, ("1", "2")) == (0, 1)


@pytest.mark.parametrize("label", ["2", "-1", "fine", "", "1.5", "2.0"])
def test_a_label_that_the_model_has_not_is_refused(tmp_path: Path, label: str) -> None:
    rows = read_labelled(put(tmp_path, "a.csv", f"text,label\na,1\nb,{label}\n"))
    message = r"a\.csv:3: expected a label of the model, one of 0, 1 \(bad, good\), got "
    way_on = "say what the file's labels mean: --labels LABEL=OUTPUT …"
    with pytest.raises(ValueError, match=f"{message}'{label}'; {way_on}"):
        resolve_labels(rows, ("bad", "good"))


MODEL = ("negative", "positive")


@pytest.mark.parametrize(
    ("labels", "given"),
    [
        (("Bad", "good"), (("bad", "0"), ("good", "positive"))),
        (("1", "2.0"), (("1", "0"), ("2", "1"))),
        (("1", "0"), (("1", "0"), ("0", "1"))),  # the other way round than the model
        (("negative", "positive"), (("negative", "0"), ("positive", "POSITIVE"), ("so so", "0"))),
    ],
)
def test_labels_mean_what_is_given(tmp_path: Path, labels, given) -> None:
    lines = [f"{text},{label}" for text, label in zip("ab", labels, strict=True)]
    rows = read_labelled(put(tmp_path, "a.csv", "\n".join(["text,label", *lines, ""])))
    assert resolve_labels(rows, MODEL, given) == (0, 1)


@pytest.mark.parametrize(
    ("label", "given", "message"),
    [
        ("fine", (("bad", "0"), ("good", "1")), r"a\.csv:2: expected a label of --labels, one of "),
        # what the model calls so, or a number of it, is nothing beside meanings that are given
        ("positive", (("bad", "0"), ("good", "1")), r"a\.csv:2: .* bad, good, got 'positive'"),
        ("0", (("1", "0"), ("2", "1")), r"a\.csv:2: .* one of 1, 2, got '0'"),
        ("bad", (("bad", "2"),), r"--labels bad=2: .* one of 0, 1 \(negative, positive\), got '2'"),
        (
            "bad",
            (("bad", "worse"),),
            r"--labels bad=worse: expected an output of the model, one of",
        ),
        ("bad", (("bad", "0"), ("BAD", "1")), r"each label of the file once, got bad, BAD"),
    ],
)
def test_meanings_that_do_not_fit_are_refused(tmp_path: Path, label, given, message) -> None:
    rows = read_labelled(put(tmp_path, "a.csv", f"text,label\na,{label}\n"))
    with pytest.raises(ValueError, match=message):
        resolve_labels(rows, MODEL, given)
    plain = read_labelled(put(tmp_path, "b.csv", "text\na\n"))
    with pytest.raises(ValueError, match=r"b\.csv: expected a column of labels for --labels"):
        resolve_labels(plain, MODEL, given)


@pytest.mark.parametrize("label", ["true", "1.5", "null", "[1]"])
def test_a_json_value_that_is_no_label_is_refused(tmp_path: Path, label: str) -> None:
    rows = read_labelled(put(tmp_path, "a.jsonl", f'{{"text": "a", "label": {label}}}'))
    with pytest.raises(ValueError, match=r"a\.jsonl:1: expected a label of the model"):
        resolve_labels(rows, ("bad", "good"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "idx\tbody\n0\ta\n",
            r"a\.tsv: expected a column sentence or text, or two of sentence1\+sentence2, .*, or "
            "--text-column NAME, got idx, body",
        ),
        ("", "expected a column sentence or text, .*, got none"),
        ("text\tlabel\n", r"a\.tsv: expected at least one row, got none"),
        ("text\nfine\n \n", r"a\.tsv:3: expected a text that is not empty in column text, got ' '"),
    ],
)
def test_a_table_without_texts_is_refused_in_one_line(
    tmp_path: Path, content: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_labelled(put(tmp_path, "a.tsv", content))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("label", "place"),
    [
        *(("1", 1), ("1.0", 1), (" 0. ", 0), (1, 1), (1.0, 1), (True, None), ("true", None)),
        *(("Very-Good", 2), ("2", 2), ("3", None), ("-1", None), (0.5, None), (math.nan, None)),
    ],
)
def test_a_label_is_a_name_or_a_number(label: object, place: int | None) -> None:
    assert class_of(label, ("bad", "fine", "very good"), 3) == place


def test_where_names_are_numbers_no_number_is_a_place() -> None:
    assert [class_of(label, ("1", "2", "3"), 3) for label in (1, "3.0", 0)] == [0, 2, None]
    assert class_of(True, ("False", "True"), 2) == 1
    assert [class_of(label, ("1.0", "0.0"), 2) for label in ("1", 1.0, "0.0")] == [0, 0, 1]
    assert [class_of(label, ("0.5", "1.5"), 2) for label in (0.5, "1", "1.5")] == [0, None, 1]
    assert [class_of(label, ("-2", "-1"), 2) for label in ("-1", 1)] == [1, None]


def test_names_of_signs_are_apart() -> None:
    scale = ("--", "-", "0", "+", "++")
    assert [class_of(label, scale, 5) for label in scale] == [0, 1, 2, 3, 4]
    assert [class_of(label, ("A-", "A--", "so - so"), 3) for label in ("a--", "So so")] == [1, 2]


def test_usual_names_are_found_in_any_case(tmp_path: Path) -> None:
    table = read_labelled(put(tmp_path, "a.csv", "Sentence,LABEL\na,1\n"))
    assert table.columns == Columns(("Sentence",), ("LABEL",)) and table.labels == ("1",)


def test_rows_know_their_line_and_id(tmp_path: Path) -> None:
    table = read_labelled(put(tmp_path, "a.csv", 'idx,text\n7,"a\nb"\n9,c\n'))
    assert [(row.line, row.id) for row in table.rows] == [(2, "7"), (4, "9")]
    table = read_labelled(put(tmp_path, "a.csv", "text\na\n"))
    assert (table.rows[0].id, table.labels) == ("2", None)
    kept = labelled_rows(
        put(tmp_path, "a.csv", "id,text\n7,a\n9,b\n"), Columns(("text",)), "9".__eq__
    )
    assert [row.texts for row in kept] == [("b",)]
    with pytest.raises(ValueError, match="expected a column idx or index or id, got text"):
        list(labelled_rows(put(tmp_path, "a.csv", "text\na\n"), Columns(("text",)), "9".__eq__))


def test_a_column_of_texts_may_be_called_label(tmp_path: Path) -> None:
    path = put(tmp_path, "a.csv", "label,mood\na text,good\n")
    table = read_labelled(path, ColumnNames("label", None, "mood"))
    assert table.texts == (("a text",),) and table.labels == ("good",)
