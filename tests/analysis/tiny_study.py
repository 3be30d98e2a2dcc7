"""A study of a few words, and the `odestab` command in process."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import transformers

from analysis.__main__ import main

WORDS = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "the",
    "cat",
    "dog",
    "sat",
    "ran",
    "on",
    "mat",
    "mats",
    "##s",
    "##z",
)
TEXTS = """\
the cat sat
the dog ran on the mat
typo\tthe cat ran\tthe dog ran
typo\tthe dog sat on the mat\tthe cat sat on the mat
synonym\tthe mat\tthe mats on
unknown\ta cat\tan cat
"""
STUDY = ("--texts", "texts.tsv", "--dense-limit", "160", "--out", "run")


def tiny_config(**options: Any) -> transformers.BertConfig:
    """Of a BERT of two layers of hidden size 16; texts of at most 12 tokens."""
    sizes = {
        "vocab_size": len(WORDS),
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 12,
    }
    return transformers.BertConfig(**{**sizes, **options})


class Outcome(NamedTuple):
    """What a command did: exit code, stdout, and the lines of stderr that are no progress."""

    code: int
    out: str
    err: list[str]


class Command:
    """`odestab` in process, in a folder that holds `bert` and `texts.tsv`."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: object) -> Outcome:
        self.capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = self.capsys.readouterr()
        return Outcome(
            code,
            out,
            [
                line
                for line in re.split(r"[\r\n]+", err)
                if line.strip() and not line.startswith("measuring")
            ],
        )

    def analyze(self, *arguments: object) -> Outcome:
        return self("analyze", "bert", *STUDY, *arguments)

    def refuses(self, arguments: tuple[object, ...] | list[object], match: str) -> str:
        """Exit code 2 and one line on stderr, which is returned."""
        outcome = self(*arguments)
        assert outcome.code == 2 and outcome.out == ""
        assert len(outcome.err) == 1, outcome.err
        assert re.fullmatch(f"odestab: error: .*{match}.*", outcome.err[0]), outcome.err[0]
        return outcome.err[0]


def saved(
    folder: Path, config: transformers.PretrainedConfig, auto: type = transformers.AutoModel
) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = auto.from_config(config)
    model.save_pretrained(folder)
    transformers.BertTokenizer(
        vocab={word: index for index, word in enumerate(WORDS)}, model_max_length=12
    ).save_pretrained(folder)
    return folder
