"""Edits through a model: every number is an identity of its states."""

import math

import numpy as np
import pytest
import torch
import transformers
from tiny_study import WORDS, saved

import imbert
import odestab as od
from analysis.config import Pair, StudyConfig
from analysis.edits.measure import measured, traced, words
from analysis.edits.model import Model, inspected
from analysis.edits.pairs import clusters, usable
from analysis.edits.records import Edit
from analysis.edits.run import measure_edits
from analysis.study import Study, load_study
from imbert.model.classifier import Classifier

PAIRS = (
    Pair("word", "the cat sat on the mat", "the dog sat on the mat"),
    Pair("insertion", "the cat sat", "the cat sat on the matz"),
    Pair("removal", "the cat ran on the mat", "the mat"),
    Pair("other", "cat sat", "the dog ran"),
)
SIZES = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 12,
    "initializer_range": 0.3,
}
CLASSIFIER = transformers.AutoModelForSequenceClassification
STEPS = {
    "method": "implicit_euler",
    "step_size": 0.5,
    "substeps": 2,
    "implicit_layers": [1],
    "solver": {"name": "Anderson", "rtol": 1e-3},
}


def config_of(model: object, **choices) -> StudyConfig:
    pairs = choices.pop("pairs", PAIRS)
    texts = tuple(pair.original for pair in pairs)
    return StudyConfig(model=str(model), texts=texts, pairs=pairs, **choices)


def loaded(model: object, **choices) -> Model:
    study = load_study(config_of(model, **choices), head=True)
    return inspected(study, study.config.texts[0])


def edits_of(model: Model, places: list[int] | None = None) -> list[Edit]:
    pairs = model.study.config.pairs
    chosen = list(range(len(pairs))) if places is None else places
    return list(measured(traced(model, chosen), clusters(pairs)))


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("bare"), transformers.BertConfig(**SIZES))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    config = transformers.BertConfig(**SIZES, num_labels=3)
    return saved(tmp_path_factory.mktemp("classifier"), config, CLASSIFIER)


@pytest.fixture(scope="module")
def declaring(tmp_path_factory):
    config = imbert.ImBertConfig(**SIZES, **STEPS, num_labels=2)
    return saved(tmp_path_factory.mktemp("declaring"), config, CLASSIFIER)


def test_the_numbers_are_those_of_secants(bare):
    model = loaded(bare, step_sizes=(0.5,))
    batch = traced(model, [0, 1, 2, 3])
    edits = list(measured(batch, clusters(PAIRS)))
    paths = {
        name: od.secants(
            batch.first.trajectory, batch.second.trajectory, method, alignment=batch.alignment
        )
        for name, method in {
            "explicit": od.ExplicitEuler(0.5),
            "implicit": model.study.implicit(0.5),
            "model": od.ExplicitEuler(1.0),
        }.items()
    }
    assert model.as_run == "model" and edits[0].walks.keys() == paths.keys()
    for row, edit in enumerate(edits):
        for name, path in paths.items():
            walk = edit.walks[name]
            assert walk.sizes == path.sizes[row].tolist()
            assert walk.by_secant == path.growth[row].tolist()
            assert walk.predicted == path.predicted[row].tolist()
            assert walk.converged == path.converged[row].tolist()
            assert [complex(*point) for point in walk.start] == path.start[row].tolist()
            end = [complex(*point) for point in walk.end]
            assert end == (path.end[row].tolist() if name == "implicit" else [])
            rtol = 1e-6 if name == "implicit" else 1e-12
            np.testing.assert_allclose(walk.growth, walk.by_secant, rtol=rtol)


def test_log_growth_adds_up(bare):
    for edit in edits_of(loaded(bare, step_sizes=(2.0,))):
        for walk in edit.walks.values():
            whole = math.log(walk.sizes[-1] / walk.sizes[0])
            assert abs(sum(walk.log_growth) - whole) < 1e-10
            assert walk.whole == walk.sizes[-1] / walk.sizes[0]


def test_sizes_are_those_of_the_models_own_hidden_states(bare):
    model = loaded(bare)
    assert model.as_run == "explicit" and model.labels == [] and model.reads == "no head"
    (edit,) = edits_of(model, [0])
    hidden = [
        model.study.encoder(**model.study.tokenize([text]), output_hidden_states=True).hidden_states
        for text in (PAIRS[0].original, PAIRS[0].edited)
    ]
    deltas = [b - a for a, b in zip(*hidden, strict=True)]
    expected = {
        "size_whole": [float(delta.norm()) for delta in deltas],
        "size_first": [float(delta[0, 0].norm()) for delta in deltas],
        "size_read": [float(delta[0].mean(0).norm()) for delta in deltas],
        "size_tokens": [delta[0].norm(dim=1).tolist() for delta in deltas],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(edit[name], values, rtol=1e-10, atol=1e-12)
    assert edit.walks["explicit"].sizes == edit.size_whole


def test_a_pair_is_measured_alike_in_any_batch(classifier):
    model = loaded(classifier)
    for together, place in zip(edits_of(model), range(len(PAIRS)), strict=True):
        (alone,) = edits_of(model, [place])
        assert alone.marks == together.marks and alone.counts == together.counts
        np.testing.assert_allclose(alone.size_tokens, together.size_tokens, atol=1e-11)
        np.testing.assert_allclose(
            alone.walks["implicit"].growth, together.walks["implicit"].growth, rtol=1e-6
        )


def test_the_margin_changes_by_the_exact_product(classifier):
    model = loaded(classifier)
    assert model.reads == "first token" and model.labels == ["LABEL_0", "LABEL_1", "LABEL_2"]
    for edit, pair in zip(edits_of(model), PAIRS, strict=True):
        logits = torch.cat(
            [
                model.study.encoder(**model.study.tokenize([text])).logits
                for text in (pair.original, pair.edited)
            ]
        )
        answer = edit.answer
        assert answer.label == int(logits[0].argmax())
        before, after = od.logit_margin(logits, torch.full((2,), answer.label)).tolist()
        assert abs(answer.margin_before - before) < 1e-10
        assert abs(answer.margin_after - after) < 1e-10
        growth = math.prod(edit.walks["explicit"].growth)
        product = edit.size_whole[0] * growth * answer.gain
        assert abs(product - (after - before)) < 1e-10
        assert abs(edit.size_read[-1] * answer.gain_read - (after - before)) < 1e-10
        assert edit.size_read == edit.size_first


def test_declared_steps_are_walked_as_the_model_runs(declaring):
    model = loaded(declaring)
    assert model.steps == ["0", "1.1", "1.2"] and model.as_run == "model"
    run = Classifier.load(declaring)
    expected = run.logits([PAIRS[1].original, PAIRS[1].edited])
    (edit,) = edits_of(model, [1])
    assert edit.walks["model"].step_sizes == [1.0, 0.25, 0.25]
    assert edit.walks["explicit"].step_sizes == [1.0, 0.5, 0.5]
    answer = edit.answer
    own, other = answer.label, 1 - answer.label
    # The checkpoint's own classifier computes in float32.
    np.testing.assert_allclose(
        [answer.margin_before, answer.margin_after],
        expected[:, own] - expected[:, other],
        atol=1e-5,
    )
    product = edit.size_whole[0] * math.prod(edit.walks["model"].growth) * answer.gain
    assert abs(product - (answer.margin_after - answer.margin_before)) < 1e-10
    # A loose solver misses the secant's growth, not that of the states.
    assert edit.walks["model"].sizes == edit.size_whole
    assert edit.walks["model"].growth != edit.walks["model"].by_secant


def test_a_solver_that_stops_by_design_has_not_failed(tmp_path):
    steps = STEPS | {"solver": {"name": "GradientDescent", "steps": 3}}
    model = loaded(saved(tmp_path, imbert.ImBertConfig(**SIZES, **steps), CLASSIFIER))
    (edit,) = edits_of(model, [0])
    assert edit.walks["model"].converged == [True] * 3


def test_tokens_are_marked_and_shown(bare):
    model = loaded(bare)
    batch = traced(model, [0, 1, 2, 3])
    edits = list(measured(batch, clusters(PAIRS)))
    shown = list(words(batch))
    assert [mark for mark in edits[0].marks if mark != "same"] == ["changed"]
    assert shown[0].columns[2] == ("cat", "dog")
    assert edits[1].marks.count("inserted") == 4 and (None, "##z") in shown[1].columns
    assert edits[2].marks.count("removed") == 4 and edits[2].unequal
    assert edits[2].counts == (8, 4) and len(shown[2].columns) == len(edits[2].marks)
    assert [edit.shared for edit in edits] == [5, 3, 2, 0]
    assert not edits[0].unequal and shown[3].edited == "the dog ran"


def test_a_head_that_reads_more_than_the_first_token_is_seen(tmp_path):
    config = transformers.ModernBertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        classifier_pooling="mean",
        **{f"{name}_token_id": 0 for name in ("pad", "bos", "eos", "cls", "sep")},
    )
    model = loaded(saved(tmp_path, config, CLASSIFIER))
    assert model.reads == "other tokens too"
    (edit,) = edits_of(model, [0])
    assert edit.size_read != edit.size_first and edit.answer is not None


def test_a_regression_has_no_margin(tmp_path):
    config = transformers.BertConfig(**SIZES, num_labels=1)
    model = loaded(saved(tmp_path, config, CLASSIFIER))
    assert model.labels == ["LABEL_0"] and edits_of(model, [0])[0].answer is None


@pytest.mark.parametrize("problem", ["regression", "multi_label_classification"])
def test_outputs_none_of_which_is_the_answer_have_no_margin(problem, tmp_path):
    config = transformers.BertConfig(**SIZES, num_labels=2, problem_type=problem)
    model = loaded(saved(tmp_path, config, CLASSIFIER))
    assert len(model.labels) == 2 and edits_of(model, [0])[0].answer is None


def test_what_was_not_solved_is_marked(bare, monkeypatch):
    stopped = od.Anderson(rtol=1e-12, max_iterations=1)
    monkeypatch.setattr(
        Study, "implicit", lambda self, step, *_: od.ImplicitEuler(step, solver=stopped)
    )
    (edit,) = edits_of(loaded(bare), [0])
    assert edit.walks["implicit"].solved == [False, False]
    assert edit.walks["explicit"].solved == [True, True]


def test_states_that_are_no_numbers_are_left_out_alone(tmp_path, bare):
    encoder, tokenizer = od.load_encoder(bare)
    weights = encoder.get_input_embeddings().weight
    weights[WORDS.index("dog")] = 1.7e308
    encoder.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    lines = []
    found = measure_edits(config_of(tmp_path), lines.append).record
    assert [edit.index for edit in found.edits] == [1, 2]
    assert found.left_out == dict.fromkeys(("0", "3"), "states that are not finite at level 0")
    assert lines == [f"pair {i} left out: {found.left_out[str(i)]}" for i in (0, 3)]
    clean = measure_edits(config_of(bare, pairs=PAIRS[1:3]), lines.append).record
    for edit, expected in zip(found.edits, clean.edits, strict=True):
        np.testing.assert_allclose(edit.size_whole, expected.size_whole, rtol=1e-12)


def test_pairs_that_cannot_be_measured_have_reasons(bare):
    pairs = (
        Pair("same", "the  cat", "the cat"),
        Pair("long", "the cat " * 6, "the cat"),
        Pair("empty", "the cat", "\u200b"),
        Pair("good", "the cat", "the dog"),
        Pair("again", "the cat", "the mat"),
    )
    study = load_study(config_of(bare, pairs=pairs))
    places, left_out = usable(study)
    assert places == [3, 4] and clusters(pairs) == [0, 1, 2, 2, 2]
    assert left_out == {
        "0": "both texts have the same tokens: δ = 0, the model cannot tell them apart",
        "1": "14 tokens, more than the 12 that the model takes",
        "2": "its edited text has no token beside special ones",
    }


def test_a_study_without_a_usable_pair_is_one_line(bare):
    config = config_of(bare, pairs=(Pair("same", "the  cat", "the cat"),))
    with pytest.raises(ValueError, match=r"got 1 that cannot; pair 0: both texts have the same"):
        measure_edits(config, lambda line: None)
