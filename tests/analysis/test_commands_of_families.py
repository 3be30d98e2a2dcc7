"""Whole commands on decoders, an encoder's half and shared layers, and without padding."""

from pathlib import Path

import pytest
import torch
import transformers
from tiny_study import TEXTS, WORDS, saved

from analysis.edits.records import read_edits
from analysis.ground.json_records import read_record

SIZES = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "max_position_embeddings": 12,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
CONFIGS = {
    "gpt2": lambda: transformers.GPT2Config(
        vocab_size=len(WORDS), n_embd=16, n_layer=2, n_head=2, n_positions=12, **SPECIAL
    ),
    "llama": lambda: transformers.LlamaConfig(**SIZES),
    "t5": lambda: transformers.T5Config(
        vocab_size=len(WORDS), d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2
    ),
    "albert": lambda: transformers.AlbertConfig(**SIZES, embedding_size=8),
    "fnet": lambda: transformers.FNetConfig(
        **{name: SIZES[name] for name in SIZES if name != "num_attention_heads"}
    ),
}
ONE = ("--text", "the cat sat on", "--edited", "the dog sat")


@pytest.mark.slow
@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize("family", CONFIGS)
def test_a_model_of_any_family_goes_through_whole_commands(family, odestab):
    saved(Path(family), CONFIGS[family]())
    torch.set_num_threads(1)
    Path("few.tsv").write_text("".join(TEXTS.splitlines(keepends=True)[:3]))
    analyzed = odestab(
        "analyze", family, "--texts", "few.tsv", "--layers", "1", "--dense-limit", "40", "--out",
        "run",
    )  # fmt: skip
    assert analyzed.code == 0, analyzed.err
    assert read_record(Path("run/summary.json"), dict)["not_converged"] is not None
    assert odestab("edits", family, *ONE, "--out", "edits").code == 0
    (edit,) = read_edits(Path("edits/edits.json")).edits
    assert len(edit.walks["explicit"].growth) == 2
    drawn = odestab("regions", family, "--text", "the cat sat", "--out", "regions.png")
    assert drawn.code == 0 and Path("regions.png").is_file()
