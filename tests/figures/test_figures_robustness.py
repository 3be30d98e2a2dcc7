"""The figure of a study shows every measured number with its interval and its seeds, and says what
was not measured.
"""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from figures import robustness, style
from figures.records import Study, typed

MODELS = (("bert", "explicit"), ("published", "truncated"), ("im-bert", "implicit"))


def interval(values: list[float]) -> dict[str, Any]:
    mean, width = float(np.mean(values)), 0.05 if len(values) > 1 else None
    return {
        "values": values,
        "mean": mean,
        "low": mean - width if width else None,
        "high": mean + width if width else None,
        "n": len(values),
    }


def model(name: str, role: str, seeds: int, attacked: bool) -> dict[str, Any]:
    start = 0.5 + 0.05 * len(name) / 10
    measures = {
        key: interval([start + 0.01 * seed + 0.05 * i for seed in range(seeds)])
        for i, key in enumerate(robustness.MEASURES)
    }
    attacks = {
        kind: {
            "clean_accuracy": interval([0.8] * seeds),
            "robust_accuracy": interval([0.3] * seeds),
        }
        for kind in ("pgd", "words")
    }
    return {
        "name": name,
        "kind": "bert",
        "role": role,
        "seeds": list(range(seeds)),
        "measures": measures,
        "attacks": attacks if attacked else {},
        "masking": {},
        "against_baseline": None,
    }


def study(seeds: int = 3, attacked: bool = True) -> dict[str, Any]:
    models = [model(name, role, seeds, attacked) for name, role in MODELS]
    return {
        "schema": 1,
        "name": "a study",
        "baseline": "bert",
        "study": {"models": {}},
        "missing": [],
        "warnings": [],
        "groups": [
            {
                "name": "sst2-1000",
                "task": "sst2",
                "size": 1000,
                "metric": "accuracy",
                "chance": 0.5,
                "models": models,
            }
        ],
    }


def compared(**entries: Any) -> dict[str, Any]:
    found = {"hierarchical": {"mean": 0.02, "low": -0.01, "high": 0.05}, "pairs": [131] * 3}
    return {"all": found | entries}


def told(record: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> str:
    """The finding on the first group, nothing drawn."""
    monkeypatch.setattr(robustness, "draw", lambda record: None)
    monkeypatch.setattr(robustness, "shown", lambda *entries: None)
    return robustness.tell(typed(record, Study, "record"), Path()).groups[0][0]


def drawn(record: dict[str, Any]) -> Figure:
    return robustness.draw(typed(record, Study, "record"))


def centres(figure: Figure, panel: int, colour: str, face: str) -> list[float]:
    lines = [
        line
        for line in figure.axes[panel].lines
        if line.get_color() == colour and line.get_markerfacecolor() == face
    ]
    return [float(y) for line in lines for y in np.asarray(line.get_ydata())]


def test_every_mean_is_a_marker_at_its_height() -> None:
    record = study()
    figure = drawn(record)
    for one in record["groups"][0]["models"]:
        colour = style.COLOURS[one["role"]]
        assert centres(figure, 0, colour, colour) == pytest.approx(
            [one["measures"][key]["mean"] for key in robustness.MEASURES]
        )
        assert centres(figure, 1, colour, colour) == pytest.approx([0.3, 0.3])
        assert centres(figure, 1, colour, "white") == pytest.approx([0.8, 0.8])


def test_a_ladder_is_joined_rung_by_rung_and_named_by_its_radii() -> None:
    record = study()
    robust = {"pgd-0.1": 0.5, "pgd-0.3": 0.2, "pgd-1": 0.0, "words": 0.3}
    for one in record["groups"][0]["models"]:
        one["attacks"] = {
            name: {"clean_accuracy": interval([0.8] * 3), "robust_accuracy": interval([value] * 3)}
            for name, value in robust.items()
        }
    panel = drawn(record).axes[1]
    assert [text.get_text() for text in panel.get_xticklabels()] == [
        "pgd\nr = 0.1",
        "pgd\nr = 0.3",
        "pgd\nr = 1",
        "words",
    ]
    joined = [
        line for line in panel.lines if line.get_marker() == "None" and len(line.get_xdata()) == 3
    ]
    assert len(joined) == len(MODELS) and all(
        list(line.get_ydata()) == pytest.approx([0.5, 0.2, 0.0]) for line in joined
    )


def test_dev_stands_before_the_adversarial_columns() -> None:
    labels = [text.get_text() for text in drawn(study()).axes[0].get_xticklabels()]
    assert labels[0] == "dev" and labels == list(robustness.MEASURES.values())


def test_every_seed_is_a_dot() -> None:
    dots = [line for line in drawn(study(seeds=3)).axes[0].lines if line.get_marker() == "."]
    assert sum(len(np.asarray(line.get_ydata())) for line in dots) == 3 * len(MODELS) * len(
        robustness.MEASURES
    )


def test_no_attack_no_panel() -> None:
    assert len(drawn(study(attacked=False)).axes) == 1


def test_one_seed_and_a_missing_measure_are_drawn_without_an_interval() -> None:
    record = study(seeds=1)
    record["groups"][0]["models"][0]["measures"]["adversarial"] = None
    colour = style.COLOURS["explicit"]
    assert np.isnan(centres(drawn(record), 0, colour, colour)).sum() == 1


def test_nothing_measured_is_said() -> None:
    record = study(attacked=False)
    for one in record["groups"][0]["models"]:
        one["seeds"], one["measures"] = [], dict.fromkeys(robustness.MEASURES)
    texts = [text.get_text() for text in drawn(record).axes[0].texts]
    assert "not measured in this run" in texts


def test_a_group_each_has_its_panels_and_one_legend() -> None:
    record = study()
    record["groups"].append(copy.deepcopy(record["groups"][0]) | {"size": 500})
    figure = drawn(record)
    assert len(figure.axes) == 4 and len(figure.legends) == 1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "bert (3 seeds)",
        "published (3 seeds)",
        "im-bert (3 seeds)",
    ]


def test_equal_records_give_equal_bytes(tmp_path: Path) -> None:
    first, second = (
        style.save(drawn(study()), tmp_path / name, "robustness") for name in ("a", "b")
    )
    assert all(first[kind].read_bytes() == second[kind].read_bytes() for kind in first)


def test_fewer_attacked_seeds_than_trained_ones_are_counted_model_by_model() -> None:
    record = study(seeds=3)
    attacks = record["groups"][0]["models"][1]["attacks"]
    attacks["words"] = {key: interval(one["values"][:1]) for key, one in attacks["words"].items()}
    texts = [text.get_text() for text in drawn(record).axes[1].texts]
    assert [text for text in texts if text.startswith("n =")] == ["n = 3, 1, 3"]
    del attacks["words"]
    assert "n = 3, 0, 3" in [text.get_text() for text in drawn(record).axes[1].texts]


NOT_KNOWN = "(which pairs share a sentence is not known)"


@pytest.mark.parametrize(
    ("entries", "how"),
    [
        ({"clusters": 87, "resampled": "seeds and clusters"}, "Resampling seeds and sentences"),
        ({"clusters": 87, "resampled": "clusters"}, "Resampling sentences alone, of one seed"),
        ({"clusters": None, "resampled": "seeds and clusters"}, f"seeds and pairs {NOT_KNOWN}"),
        ({}, f"Resampling seeds and pairs {NOT_KNOWN}"),
        ({"pairs": [131]}, f"Resampling pairs alone, of one seed {NOT_KNOWN}"),
        (
            {"clusters": 87, "resampled": "Student's t over two seeds, or clusters if wider"},
            "intervals. Student's t over two seeds, or sentences if wider",
        ),
    ],
)
def test_an_interval_says_what_its_record_resampled(
    entries: dict[str, Any], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = study()
    record["groups"][0]["models"][1]["against_baseline"] = compared(**entries)
    assert f"{how}: published 2 points (−1 to 5)." in told(record, monkeypatch)


def test_intervals_that_resample_alike_stand_together(monkeypatch: pytest.MonkeyPatch) -> None:
    record = study()
    seeds = {"clusters": 87, "resampled": "seeds and clusters"}
    for one, entries in zip(
        record["groups"][0]["models"],
        (seeds, {"clusters": 87, "resampled": "clusters"}, seeds),
        strict=True,
    ):
        one["against_baseline"] = compared(**entries)
    assert told(record, monkeypatch).endswith(
        "with 95 % intervals. Resampling seeds and sentences: bert 2 points (−1 to 5); "
        "im-bert 2 points (−1 to 5). Resampling sentences alone, of one seed: "
        "published 2 points (−1 to 5)."
    )
