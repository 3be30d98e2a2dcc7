"""Which models are known, and what is special about them."""

from typing import Any

from torch import nn

BERT_KIN = (
    "bert",
    "roberta",
    "electra",
)  # layers of one structure, which many other families share
T5_KIN = ("t5", "mt5", "umt5", "longt5")
# Where each family keeps its layers. Any other model is searched for them, and what is found is
# checked against its own forward.
LAYER_PATHS = (
    dict.fromkeys(BERT_KIN, "encoder.layer")
    | dict.fromkeys(T5_KIN, "block")
    | {"distilbert": "transformer.layer", "modernbert": "layers"}
)
# Their layers mix padding into real tokens: convolutions over tokens, Fourier transforms.
PADDING_COUPLED = ("convbert", "fnet")
# Names of tables of positions, the last part of a path.
POSITION_TABLES = ("position_embeddings", "position_embedding", "embed_positions", "wpe")
TEXT_TOWERS = ("clip", "clip_text_model")


def shared_layers(model: Any) -> list[nn.Module] | None:
    """The layers of a model that runs the same ones again and again, once for each run; None of any
    other.

    ALBERT has groups of layers, each run several times.
    """
    if model.config.model_type != "albert":
        return None
    groups = model.encoder.albert_layer_groups
    depth = model.config.num_hidden_layers
    return [
        layer
        for position in range(depth)
        for layer in groups[int(position / (depth / len(groups)))].albert_layers
    ]


def is_decoder(config: Any) -> bool:
    """Whether a text model attends to what came before alone."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    kind = config.model_type
    causal = kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    return causal and kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES


def require_text_model(config: Any, name: str) -> None:
    """Refuse a model type of transformers that takes no text, or a cross-attending decoder.

    A model type from elsewhere is taken at its word.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES,
    )

    kind = config.model_type
    texts = (
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES,
        TEXT_TOWERS,
    )
    if kind in CONFIG_MAPPING_NAMES and not any(kind in known for known in texts):
        raise ValueError(
            f"{name} must be a model of text such as bert, gpt2, t5 or clip, got model_type "
            f"{kind!r}"
        )


def takes_padding(model: nn.Module) -> bool:
    """Whether a padded batch gives the states of its texts alone; False where the layers mix
    padding into real tokens: those models are traced in batches of texts of one length.

    >>> from transformers import FNetConfig, FNetModel
    >>> od.takes_padding(FNetModel(FNetConfig(hidden_size=8, num_hidden_layers=1)))
    False
    """
    return getattr(getattr(model, "config", None), "model_type", None) not in PADDING_COUPLED


def position_limit(encoder: nn.Module) -> int | None:
    """The most tokens that a model takes; None where it declares no limit.

    A table of position embeddings decides, less the rows up to the padding index where there is
    one, or up to its offset: RoBERTa's and OPT's families count from the row after it. Without a
    table (rotary positions) it is what the configuration declares.

    >>> from transformers import BertConfig, BertModel
    >>> small = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    >>> od.position_limit(BertModel(small))
    512
    """
    whole: Any = encoder
    named = [
        module
        for name, module in whole.named_modules()
        if name.split(".")[-1] in POSITION_TABLES and isinstance(module, nn.Embedding)
    ]
    rows = [table.num_embeddings - _first_row(table) for table in named]
    declared = getattr(getattr(whole, "config", None), "max_position_embeddings", None)
    # XLNet says −1: there is no limit
    return min(rows, default=declared if declared is not None and declared > 0 else None)


def _first_row(table: nn.Embedding) -> int:
    """The row of a table's first position."""
    offset = getattr(table, "offset", None)
    if isinstance(offset, int):
        return offset
    return 0 if table.padding_idx is None else table.padding_idx + 1
