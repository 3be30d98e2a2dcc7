"""Records of conditioning, attacks and edits as their commands write them, with numbers that a test
chooses.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from analysis.conditioning.records import Condition, Drafted, Family, Input
from analysis.edits.records import Answer, Edit, Edits

LAYERS = 2
EXAMPLES = "e" * 64


def weights_of(model: int) -> str:
    return str(model) * 64


def an_input(
    index: int,
    gradient: float | None = 1.0,
    margin: float | None = 1.0,
    right: bool = True,
    drafts: dict[str, Drafted] | None = None,
    words: int = 5,
    text: str | None = None,
) -> Input:
    known = margin is not None and gradient is not None
    return Input(
        index=index,
        text=text or f"text {index}",
        words=words,
        tokens=words + 2,
        label=0,
        predicted=0 if right else 1,
        margin=margin,
        gradient=gradient,
        distance=abs(margin) / gradient if known else None,
        relative=3 * gradient / abs(margin) if known else None,
        flat=False,
        drafts={} if drafts is None else drafts,
    )


def drafted(
    least: float = 1.0, spread: float = 1.0, flipped: int = 0, growth: float = 1.0
) -> Drafted:
    return Drafted(10, spread, least, flipped, [1.0, growth, growth])


def a_condition(
    inputs: Sequence[Input], model: int = 0, families: Sequence[str] = (), **changes: Any
) -> Condition:
    entries: dict[str, Any] = {
        "model": f"models/{model}",
        "identity": {"weights": weights_of(model), "config": "c", "tokenizer": "t"},
        "labels": ["good", "bad"],
        "labels_given": True,
        "examples": EXAMPLES,
        "families": {name: Family(10, 1, None) for name in families},
        "seed": 0,
        "layers": LAYERS,
        "inputs": list(inputs),
        "versions": {},
    }
    return Condition(**entries | changes)


def an_attack(
    right: Sequence[bool], flipped: Sequence[bool], model: int = 0, attack: str = "characters"
) -> dict[str, Any]:
    """As imbert writes it, entries that nobody reads here included."""
    rows = [
        {"index": i, "right_before": bool(a), "right_after": bool(a and not b), "queries": 1}
        for i, (a, b) in enumerate(zip(right, flipped, strict=True))
    ]
    of = {"checkpoint": weights_of(model), "config": "c", "tokenizer": "t", "examples": EXAMPLES}
    return {"attack": attack, "options": {"seed": 0}, "per_example": rows, "of": of, "spent": None}


def some_edits(
    sizes: np.ndarray,
    margins: Sequence[float],
    flipped: Sequence[bool],
    originals: Sequence[int] | None = None,
    model: int = 0,
    first: np.ndarray | None = None,
) -> Edits:
    """Edits whose differences have sizes `(pairs, LAYERS + 1)`."""
    of_first = sizes if first is None else first
    clusters = range(len(sizes)) if originals is None else originals
    edits = [
        Edit(
            index=i,
            kind="typo",
            texts=(f"original {cluster}", f"edited {i}"),
            cluster=cluster,
            size_whole=sizes[i].tolist(),
            size_first=of_first[i].tolist(),
            size_read=sizes[i].tolist(),
            answer=Answer(0, float(margins[i]), -1.0 if flipped[i] else 1.0),
        )
        for i, cluster in enumerate(clusters)
    ]
    return Edits(
        model=f"models/{model}",
        identity={"weights": weights_of(model)},
        layers=LAYERS,
        edits=edits,
        left_out={},
        versions={},
    )


def written(folder: Path, name: str, record: object) -> Path:
    path = folder / f"{name}.json"
    values = record if isinstance(record, dict) else msgspec.to_builtins(record)
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def a_study(folder: Path, models: int = 2, count: int = 120, seed: int = 0) -> list[Path]:
    """Conditions of some models and their attacks by characters, words and pgd: gradients tell who
    flips, margins do not.
    """
    random = np.random.default_rng(seed)
    paths = []
    for model in range(models):
        gradient = np.exp(random.normal(size=count))
        margin = random.uniform(0.5, 3.0, count)
        right = random.random(count) < 0.9
        unstable = random.random(count) < 0.2
        inputs = [
            an_input(
                i,
                float(gradient[i]),
                float(margin[i] if right[i] else -margin[i]),
                bool(right[i]),
                {
                    "characters": drafted(
                        least=float(margin[i] - gradient[i]),
                        spread=float(gradient[i]),
                        flipped=3 if unstable[i] else 0,
                        growth=float(random.uniform(1, 2)),
                    )
                },
                words=int(random.integers(3, 30)),
            )
            for i in range(count)
        ]
        condition = a_condition(inputs, model, ["characters"])
        paths.append(written(folder, f"condition-{model}", condition))
        for attack in ("characters", "words", "pgd"):
            flipped = np.log(gradient) + random.logistic(scale=0.5, size=count) > 0
            record = an_attack(right, flipped, model, attack)
            paths.append(written(folder, f"{attack}-{model}", record))
    return paths
