"""Attacks on word embeddings: the ball, the worst case of a linear model, and success that holds
when asked again.
"""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from tiny_classifiers import copied, labelled_by, linear, some, trained

import odestab as od
from imbert.attacks import AttackResult, EmbeddingAPGD, EmbeddingPGD, Square
from imbert.attacks.embedding_apgd import checkpoints
from imbert.attacks.embedding_attack import embedded
from imbert.attacks.embedding_ball import EmbeddingBall, embedding_ball, generator_of, mean_row_norm
from imbert.attacks.gradients import own_solver
from imbert.attacks.losses import cross_entropy, dlr, loss, margin
from imbert.attacks.square import block_share
from imbert.attacks.transferring import perturbed, perturbed_logits
from imbert.data.tasks import Examples, task
from imbert.model.classifier import Classifier
from imbert.model.stepping_model import stepping
from imbert.records import plain

NORMS = ("l2", "linf")
FLOAT32 = 1e-5


def attacks(norm: str, radius: float = 0.5, gradient: str = "auto") -> list:
    return [
        EmbeddingPGD(norm, radius, steps=5, restarts=2, gradient=gradient),
        EmbeddingAPGD(norm, radius, steps=8, gradient=gradient),
        Square(norm, radius, queries=15),
    ]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("which", [0, 1, 2])
def test_perturbations_lie_in_the_ball_and_spare_special_tokens(norm: str, which: int) -> None:
    classifier, examples = trained(), some()
    attack = attacks(norm)[which]
    result = attack.run(classifier, examples, seed=3)
    ball = embedding_ball(classifier, norm, attack.radius)
    assert result.statistics.absolute_radius == ball.radius
    touched = [i for i, one in enumerate(result.perturbations) if one is not None]
    for batch, delta in perturbed(result, examples, classifier, touched):
        assert bool((ball.size(delta) <= ball.radius * (1 + FLOAT32)).all())
        assert bool((delta[~batch.words] == 0).all())
        assert bool((delta[batch.words] != 0).any())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bert", "im-bert"])
def test_success_and_accuracy_are_those_of_asking_again(kind: str) -> None:
    classifier, examples = trained(kind), some(8)
    result = EmbeddingPGD(radius=0.7, steps=5, restarts=1).run(classifier, examples)
    right = classifier.logits(examples.texts).argmax(axis=1) == examples.labels
    assert result.changed and len(result.changed) < right.sum(), (
        "the radius should leave something to see"
    )
    assert result.clean_accuracy == right.mean()
    attacked = np.flatnonzero(right).tolist()
    wrong = (
        perturbed_logits(result, examples, classifier, attacked).argmax(axis=1)
        != examples.labels[attacked]
    )
    assert [i for i, one in zip(attacked, wrong, strict=True) if one] == result.changed
    assert result.robust_accuracy == pytest.approx((right.sum() - wrong.sum()) / len(examples))
    assert result.success_rate == pytest.approx(wrong.sum() / right.sum())
    assert [
        one.index for one in result.per_example if one.right_before and not one.right_after
    ] == result.changed


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("gradient", [True, False])
def test_a_linear_model_is_broken_exactly_where_its_worst_case_says(
    norm: str, gradient: bool
) -> None:
    """logits (−s, s), s = w·Σ e_t: the margin −2|s| rises by at most 2r‖w‖√n (l2) or 2r n ‖w‖₁
    (linf) over n words.
    """
    classifier = linear()
    examples = labelled_by(classifier, some(40))
    words = classifier.words(classifier.encode(examples.texts)).sum(dim=1).double().numpy()
    weight = classifier.model.weight.detach().double()
    logits = classifier.logits(examples.texts)
    distance = np.abs(logits[:, 1] - logits[:, 0])
    reach_of_one = (
        2 * np.sqrt(words) * float(weight.norm())
        if norm == "l2"
        else 2 * words * float(weight.abs().sum())
    )
    needed = distance / reach_of_one
    absolute = float(np.median(needed))
    hidden = classifier.model.weight.numel()
    radius = absolute / mean_row_norm(classifier) * (math.sqrt(hidden) if norm == "linf" else 1)
    broken = set(
        np.flatnonzero(needed < absolute * 0.97).tolist()
    )  # ten steps from a random start come so near
    safe = set(np.flatnonzero(needed > absolute * 1.001).tolist())
    for attack in (
        (EmbeddingPGD(norm, radius, steps=10), EmbeddingAPGD(norm, radius))
        if gradient
        else (Square(norm, radius, queries=60),)
    ):
        changed = set(attack.run(classifier, examples).changed)
        assert not changed & safe
        if gradient:
            assert changed >= broken
        else:
            assert len(changed) >= len(broken) / 4


@pytest.mark.parametrize("norm", NORMS)
def test_one_gradient_step_of_the_linear_model_reaches_the_worst_case_value(norm: str) -> None:
    classifier = linear(
        bias=100.0
    )  # far from the boundary: nothing breaks, so that the climb ends at the worst case
    examples = labelled_by(classifier, some(4))
    attack = EmbeddingPGD(norm, 1.0, steps=1, restarts=1, step_size=1.0, random_start=False)
    result = attack.run(classifier, examples)
    words = classifier.words(classifier.encode(examples.texts)).sum(dim=1).double()
    weight, radius = classifier.model.weight.detach().double(), result.statistics.absolute_radius
    gain = (
        2 * radius * (words.sqrt() * weight.norm() if norm == "l2" else words * weight.abs().sum())
    )
    for one, expected in zip(result.per_example, gain.tolist(), strict=True):
        assert one.loss_best - one.loss_first == pytest.approx(expected, rel=1e-4)


def test_apgd_never_ends_below_where_pgd_starts_nor_below_its_own_start() -> None:
    """Both begin at the same draw of the ball."""
    classifier, examples = trained(), some()
    pgd = EmbeddingPGD(radius=0.1, restarts=1, steps=5).run(classifier, examples, seed=5)
    apgd = EmbeddingAPGD(radius=0.1, steps=10, loss="margin").run(classifier, examples, seed=5)
    for a, b in zip(pgd.per_example, apgd.per_example, strict=True):
        if a.right_before:
            assert a.loss_first == pytest.approx(b.loss_first, abs=FLOAT32)
            assert b.loss_best >= a.loss_first - FLOAT32
            assert a.loss_best >= a.loss_first - FLOAT32


def test_the_best_loss_of_pgd_rises_with_its_steps() -> None:
    classifier, examples = trained(), some(6)
    made = [
        EmbeddingPGD(radius=0.1, steps=n, step_size=0.2, restarts=1).run(classifier, examples)
        for n in (1, 4, 8)
    ]
    best = [[one.loss_best for one in result.per_example] for result in made]
    assert all(a <= b + FLOAT32 and b <= c + FLOAT32 for a, b, c in zip(*best, strict=True))
    assert sum(best[2]) > sum(best[0])


@pytest.mark.parametrize("norm", NORMS)
def test_random_search_never_ends_below_its_start_and_stays_on_the_sphere(norm: str) -> None:
    result = Square(norm, 0.1, queries=30).run(trained(), some(6))
    rises = [one.loss_best - one.loss_first for one in result.per_example]
    assert min(rises) >= -FLOAT32 and max(rises) > 0
    for one in result.per_example:
        assert one.size == pytest.approx(result.statistics.absolute_radius, rel=FLOAT32)


def test_more_restarts_break_no_less() -> None:
    classifier, examples = trained(), some(16)
    one, three = (
        EmbeddingPGD(radius=0.3, steps=3, restarts=n).run(classifier, examples) for n in (1, 3)
    )
    assert set(one.changed) <= set(three.changed)


@pytest.mark.parametrize("which, budget", [(0, 12), (1, 9), (2, 15)])
def test_the_budget_of_queries_is_never_exceeded(which: int, budget: int) -> None:
    result = attacks("l2", 0.3)[which].run(trained(), some())
    assert result.queries_max <= budget
    for one in result.per_example:
        assert one.queries <= budget
        assert (one.queries == budget) or not one.right_after


def test_queries_count_the_forward_passes_of_each_example() -> None:
    classifier, examples = copied(trained()), some(8)
    rows = []
    classifier.model.register_forward_pre_hook(
        lambda module, args, kwargs: rows.append(len(kwargs["attention_mask"])), with_kwargs=True
    )
    result = EmbeddingPGD(radius=0.4, steps=4).run(classifier, examples)
    attacked = sum(one.right_before for one in result.per_example)
    assert sum(rows) - len(examples) - attacked == sum(
        one.queries for one in result.per_example
    )  # less the first and the last look


@pytest.mark.parametrize("which", [0, 1, 2])
def test_what_is_wrong_already_is_never_attacked(which: int) -> None:
    classifier, examples = trained(), some(8)
    swapped = Examples(
        examples.task,
        examples.texts,
        np.where(np.arange(8) < 4, 1 - examples.labels, examples.labels),
        examples.ids,
        "made",
    )
    result = attacks("l2")[which].run(classifier, swapped)
    for index in range(4):
        wrong = {"right_before": False, "right_after": False, "queries": 0, "edits": 0}
        assert plain(result.per_example[index]) == {"index": index, "cluster": index, **wrong}
        assert result.perturbations[index] is None
    assert result.clean_accuracy == 0.5
    none = Examples(examples.task, examples.texts, 1 - examples.labels, examples.ids, "made")
    untouched = attacks("l2")[which].run(classifier, none)
    assert (
        untouched.changed == []
        and math.isnan(untouched.success_rate)
        and untouched.to_json()["success_rate"] is None
    )


def test_the_same_seed_gives_the_same_result_whatever_the_batches() -> None:
    classifier, examples = trained(), some(8)
    other = Classifier(classifier.model, classifier.tokenizer, classifier.max_length, batch_size=3)
    attack = EmbeddingPGD(radius=0.3, steps=3, restarts=1)
    a, b = attack.run(classifier, examples, seed=1), attack.run(other, examples, seed=1)
    for x, y in zip(a.perturbations, b.perturbations, strict=True):
        torch.testing.assert_close(x, y, atol=1e-4, rtol=0)
    c = attack.run(classifier, examples, seed=2)
    assert not torch.equal(a.perturbations[0], c.perturbations[0])


@pytest.mark.slow
def test_implicit_and_unrolled_gradients_climb_to_the_same_loss() -> None:
    classifier, examples = trained("im-bert"), some(6)
    results = {
        kind: EmbeddingPGD(radius=0.15, steps=3, restarts=1, gradient=kind).run(
            classifier, examples
        )
        for kind in ("implicit", "unrolled")
    }
    assert {kind: one.statistics.gradient for kind, one in results.items()} == {
        "implicit": "implicit",
        "unrolled": "unrolled",
    }
    losses = [[one.loss_best or 0.0 for one in result.per_example] for result in results.values()]
    np.testing.assert_allclose(
        *losses, atol=0.05
    )  # the adjoint's tolerance of 1e-2, three steps long
    assert results["implicit"].statistics.solver[0].statuses == {
        "CONVERGED": sum(one.right_before for one in results["implicit"].per_example)
    }


@pytest.mark.slow
def test_the_gradient_that_suits_the_solver_is_chosen() -> None:
    quick = EmbeddingPGD(radius=0.1, steps=1, restarts=1)
    kinds = {
        kind: quick.run(trained(kind), some(3)).statistics.gradient
        for kind in ("bert", "im-bert", "truncated")
    }
    assert kinds == {"bert": "explicit", "im-bert": "implicit", "truncated": "unrolled"}


def test_the_model_is_left_as_it_was() -> None:
    classifier = copied(trained("im-bert"))
    classifier.model.train()
    before = {name: value.clone() for name, value in classifier.model.state_dict().items()}
    method = classifier.model.bert.encoder.layer[1].method
    EmbeddingPGD(steps=2, restarts=1, gradient="unrolled").run(classifier, some(4))
    assert classifier.model.training
    assert all(
        parameter.requires_grad and parameter.grad is None
        for parameter in classifier.model.parameters()
    )
    assert all(
        torch.equal(value, before[name]) for name, value in classifier.model.state_dict().items()
    )
    assert classifier.model.bert.encoder.layer[1].method is method


def test_the_record_holds_no_text_and_survives_json() -> None:
    examples = some(5)
    result = EmbeddingPGD(steps=2).run(trained(), examples)
    record = json.dumps(result.to_json(), allow_nan=False)
    assert not any(text in record for (text,) in examples.texts)
    assert set(json.loads(record)) == {one.name for one in dataclasses.fields(AttackResult)} - {
        "texts",
        "perturbations",
    }
    assert json.loads(record)["options"]["seed"] == 0


def test_the_sphere_and_the_projection_of_both_norms() -> None:
    delta = torch.randn(4, 3, 5, dtype=torch.float64, generator=generator_of(1))
    for norm in NORMS:
        ball = EmbeddingBall(norm, 0.7)
        torch.testing.assert_close(
            ball.size(ball.sphere(delta)), torch.full((4,), 0.7, dtype=torch.float64)
        )
        inside = ball.project(delta)
        assert bool((ball.size(inside) <= 0.7 + 1e-12).all())
        torch.testing.assert_close(ball.project(inside), inside)
        assert torch.equal(ball.steepest(0 * delta), 0 * delta)
        rise = (ball.steepest(delta) * delta).flatten(1).sum(dim=1)  # the dual norm of the gradient
        torch.testing.assert_close(
            rise,
            delta.flatten(1).norm(dim=1) if norm == "l2" else delta.flatten(1).abs().sum(dim=1),
        )


def test_losses_are_positive_exactly_where_the_model_is_wrong() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0], [1.0, 2.0, 0.0], [3.0, 2.9, 1.0]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 0])
    assert margin(logits, labels).tolist() == pytest.approx([-1, 1, -0.1])
    assert dlr(logits, labels).tolist() == pytest.approx([-0.5, 0.5, -0.05])
    torch.testing.assert_close(dlr(1000 * logits, labels), dlr(logits, labels))
    torch.testing.assert_close(cross_entropy(logits, labels), -torch.log_softmax(logits, 1)[:, 0])
    assert loss("dlr", 2) == ("margin", margin) and loss("dlr", 3) == ("dlr", dlr)


def test_checkpoints_and_blocks_are_those_of_the_papers() -> None:
    assert list(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert [block_share(0.8, used) for used in (0.0, 0.03, 0.9)] == [0.8, 0.1, 0.8 / 2**9]


def test_a_regression_a_wrong_model_and_wrong_options_are_refused() -> None:
    examples = some(2)
    scores = Examples(task("stsb"), (("a", "b"),), np.array([1.0]), ("0",), "made")
    with pytest.raises(ValueError, match="classification task, got the regression 'stsb'"):
        Square().run(trained(), scores)
    three = Examples(task("mnli"), (("a", "b"),), np.array([1]), ("0",), "made")
    with pytest.raises(ValueError, match="has 3 labels, got a model with 2"):
        Square().run(trained(), three)
    with pytest.raises(ValueError, match="at least 1 example, got none"):
        Square().run(trained(), examples.take([]))
    for make, message in (
        (lambda: EmbeddingPGD("l1"), "norm must be one of l2, linf, got 'l1'"),
        (lambda: EmbeddingPGD(radius=0.0), r"radius must be > 0 and finite, got 0\.0"),
        (lambda: EmbeddingPGD(steps=0), "steps must be >= 1, got 0"),
        (
            lambda: EmbeddingPGD(random_start=False),
            "restarts must be 1 without a random start, got 2",
        ),
        (lambda: EmbeddingPGD(step_size=-1.0), "step_size must be > 0"),
        (lambda: EmbeddingAPGD(loss="hinge"), "loss must be one of"),
        (
            lambda: EmbeddingAPGD(gradient="explicit"),
            "gradient must be one of auto, implicit, unrolled",
        ),
        (lambda: EmbeddingAPGD(momentum=0.0), "momentum must be > 0 and <= 1, got 0"),
        (lambda: Square(queries=0), "queries must be >= 1, got 0"),
        (lambda: Square(share=2.0), "share must be > 0 and <= 1, got 2"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def test_a_success_through_another_solver_counts_only_under_the_model_s_own() -> None:
    """Newton's method has no reverse mode: Anderson mixing is climbed through in its place."""
    classifier, examples = trained("im-bert"), some(4)
    with stepping(classifier.model, solver=od.Auto(rtol=1e-1)):
        result = EmbeddingPGD(radius=0.5, steps=3, restarts=1, gradient="unrolled").run(
            classifier, examples
        )
        wrong = (
            perturbed_logits(result, examples, classifier, [0, 1, 2, 3]).argmax(axis=1)
            != examples.labels
        )
    assert result.statistics.unconfirmed == 0 and result.changed == np.flatnonzero(wrong).tolist()
    batch = embedded(
        classifier, list(examples.texts), 1 - examples.labels, margin
    )  # asked for wrong answers, every example is wrong
    refereed = dataclasses.replace(batch, referee=own_solver(classifier))
    nothing = torch.zeros_like(batch.embeddings)
    with stepping(classifier.model, solver=od.FixedPoint(max_iterations=0, keep_last=True)):
        assert not bool((refereed.evaluate(nothing)[0] & ~batch.evaluate(nothing)[0]).any())
    assert bool(refereed.evaluate(nothing)[0].all())
