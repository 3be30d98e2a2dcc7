"""Tiny random classifiers, saved as checkpoints."""

from pathlib import Path

import torch
import transformers
from tiny_study import saved, tiny_config
from transformers.utils import logging as bars

TABLE = """\
text\tlabel
the cat sat on the mat\tgood
the dog ran\tbad
cat\tgood
the mats ran on the dog\tbad
dog sat\tGOOD
"""


def save_classifier(folder: Path, outputs: int = 2, head: float | None = None) -> Path:
    """Two layers of hidden size 16; texts of at most 12 tokens; `head` times its random weights,
    and a bias of 1, 0, ….
    """
    names = {0: "bad", 1: "good"} if outputs == 2 else {i: f"class {i}" for i in range(outputs)}
    config = tiny_config(
        initializer_range=0.3,
        id2label=names,
        label2id={name: output for output, name in names.items()},
    )
    bars.disable_progress_bar()
    saved(folder, config, transformers.AutoModelForSequenceClassification)
    if head is not None:
        auto = transformers.AutoModelForSequenceClassification
        model = auto.from_pretrained(folder, use_safetensors=True)
        with torch.no_grad():
            model.classifier.weight *= head
            model.classifier.bias.copy_(torch.eye(outputs)[0])
        model.save_pretrained(folder)
    bars.enable_progress_bar()
    return folder
