"""The masking checks: a classifier that hides its gradient fails them, an honest one passes, and a
solver that matters is found out.
"""

import dataclasses
import json

import numpy as np
import pytest
import torch
from msgspec import structs
from tiny_classifiers import (
    DetachedModel,
    LinearModel,
    RoundedModel,
    copied,
    labelled_by,
    linear,
    some,
    trained,
)

import odestab as od
from figures import controls
from imbert.attack_records import AgreementMeasures, Check, SweepRow
from imbert.attacks import AttackResult, CharacterEdits, EmbeddingPGD, Square
from imbert.attacks.embedding_ball import mean_row_norm
from imbert.attacks.gradients import own_solver
from imbert.checks import masking
from imbert.checks.gradient_agreement import gradient_agreement
from imbert.checks.masking import _gradients, _residual, _sweep, masking_checks
from imbert.checks.solver_sweep import solver_sweep
from imbert.model.classifier import Classifier
from imbert.model.solver_log import LayerBatch
from imbert.model.stepping_model import stepping
from imbert.records import plain

pytestmark = pytest.mark.slow

NAMES = [
    "gain",
    "gradients_at_step",
    "square_alone",
    "transfer_alone",
    "ladder",
    "residual",
    "solver_sweep",
]


def checks_of(kind: type[LinearModel], radius: float = 0.3) -> dict[str, Check]:
    """Of a linear classifier on its own answers, which no ball of one word's norm need change: the
    ladder is longer.
    """
    classifier = linear(kind)
    examples = labelled_by(classifier, some(10))
    white = EmbeddingPGD(radius=radius, steps=5).run(classifier, examples)
    found = masking_checks(classifier, examples, [white], baseline=linear(), radii=(radius, 3.0))
    assert [one.name for one in found] == NAMES == list(controls.CHECKS)
    return {one.name: one for one in found}


def test_an_honest_classifier_passes() -> None:
    checks = checks_of(LinearModel)
    assert {name: one.passed for name, one in checks.items()} == {
        "gain": True,
        "gradients_at_step": True,
        "square_alone": True,
        "transfer_alone": True,
        "ladder": True,
        "residual": None,
        "solver_sweep": None,
    }
    assert not any(one.sentence.startswith("WARNING") for one in checks.values())
    assert checks["square_alone"].measured["balls"][0]["broken_by_white_box"] > 0
    assert checks["gradients_at_step"].measured["explicit"]["error_max"] < 1e-7
    assert checks["gain"].measured["gain_median"] == pytest.approx(1, abs=1e-4), (
        "a straight loss gains what is promised"
    )


@pytest.mark.parametrize("kind", [RoundedModel, DetachedModel])
def test_a_classifier_that_hides_its_gradient_fails_every_check_of_gradients(
    kind: type[LinearModel],
) -> None:
    checks = checks_of(kind)
    failed = [name for name, one in checks.items() if one.passed is False]
    assert failed == ["gain", "gradients_at_step", "square_alone", "transfer_alone", "ladder"]
    assert all(checks[name].sentence.startswith("WARNING: ") for name in failed)
    ball = checks["square_alone"].measured["balls"][0]
    assert ball["alone"] and ball["queries"] >= 1000
    assert (
        checks["gradients_at_step"].measured["explicit"]["vanished"]
        == checks["gradients_at_step"].measured["explicit"]["points"]
    )


class TremblingModel(torch.nn.Module):
    """A trained BERT behind e + a sin(w e): predictions stay, and the gradient is drowned in a w
    cos(w e).
    """

    def __init__(self, model: torch.nn.Module, amplitude: float, slope: float) -> None:
        super().__init__()
        self.model, self.amplitude, self.frequency = model, amplitude, slope / amplitude

    config = property(lambda self: self.model.config)
    device = property(lambda self: self.model.device)

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.model.get_input_embeddings()

    def forward(self, input_ids=None, inputs_embeds=None, **rest):
        embeddings = (
            self.get_input_embeddings()(input_ids) if inputs_embeds is None else inputs_embeds
        )
        return self.model(
            inputs_embeds=embeddings + self.amplitude * torch.sin(self.frequency * embeddings),
            **rest,
        )


def trembling(classifier: Classifier, slope: float) -> Classifier:
    """The same classifier masked by a tremor of 0.5 % of a word's norm."""
    amplitude = 0.005 * mean_row_norm(classifier) * np.sqrt(2 / classifier.model.config.hidden_size)
    return dataclasses.replace(
        classifier, model=TremblingModel(classifier.model, amplitude, slope).eval()
    )


@pytest.fixture(scope="module")
def masks() -> dict[float, dict[str, Check]]:
    """The checks of a trained BERT, plain (slope 0) and behind tremors of two slopes, on the same
    sentences.
    """
    found = {}
    for slope in (0.0, 5.0, 100.0):
        classifier = trembling(trained(), slope) if slope else trained()
        checks = masking_checks(
            classifier, some(5), points=4, baseline=trained() if slope else None
        )
        found[slope] = {one.name: one for one in checks}
    return found


def test_a_masked_model_fails_and_the_plain_one_does_not(
    masks: dict[float, dict[str, Check]],
) -> None:
    assert not [one.sentence for one in masks[0.0].values() if one.passed is False]
    assert all(masks[0.0][name].passed for name in ("gain", "gradients_at_step", "ladder"))
    for slope in (5.0, 100.0):
        failed = {name for name, one in masks[slope].items() if one.passed is False}
        assert failed >= {"gain", "gradients_at_step"}, [
            one.sentence for one in masks[slope].values()
        ]
        assert masks[slope]["gradients_at_step"].measured["explicit"]["error_max"] < 1e-3, (
            "the gradient itself is right"
        )


def test_a_long_tremor_stops_the_ladder_and_lets_others_perturbations_pass(
    masks: dict[float, dict[str, Check]],
) -> None:
    rungs = masks[100.0]["ladder"].measured["rungs"]
    assert (
        masks[100.0]["ladder"].passed is False
        and rungs[-1]["baseline"] <= 0.5 < rungs[-1]["robust"]
    )
    assert [one["radius"] for one in rungs][:3] == [0.1, 0.3, 1.0]


class ReversedGradient(torch.autograd.Function):
    """The identity with minus its gradient."""

    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        return -gradient


class ReversedModel(LinearModel):
    """A model whose gradient is wrong without being zero."""

    def shown(self, logits: torch.Tensor) -> torch.Tensor:
        return ReversedGradient.apply(logits)


def test_a_wrong_gradient_is_told_from_a_right_one_by_central_differences() -> None:
    check = checks_of(ReversedModel)["gradients_at_step"]
    assert check.passed is False and "against central differences" in check.sentence
    assert (
        check.measured["explicit"]["error_max"] == pytest.approx(2, rel=1e-6)
        and check.measured["explicit"]["vanished"] == 0
    )


class WavyModel(LinearModel):
    """A model whose loss bends within a few 1e-4, where a coarse difference says nothing of a
    gradient that is right.
    """

    def shown(self, logits: torch.Tensor) -> torch.Tensor:
        return logits + torch.sin(2e3 * logits) / 2e3


def test_a_right_gradient_of_a_loss_that_bends_sharply_agrees_at_a_smaller_difference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    classifier = linear(WavyModel)
    examples = labelled_by(classifier, some(24))
    result = EmbeddingPGD(radius=0.3, steps=5).run(classifier, examples)
    [fine] = gradient_agreement(classifier, examples, result)
    assert fine.measures().error_max < 1e-3
    monkeypatch.setattr("imbert.checks.gradient_agreement.DIFFERENCES", (1e-4,))
    [coarse] = gradient_agreement(classifier, examples, result)
    assert coarse.measures().error_max > 1e-2


@pytest.fixture(scope="module")
def attacked() -> tuple[Classifier, AttackResult]:
    classifier = trained("im-bert")
    return classifier, EmbeddingPGD(radius=0.3, steps=3, restarts=1).run(classifier, some(6))


def test_implicit_and_unrolled_gradients_agree_with_central_differences(
    attacked: tuple[Classifier, AttackResult],
) -> None:
    classifier, result = attacked
    agreement = {one.kind: one for one in gradient_agreement(classifier, some(6), result, points=3)}
    assert set(agreement) == {"implicit", "unrolled"}
    for one in agreement.values():
        assert len(one.errors) == 3 and max(one.errors) < 1e-4
        assert min(one.cosines) > 0.99 and one.vanished == 0


def test_all_checks_of_an_implicit_model_pass_and_are_plain(
    attacked: tuple[Classifier, AttackResult],
) -> None:
    classifier, result = attacked
    free = Square(radius=0.3, queries=4).run(classifier, some(6))
    options = {
        "points": 2,
        "sweep_examples": 4,
        "tolerances": (1e-1, 1e-4),
        "iterations": (1, 16),
        "radii": (0.3, 3.0),
    }
    found = masking_checks(classifier, some(6), [result], [free], **options, baseline=trained())
    passed = [(name, None if name == "square_alone" else True) for name in NAMES]
    assert [(one.name, one.passed) for one in found] == passed, [one.sentence for one in found]
    assert (
        found[2].sentence == "a random search of 4 queries is no evidence, at least 1000 are needed"
    )
    measured = json.loads(json.dumps(plain(found), allow_nan=False))
    assert [row["rtol"] for row in measured[6]["measured"]["rows"]] == [1e-1, 1e-4, None, None]
    assert [row["iterations"] for row in measured[6]["measured"]["rows"]] == [None, None, 1, 16]
    layers = measured[5]["measured"]["attacked"]
    assert [one["layer"] for one in layers] == [1, 2] and all(
        one["residual_max"] <= 1e-3 for one in layers
    )


def test_a_solver_of_given_steps_is_judged_by_the_gradient_of_what_ran() -> None:
    classifier, examples = trained("truncated"), some(4)
    attack = EmbeddingPGD(radius=0.3, steps=2, restarts=1)
    results = {
        kind: dataclasses.replace(attack, gradient=kind).run(classifier, examples)
        for kind in ("auto", "implicit")
    }
    honest, short = (
        _gradients(classifier, examples, [results[kind]], points=2, seed=0)
        for kind in ("auto", "implicit")
    )
    assert honest.passed is True and "the implicit one" in honest.sentence
    assert (
        honest.measured["unrolled"]["error_max"]
        < 1e-4
        < 1e-3
        < honest.measured["implicit"]["error_max"]
    )
    assert short.passed is False and short.sentence.startswith(
        "WARNING: the implicit gradient is off by"
    )


def test_the_sweep_begins_with_the_solver_of_now_and_leaves_it() -> None:
    classifier, examples = trained("im-bert"), some(4)
    attack, before = EmbeddingPGD(radius=0.3, steps=2, restarts=1), own_solver(classifier)
    with stepping(classifier.model, solver=od.Anderson(rtol=1e-3, max_iterations=2)):
        own, rows = solver_sweep(classifier, examples, attack, (1e-4,), (16,))
        assert own_solver(classifier).max_iterations == 2
    assert own_solver(classifier) is before
    assert [(one.rtol, one.iterations) for one in rows] == [(1e-4, None), (None, 16)]
    assert own.moved in (1.0,) or np.isnan(own.moved)


@pytest.mark.parametrize("better, passed", [(0.5, True), (0.9, False)])
def test_robustness_that_ends_with_a_better_solver_is_a_warning(
    better: float, passed: bool
) -> None:
    own = SweepRow(1e-2, None, 1.0, 0.6, 0.4, 1.0)
    rows = [
        SweepRow(1e-1, None, 1.0, 0.0, 1.0, 1.0),
        SweepRow(1e-4, None, 1.0, 1 - better, better, 1.0),
        SweepRow(None, 1, 0.5, 0.0, 1.0, 1.0),
    ]
    last = SweepRow(None, 16, 1.0, 0.6, 0.4, 1.0)
    check = _sweep(
        own, [*rows, last], 20, truncated=False
    )  # worse solvers (rtol 1e-1, k = 1) may be as weak as they like
    assert check.passed is passed
    assert check.sentence.startswith("WARNING") is not passed and ("rtol 1e-04" in check.sentence)


def test_a_worse_solver_than_a_long_one_is_no_better_one() -> None:
    own = SweepRow(1e-2, 20, 1.0, 0.6, 0.4, 1.0)
    fewer, more = SweepRow(None, 16, 1.0, 0.0, 1.0, 1.0), SweepRow(None, 32, 1.0, 0.0, 1.0, 1.0)
    assert _sweep(own, [fewer], 20, truncated=True).passed is True
    assert _sweep(own, [fewer, more], 20, truncated=True).passed is False


def test_a_gradient_that_is_known_at_few_points_is_not_judged_right() -> None:
    one = AgreementMeasures(
        points=8,
        unsolved=7,
        vanished=0,
        error_max=1e-9,
        cosine_median=1.0,
        cosine_min=1.0,
        gain_median=1.0,
    )
    assert "known at 1 of 8 points only" in masking._gradient_faults("implicit", one)[0]
    assert masking._gradient_faults("implicit", structs.replace(one, unsolved=3)) == []


def test_residuals_that_grow_under_attack_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier, examples = copied(trained("im-bert")), some(3)
    result = EmbeddingPGD(radius=0.3, steps=1, restarts=1).run(classifier, examples)
    asked = []

    def told(model: object) -> list[LayerBatch]:
        asked.append(model)
        statuses = (
            {"CONVERGED": 3} if len(asked) % 2 else {"CONVERGED": 1, "STALLED": 2}
        )  # clean texts first
        return [LayerBatch(3, statuses, 1.0, 0.1, 2.0, 3, layer=1)]

    monkeypatch.setattr(masking, "statistics", told)
    check = _residual(classifier, examples, result)
    assert check.passed is False
    assert (
        check.sentence == "WARNING: the solver gives way to the attack: layer 1 fails on "
        "67% of the attacked examples, 0% of the clean ones"
    )


def test_without_a_right_example_nothing_is_judged() -> None:
    classifier = linear()
    examples = labelled_by(classifier, some(3))
    wrong = dataclasses.replace(examples, labels=1 - examples.labels)
    found = masking_checks(classifier, wrong)
    assert [one.passed for one in found] == [None] * len(NAMES)
    assert json.dumps(plain(found), allow_nan=False)


def test_results_that_do_not_belong_together_are_refused() -> None:
    classifier = linear()
    examples = labelled_by(classifier, some(3))
    white, free = (
        EmbeddingPGD(radius=0.3, steps=1).run(classifier, examples),
        Square(radius=0.5, queries=1).run(classifier, examples),
    )
    with pytest.raises(
        ValueError, match=r"no white-box attack in the ball \('l2', 0\.5\) of 'square'"
    ):
        masking_checks(classifier, examples, [white], [free])
    with pytest.raises(ValueError, match="expected white-box attacks on embeddings, got 'square'"):
        masking_checks(classifier, examples, [free], [free])
    with pytest.raises(
        ValueError, match="expected gradient-free attacks on embeddings, got 'characters'"
    ):
        masking_checks(
            classifier, examples, [white], [CharacterEdits(queries=1).run(classifier, examples)]
        )
    with pytest.raises(ValueError, match="on 3 examples, got 2"):
        masking_checks(classifier, examples.take([0, 1]), [white])
