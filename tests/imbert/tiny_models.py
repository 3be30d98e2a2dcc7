"""Classifiers of two labels on a tiny checkpoint: plain BERT, and one with implicit steps."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

import imbert


def plain(folder: Path, **options: Any) -> Any:
    """BERT as transformers has it."""
    torch.manual_seed(0)
    return transformers.BertForSequenceClassification.from_pretrained(
        folder, num_labels=2, **options
    )


def implicit(
    folder: Path, kind: Any = imbert.ImBertForSequenceClassification, **options: Any
) -> Any:
    """IM-BERT, or one of its kin; equal calls have equal heads."""
    torch.manual_seed(0)
    return kind.from_pretrained(folder, **{"num_labels": 2, **options})


def run(model: Any, batch: Mapping[str, Tensor], seed: int = 1, **options: Any) -> Any:
    """Its output on a batch; equal seeds draw equal dropout."""
    torch.manual_seed(seed)
    return model(**batch, **options)
