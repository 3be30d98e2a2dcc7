"""Names for transformers' objects whose attributes depend on the checkpoint, so that no static type
knows them.
"""

from typing import Any, TypeAlias

Model: TypeAlias = Any  # a PreTrainedModel, or what behaves like one
Tokenizer: TypeAlias = Any  # a PreTrainedTokenizerBase
Config: TypeAlias = Any  # a PreTrainedConfig, or an entry of one
