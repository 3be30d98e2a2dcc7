"""Tiny random models of many families, each of three layers of hidden size 16."""

from collections.abc import Callable, Mapping

import torch
import transformers
from encoders import VOCABULARY, padded
from torch import Tensor, nn

SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
OLD_SIZES = {
    "vocab_size": VOCABULARY,
    "n_embd": 16,
    "n_layer": 3,
    "n_head": 2,
    "n_positions": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GROUPED = {"num_key_value_heads": 1}  # two heads of queries share one of keys
DISENTANGLED = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}
ENCODER_DECODER = {
    "vocab_size": VOCABULARY,
    "d_model": 16,
    "encoder_layers": 3,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
}
IMAGES = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "image_size": 8,
    "patch_size": 4,
}
TOWER = {name: value for name, value in SIZES.items() if name != "max_position_embeddings"}


def clip() -> transformers.CLIPConfig:
    text = {**TOWER, "max_position_embeddings": 32}
    return transformers.CLIPConfig(text_config=text, vision_config=IMAGES, projection_dim=8)


Config = Callable[[], transformers.PretrainedConfig]
TEXT: Mapping[str, Config] = {
    "albert": lambda: transformers.AlbertConfig(**SIZES, embedding_size=8),
    "albert in groups": lambda: transformers.AlbertConfig(
        **SIZES, embedding_size=8, num_hidden_groups=3, inner_group_num=2
    ),
    "bart": lambda: transformers.BartConfig(**ENCODER_DECODER),
    "camembert": lambda: transformers.CamembertConfig(**SIZES),
    "clip": clip,
    "deberta": lambda: transformers.DebertaConfig(**SIZES, **DISENTANGLED),
    "deberta-v2": lambda: transformers.DebertaV2Config(
        **SIZES, **DISENTANGLED, position_buckets=8, norm_rel_ebd="layer_norm", share_att_key=True
    ),
    "falcon": lambda: transformers.FalconConfig(
        **{name: SIZES[name] for name in SIZES if name != "intermediate_size"}
    ),
    "gemma": lambda: transformers.GemmaConfig(**SIZES, **GROUPED, head_dim=8),
    "gemma2": lambda: transformers.Gemma2Config(**SIZES, **GROUPED, head_dim=8),
    "gpt2": lambda: transformers.GPT2Config(**OLD_SIZES),
    "gpt_neox": lambda: transformers.GPTNeoXConfig(**SIZES),
    "gptj": lambda: transformers.GPTJConfig(**OLD_SIZES, rotary_dim=4),
    "llama": lambda: transformers.LlamaConfig(**SIZES, **GROUPED),
    "mistral": lambda: transformers.MistralConfig(**SIZES, **GROUPED, sliding_window=4),
    "mpnet": lambda: transformers.MPNetConfig(**SIZES),
    "nomic_bert": lambda: transformers.NomicBertConfig(**SIZES),
    "opt": lambda: transformers.OPTConfig(
        **SIZES, ffn_dim=24, word_embed_proj_dim=16, do_layer_norm_before=True
    ),
    "phi": lambda: transformers.PhiConfig(**SIZES),
    "qwen2": lambda: transformers.Qwen2Config(**SIZES, **GROUPED),
    "qwen3": lambda: transformers.Qwen3Config(**SIZES, **GROUPED, head_dim=8),
    "t5": lambda: transformers.T5Config(
        vocab_size=VOCABULARY, d_model=16, d_kv=8, d_ff=24, num_layers=3, num_heads=2
    ),
}
UNPADDED: Mapping[str, Config] = {
    "convbert": lambda: transformers.ConvBertConfig(**SIZES, embedding_size=8),
    "fnet": lambda: transformers.FNetConfig(
        **{name: SIZES[name] for name in SIZES if name != "num_attention_heads"}
    ),
}
IMAGE: Mapping[str, Config] = {
    "beit": lambda: transformers.BeitConfig(**IMAGES),
    "clip images": clip,
    "dinov2": lambda: transformers.Dinov2Config(
        **{name: IMAGES[name] for name in IMAGES if name != "intermediate_size"}
    ),
    "siglip": lambda: transformers.SiglipVisionConfig(**IMAGES),
    "vit": lambda: transformers.ViTConfig(**IMAGES),
}
FAMILIES = {**TEXT, **UNPADDED, **IMAGE}
LENGTHS = (7, 4)


def batch_of(
    family: str, model: nn.Module, lengths: tuple[int, ...] = LENGTHS
) -> dict[str, Tensor]:
    """Texts padded on the right, of one length where a family takes no padding; images."""
    if family in IMAGE:
        generator = torch.Generator().manual_seed(1)
        return {"pixel_values": torch.randn(2, 3, 8, 8, generator=generator, dtype=torch.float64)}
    alike = (max(lengths),) * len(lengths)
    return padded(part(family, model), lengths=alike if family in UNPADDED else lengths)


def part(family: str, model: nn.Module) -> nn.Module:
    """What is run of a model, chosen by hand."""
    if family.startswith("clip"):
        return model.vision_model if family in IMAGE else model.text_model
    return model.get_encoder() if family in ("t5", "bart") else model
