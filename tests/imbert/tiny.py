"""A BERT of a few words with random weights, its tokenizer, and sentences whose label the words
decide.
"""

from pathlib import Path

import numpy as np
import torch
import transformers

LETTERS = "abcdefghijklmnopqrstuvwxyz"
POSITIVE, NEGATIVE = (
    ("good", "great", "fine", "superb", "lovely"),
    ("bad", "awful", "poor", "dull", "dreadful"),
)
OTHERS = "the a film story actor is was very quite and not"
WORDS = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *OTHERS.split(),
    "##s",
    *POSITIVE,
    *NEGATIVE,
    *LETTERS,
    *(f"##{c}" for c in LETTERS if c != "s"),
)


def tiny_config(layers: int = 3, **options: object) -> transformers.BertConfig:
    """Hidden size 16, two heads; dropout 0.1 unless told."""
    return transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        initializer_range=0.2,
        **options,
    )


def save_tiny(folder: Path, layers: int = 3, **options: object) -> Path:
    """A pretrained checkpoint without a head, and its tokenizer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.BertModel(tiny_config(layers, **options)).save_pretrained(folder)
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    transformers.BertTokenizer(vocab=vocabulary, model_max_length=32).save_pretrained(folder)
    return folder


def sentences(count: int, seed: int = 0) -> tuple[list[str], list[int]]:
    """Sentences such as "the film is very good", and 1 for the good ones."""
    draw = np.random.default_rng(seed)
    labels = [int(one) for one in draw.integers(0, 2, count)]
    words = [str(draw.choice(POSITIVE if label else NEGATIVE)) for label in labels]
    subjects, degrees = (
        draw.choice(["film", "story", "actor"], count),
        draw.choice(["very", "quite", "not"], count),
    )
    return [
        f"the {subject} is {degree} {word}"
        for subject, degree, word in zip(subjects, degrees, words, strict=True)
    ], labels


def tokenized(folder: Path, count: int) -> dict[str, torch.Tensor]:
    """So many sentences with their labels, the first one longer than the others."""
    texts, labels = sentences(count)
    texts[0] += " and quite dull"
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(
        texts, padding=True, return_tensors="pt"
    )
    return {**tokens, "labels": torch.tensor(labels)}
