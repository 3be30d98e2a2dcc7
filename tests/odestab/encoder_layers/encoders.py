"""Small random encoders of every family, their checkpoints and batches."""

import pathlib

import torch
import transformers
from torch import Tensor, nn

VOCABULARY = 60
LENGTHS = (
    13,
    9,
    4,
)  # the longest is longer than ModernBERT's local window below, 4 tokens to either side
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "initializer_range": 0.3,
}
LAYERS = {"num_hidden_layers": 3, "max_position_embeddings": 32}
CONFIGS = {
    "bert": lambda: transformers.BertConfig(**SIZES, **LAYERS),
    "roberta": lambda: transformers.RobertaConfig(**SIZES, **LAYERS),
    "electra": lambda: transformers.ElectraConfig(**SIZES, **LAYERS, embedding_size=8),
    "distilbert": lambda: transformers.DistilBertConfig(
        vocab_size=VOCABULARY,
        dim=16,
        n_heads=2,
        hidden_dim=24,
        n_layers=3,
        max_position_embeddings=32,
        initializer_range=0.3,
    ),
    "modernbert": lambda: transformers.ModernBertConfig(
        **SIZES,
        num_hidden_layers=4,
        global_attn_every_n_layers=3,
        local_attention=8,
        **{
            f"{name}_token_id": index
            for index, name in enumerate(("pad", "bos", "eos", "cls", "sep"))
        },
    ),
    "xlm-roberta": lambda: transformers.XLMRobertaConfig(**SIZES, **LAYERS),
}
LAYER_PATHS = {"distilbert": "transformer.layer", "modernbert": "layers"}


def tiny(
    config: transformers.PretrainedConfig,
    attention: str = "eager",
    auto: type = transformers.AutoModel,
) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return (
            auto.from_config(config, attn_implementation=attention)
            .double()
            .eval()
            .requires_grad_(False)
        )


def layers_of(encoder: nn.Module) -> nn.ModuleList:
    return encoder.get_submodule(LAYER_PATHS.get(encoder.config.model_type, "encoder.layer"))


def padded(
    encoder: nn.Module, side: str = "right", lengths: tuple[int, ...] = LENGTHS
) -> dict[str, Tensor]:
    """Random tokens.

    Left-padded examples count their positions from their own first token (RoBERTa always does).
    """
    generator = torch.Generator().manual_seed(1)
    ids = torch.full((len(lengths), max(lengths)), encoder.config.pad_token_id)
    mask = torch.zeros_like(ids)
    for row, length in enumerate(lengths):
        real = slice(length) if side == "right" else slice(max(lengths) - length, None)
        ids[row, real] = torch.randint(5, VOCABULARY, (length,), generator=generator)
        mask[row, real] = 1
    batch = {"input_ids": ids, "attention_mask": mask}
    if side == "left" and "roberta" not in encoder.config.model_type:
        batch["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
    return batch


def saved(
    model: nn.Module, tokenizer: transformers.PreTrainedTokenizerBase, folder: pathlib.Path
) -> pathlib.Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def largest(difference: Tensor) -> float:
    return float(difference.abs().max())
