"""Which encoders are known, and what is special about them."""

from typing import Any

from torch import nn

BERT_KIN = (
    "bert",
    "roberta",
    "electra",
)  # layers of one structure, which many other families share
# Where each family keeps its layers. Any other encoder is searched for them, and what is found is
# checked against its own forward.
LAYER_PATHS = dict.fromkeys(BERT_KIN, "encoder.layer") | {
    "distilbert": "transformer.layer",
    "modernbert": "layers",
}
DOUBLE_THROUGHOUT = (
    *BERT_KIN,
    "distilbert",
)  # others may round to float32 inside a layer, as ModernBERT does


def require_encoder(config: Any, name: str) -> None:
    """Refuse a model type of transformers that has no masked-language-model head.

    A model type from elsewhere is taken at its word.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    kind = config.model_type
    unmasked = kind in CONFIG_MAPPING_NAMES and kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    encoder_decoder = getattr(config, "is_encoder_decoder", False)
    decoder = getattr(config, "is_decoder", False) or (
        unmasked and kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    )
    if encoder_decoder or decoder or unmasked:
        came = (
            "an encoder-decoder"
            if encoder_decoder
            else "a decoder"
            if decoder
            else "no text encoder"
        )
        raise ValueError(
            f"{name} must be an encoder such as "
            f"{', '.join(LAYER_PATHS)}, got model_type {kind!r}, {came}"
        )


def position_limit(encoder: nn.Module) -> int | None:
    """The most tokens that an encoder takes; None where it declares no limit.

    A table of position embeddings decides, less the rows up to the padding index where there is
    one: RoBERTa's family counts from the row after it. Without a table (rotary positions) it is
    what the configuration declares.

    >>> from transformers import BertConfig, BertModel
    >>> small = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    >>> od.position_limit(BertModel(small))
    512
    """
    whole: Any = encoder
    named = [
        module
        for name, module in whole.named_modules()
        if name.split(".")[-1] == "position_embeddings"
    ]
    tables = [module for module in named if isinstance(module, nn.Embedding)]
    rows = [
        table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
        for table in tables
    ]
    return min(rows, default=getattr(whole.config, "max_position_embeddings", None))
