"""Texts and choices: what is read, what is derived, and what is refused with its place."""

from pathlib import Path

import pytest

from analysis.config import (
    Pair,
    StudyConfig,
    default_texts,
    read_texts,
)


@pytest.fixture
def read(tmp_path: Path):
    def read(content: bytes | str):
        path = tmp_path / "texts.tsv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_texts(path)

    return read


def test_one_column_is_a_text_two_are_an_edit_three_name_its_kind(read):
    texts, pairs = read("alone\nbefore\tafter\ntypo\tthis\ttihs\n")
    assert texts == ("alone", "before", "this")
    assert pairs == (Pair("edit", "before", "after"), Pair("typo", "this", "tihs"))


def test_texts_and_pairs_come_once_in_order(read):
    texts, pairs = read("b\na\nb\nk\ta\tc\nk\ta\tc\nother\ta\tc\n")
    assert texts == ("b", "a")
    assert pairs == (Pair("k", "a", "c"), Pair("other", "a", "c"))


@pytest.mark.parametrize(
    "content", ["a\nb", "a\r\nb\r\n", "a\rb\r", "\ufeffa\nb\n", "  a\t\nb \n".replace("\t", " ")]
)
def test_line_ends_marks_and_outer_blanks_do_not_matter(read, content):
    assert read(content) == (("a", "b"), ())


@pytest.mark.parametrize("character", ["\u2028", "\x85", "\x0b", "\x0c", "\x1c"])
def test_only_line_ends_end_lines(read, character):
    assert read(f"a{character}b\nc\n")[0] == (f"a{character}b", "c")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("", "expected one text a line, got an empty file"),
        (b"\xef\xbb\xbf", "got an empty file"),
        ("\n", "line 1 is empty"),
        ("a\n\nb\n", "line 2 is empty"),
        ("a\n \t \n", "line 2 is empty"),
        ("a\n\n", "line 2 is empty"),
        ("a\t\n", "line 1 is empty or has an empty column"),
        ("k\ta\tb\tc\n", "line 1: .*got 4 columns"),
        ("a\nb\tb\n", "line 2: original and edited text must differ"),
        ("gaussian\ta\tb\n", "line 1: kind of an edit must not be gaussian or worst"),
        (b"fine\nbroken \xff\n", "expected UTF-8, got byte 0xff on line 2"),
        (b"\xef\xbb\xbf1\n2\n\x80", "expected UTF-8, got byte 0x80 on line 3"),
        ("utf-16".encode("utf-16"), "expected UTF-8, got byte 0xff on line 1"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(read, content, match):
    with pytest.raises(ValueError, match=match):
        read(content)


def test_a_folder_is_no_text_file(tmp_path):
    with pytest.raises(IsADirectoryError):
        read_texts(tmp_path)


def test_default_texts_are_read():
    sentences, pairs = default_texts()
    assert len(sentences) == 32 and {pair.kind for pair in pairs} == {"typo", "synonym", "negation"}


@pytest.mark.parametrize(
    ("choice", "match"),
    [
        ({"texts": ()}, "texts: expected at least one"),
        ({"field": "inner"}, "field must be one of increment, outer, got 'inner'"),
        ({"dtype": "float16"}, "dtype must be one of float64, float32"),
        ({"step_sizes": ()}, "step sizes must be given"),
        ({"step_sizes": (1.0, 1.0)}, "differ from each other"),
        *(
            ({"step_sizes": (h,)}, "step size must be > 0")
            for h in (0.0, -1.0, float("nan"), float("inf"), 1e7)
        ),
        ({"layers": ()}, "layers: expected at least one"),
        *(
            ({name: 0}, f"{name} must be >= 1")
            for name in ("eigenvalues", "chunk", "perturbations", "truncated_steps")
        ),
        *(
            ({name: bad}, f"{name} must be in")
            for name in ("rtol", "growth_rtol")
            for bad in (0.0, float("nan"), 1.0)
        ),
    ],
)
def test_a_wrong_choice_is_named(choice, match):
    with pytest.raises(ValueError, match=match):
        StudyConfig(**{"texts": ("a",), **choice})


def test_chosen_layers():
    assert StudyConfig(texts=("a",)).chosen_layers(3) == (0, 1, 2)
    assert StudyConfig(texts=("a",), layers=(2, 0, 2)).chosen_layers(3) == (0, 2)
    for layer in (-1, 3):
        with pytest.raises(
            ValueError, match=f"layers must be in 0..2 for this encoder of 3 layers, got {layer}"
        ):
            StudyConfig(texts=("a",), layers=(layer,)).chosen_layers(3)


def test_the_map_has_the_step_of_the_model_in_its_grid():
    steps = StudyConfig(texts=("a",)).map_step_sizes
    assert 1.0 in steps and list(steps) == sorted(set(steps))
    assert (steps[0], steps[-1]) == (1 / 16, 4.0)
