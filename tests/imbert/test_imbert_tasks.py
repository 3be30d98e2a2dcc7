"""The catalogue of tasks, and examples."""

import hashlib
import json

import numpy as np
import pytest

from imbert.data.tasks import TASKS, Examples, Task, expected_labels, task


def examples(labels: list[float], name: str = "sst2") -> Examples:
    rows = range(len(labels))
    return Examples(
        task(name),
        tuple((f"text {i}",) for i in rows),
        np.array(labels),
        tuple(map(str, rows)),
        "made up",
    )


def test_there_are_nine_tasks_whose_labels_and_names_agree() -> None:
    assert sorted(TASKS) == sorted(
        ("sst2", "mrpc", "qqp", "stsb", "mnli", "qnli", "rte", "cola", "wnli")
    )
    assert all(
        len(one.label_names) == (one.labels if one.labels > 1 else 0) for one in TASKS.values()
    )
    assert [one.name for one in TASKS.values() if one.labels == 1] == ["stsb"]
    assert [one.name for one in TASKS.values() if len(one.keys) == 1] == ["sst2", "cola"]


def test_entailment_is_the_first_class_except_for_wnli() -> None:
    assert all(TASKS[name].label_names[0] == "entailment" for name in ("mnli", "qnli", "rte"))
    assert TASKS["wnli"].label_names == ("not_entailment", "entailment")


def test_unknown_task_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"task must be one of sst2, mrpc, .*, got 'sst3'"):
        task("sst3")


@pytest.mark.parametrize(
    ("keys", "labels", "metrics"),
    [((), 2, ("accuracy",)), (("a",), 0, ("accuracy",)), (("a",), 2, ("recall",)), (("a",), 2, ())],
)
def test_a_task_is_checked(keys: tuple[str, ...], labels: int, metrics: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="task 'odd'"):
        Task("odd", keys, labels, metrics)


def test_take_keeps_text_label_and_id_together() -> None:
    chosen = examples([0, 1, 1, 0]).take([2, 0])
    assert len(chosen) == 2
    assert chosen.texts == (("text 2",), ("text 0",))
    assert chosen.ids == ("2", "0")
    np.testing.assert_array_equal(chosen.labels, [1, 0])
    assert len(chosen.take([])) == 0


def test_digest_is_of_texts_and_labels_in_order_and_of_nothing_else() -> None:
    one = examples([0, 1])
    assert (
        one.digest
        == hashlib.sha256(
            (json.dumps([["text 0"], 0]) + json.dumps([["text 1"], 1])).encode()
        ).hexdigest()
    )
    assert one.take([1, 0]).digest != one.digest
    assert examples([0, 0]).digest != one.digest
    assert Examples(one.task, one.texts, one.labels, ("x", "y"), "elsewhere").digest == one.digest


def test_label_types() -> None:
    assert examples([0, 1]).labels.dtype == np.int64
    pairs = Examples(task("stsb"), (("a", "b"),), np.array([3]), ("0",), "made up")
    assert pairs.labels.dtype == np.float64


@pytest.mark.parametrize("label", [2, -1, 0.5, float("nan")])
def test_labels_out_of_range_are_refused(label: float) -> None:
    with pytest.raises(
        ValueError, match=r"labels of sst2 must be one of 0, 1 \(negative, positive\), got"
    ):
        examples([1, label])


@pytest.mark.parametrize("score", [-0.1, 5.01, float("inf"), float("nan")])
def test_scores_out_of_range_are_refused(score: float) -> None:
    with pytest.raises(ValueError, match=r"a score in \[0, 5\]"):
        Examples(task("stsb"), (("a", "b"),), np.array([score]), ("0",), "made up")
    assert expected_labels(Task("plain", ("text",), 2, ("accuracy",))) == "one of 0, 1"


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="equally many, got 1"):
        Examples(task("sst2"), (("a",),), np.array([0, 1]), ("0",), "made up")
    with pytest.raises(ValueError, match="must have 2 texts"):
        Examples(task("rte"), (("a",),), np.array([0]), ("0",), "made up")


def test_examples_of_equal_texts_are_one_cluster() -> None:
    texts = (("a", "b"), ("a", "c"), ("a", "b"), ("b", "a"), ("a", "c"))
    examples = Examples(task("rte"), texts, np.zeros(5), tuple("vwxyz"), "here")
    assert examples.clusters.tolist() == [0, 1, 0, 3, 1] and len(examples.take([]).clusters) == 0
