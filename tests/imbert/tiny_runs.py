"""A folder of data that tiny models can learn, and tiny runs on it."""

import gzip
import json
from pathlib import Path
from typing import Any

from tiny import sentences

from imbert.study.plan import StudyConfig, study_config
from imbert.training.run_config import RunConfig, run_config

MODELS = {"bert": {}, "im-bert": {"kind": "im-bert", "implicit_layers": [2]}}
WORSE = {"very": "quite", "quite": "not", "not": "very"}


def write_data(folder: Path, rows: int = 96) -> Path:
    """SST-2 in the layout of the prepared data, and an AdvGLUE file of pairs and of sentences
    without an original.
    """
    (folder / "glue").mkdir(parents=True)
    for split, count, seed in (("train", rows, 0), ("dev", 24, 1)):
        lines = [
            f"{i}\t{text}\t{label}"
            for i, (text, label) in enumerate(zip(*sentences(count, seed), strict=True))
        ]
        with gzip.open(folder / "glue" / f"sst2_{split}.tsv.gz", "wt") as file:
            file.write("\n".join(["idx\tsentence\tlabel", *lines]) + "\n")
    pairs = [
        {
            "sentence": _edited(text),
            "original_sentence": text,
            "label": label,
            "data_construction": "word",
            "method": "swap",
            "idx": i,
        }
        for i, (text, label) in enumerate(zip(*sentences(12, 2), strict=True))
    ]
    human = [
        {
            "sentence": text,
            "label": label,
            "data_construction": "human",
            "method": "CheckList",
            "idx": 100 + i,
        }
        for i, (text, label) in enumerate(zip(*sentences(4, 3), strict=True))
    ]
    (folder / "advglue.json").write_text(json.dumps({"sst2": pairs + human}))
    return folder


def tiny_tables(checkpoint: Path, **sections: dict[str, Any]) -> dict[str, Any]:
    """Tables of a run of three short epochs; what is given replaces single keys."""
    tables: dict[str, Any] = {
        "model": {"checkpoint": str(checkpoint)},
        "data": {"source": "glue", "size": 48, "validation": 16, "max_length": 16},
        "train": {"epochs": 3, "batch_size": 16, "learning_rate": 3e-3, "device": "cpu"},
        "evaluate": {"advglue": "advglue.json"},
    }
    return {name: {**values, **sections.get(name, {})} for name, values in tables.items()}


def tiny_run(checkpoint: Path, **sections: dict[str, Any]) -> RunConfig:
    """The run of those tables."""
    return run_config(tiny_tables(checkpoint, **sections))


def tiny_study(checkpoint: Path, **changes: Any) -> StudyConfig:
    """A study of two models and two seeds; what is given replaces single keys."""
    tables = tiny_tables(checkpoint, train={"epochs": 1})
    models = {
        name: {"checkpoint": str(checkpoint), **model}
        for name, model in (changes.pop("models", None) or MODELS).items()
    }
    head = {"name": "tiny", "seeds": [0, 1], "sizes": [32], **changes.pop("study", {})}
    attacks = {
        "examples": 4,
        "kinds": ["characters", "pgd"],
        "masking": False,
        **changes.pop("attacks", {}),
    }
    question = {"question": changes.pop("question")} if "question" in changes else {}
    data = {name: value for name, value in tables["data"].items() if name != "size"}
    return study_config(
        {
            "study": head,
            "models": models,
            "data": data,
            "train": tables["train"],
            "evaluate": tables["evaluate"],
            "attacks": attacks,
            **question,
        }
    )


def _edited(text: str) -> str:
    words = text.split()
    return " ".join([*words[:3], WORSE[words[3]], *words[4:]])
