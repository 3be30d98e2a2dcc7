"""The plan of a study: every text in every kind of cell once, every cell under a name of its
own.
"""

import collections

import pytest

from analysis.cells import CellPlan, Scope, chunks
from analysis.config import Pair, StudyConfig
from analysis.quantities.registry import plan

KINDS = (
    "typo",
    "Typo",
    "TYPO",
    "a b",
    "a_b",
    "a/b",
    "../x",
    "ü",
    "_",
    "__",
    "t0000",
    "x" * 59,
    "x" * 60,
    "con",
    ".",
)
TOKENS = [5, 3, 9, 3, 5, 4]


def study(**choices: object) -> StudyConfig:
    pairs = tuple(Pair(kind, f"{kind} {i}", "edited") for kind in KINDS for i in range(2))
    return StudyConfig(
        **{
            "texts": tuple("abcdef"),
            "pairs": pairs,
            "step_sizes": (0.1, 1 / 3, 1.0, 1.0 + 1e-12, 1e-7),
            "chunk": 2,
            **choices,
        }
    )


def planned(config: StudyConfig) -> list[CellPlan]:
    pair_tokens = dict.fromkeys(range(len(config.pairs)), 4)
    return plan(Scope(config, (0, 1, 11, 111), TOKENS, 16, pair_tokens))


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_names_are_unique_and_fit_any_file_system(chunk):
    names = [cell.name for cell in planned(study(chunk=chunk))]
    assert len({name.lower() for name in names}) == len(names)
    assert all(len(name) < 120 and name.isascii() for name in names)
    assert all(character.isalnum() or character in "-_.+" for name in names for character in name)


def test_ordinary_names_are_readable():
    cell = CellPlan("propagation", (3, 1), step_size=1.0, perturbation="typo")
    assert cell.name == "propagation-h1-typo-t0003"
    assert CellPlan("layer", (0,), layer=2).name == "layer-l02-t0000"
    assert CellPlan("regions", step_size=0.25).name == "regions-h0.25"


def test_every_text_is_covered_once_by_each_kind_of_cell():
    config = study()
    covered = collections.defaultdict(list)
    for cell in planned(config):
        covered[cell.kind, cell.layer, cell.step_size, cell.perturbation] += cell.texts
    for (kind, _, _, perturbation), texts in covered.items():
        if kind == "dense":
            wanted = [i for i, count in enumerate(TOKENS) if 16 * count <= config.dense_limit]
        elif kind in ("regions", "truncated"):
            wanted = []
        elif kind == "relative_graph":  # a text of median length
            wanted = [0]
        elif perturbation in (None, "gaussian", "worst"):
            wanted = list(range(len(TOKENS)))
        else:
            wanted = [i for i, pair in enumerate(config.pairs) if pair.kind == perturbation]
        assert sorted(texts) == wanted
    assert {h for kind, _, h, _ in covered if kind == "regions"} == set(config.step_sizes)
    assert len(covered) == 5 * (1 + len(KINDS) + 2) + 4 * 3 + 1


def test_only_short_texts_get_a_full_spectrum():
    cells = planned(study(dense_limit=64))
    assert sorted(cell.texts[0] for cell in cells if cell.kind == "dense" and cell.layer == 0) == [
        1,
        3,
        5,
    ]


def test_pairs_without_tokens_are_left_out_and_empty_kinds_have_no_cell():
    config = StudyConfig(
        texts=("a",),
        pairs=(Pair("typo", "a", "b"), Pair("typo", "a", "c"), Pair("synonym", "a", "d")),
    )
    cells = plan(Scope(config, (0,), [3], 16, {1: 3}))
    edits = [cell for cell in cells if cell.perturbation not in (None, "gaussian", "worst")]
    assert [(cell.perturbation, cell.texts) for cell in edits] == [("typo", (1,))]


@pytest.mark.parametrize("size", [1, 2, 4, 10])
def test_chunks_are_a_partition_by_length(size):
    found = chunks([0, 1, 2, 4, 5], TOKENS, size)
    assert all(len(group) <= size for group in found)
    flat = [i for group in found for i in group]
    assert sorted(flat) == [0, 1, 2, 4, 5]
    assert [TOKENS[i] for i in flat] == sorted(TOKENS[i] for i in flat)


def test_chunks_of_a_model_without_padding_hold_one_length():
    found = chunks([0, 1, 2, 3, 4], [5, 3, 5, 3, 3], 2, padded=False)
    assert found == [(1, 3), (4,), (0, 2)]


def test_pairs_of_a_model_without_padding_are_alone():
    config = StudyConfig(texts=("a",), pairs=(Pair("typo", "a", "b"), Pair("typo", "a", "c")))
    for padded, expected in ((True, [(0, 1)]), (False, [(0,), (1,)])):
        scope = Scope(config, (0,), [3], 16, {0: 3, 1: 3}, padded=padded)
        assert [cell.texts for cell in scope.of_edits("secants")] == expected


def test_no_texts_no_chunks():
    assert chunks([], [], 3) == []


def test_a_header_says_what_the_cell_is_of():
    assert CellPlan("dense", (4,), layer=0).header() == {"kind": "dense", "texts": [4], "layer": 0}
    assert CellPlan("regions", step_size=0.1).header() == {
        "kind": "regions",
        "texts": [],
        "step_size": 0.1,
    }


@pytest.mark.parametrize("depth", ["quick", "full", "prediction", "calibration"])
def test_cells_come_stage_by_stage_and_layer_by_layer(depth):
    cells = planned(study(depth=depth))
    kinds = list(dict.fromkeys(cell.kind for cell in cells))
    assert (
        kinds
        == {
            "quick": ["regions", "truncated", "propagation", "layer", "dense", "relative_graph"],
            "full": [
                *("regions", "truncated", "propagation", "layer", "dense", "relative_graph"),
                *("exponents", "nonnormality", "bounds", "density", "sublayers", "refinement"),
            ],
            "prediction": ["solves", "layer"],
            "calibration": ["declared"],
        }[depth]
    )
    of_layers = [cell.layer for cell in cells if cell.kind == "layer"]
    assert of_layers == sorted(of_layers)
