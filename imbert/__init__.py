"""IM-BERT: transformers models whose layers are implicit steps of a differential equation, solved
by odestab.
"""

from imbert.model.configuration_imbert import ImBertConfig, ImElectraConfig, ImRobertaConfig
from imbert.model.modeling_imbert import ImBertForSequenceClassification, ImBertModel
from imbert.model.modeling_imkin import (
    ImElectraForSequenceClassification,
    ImElectraModel,
    ImRobertaForSequenceClassification,
    ImRobertaModel,
)
from imbert.model.stepping_model import implicit_layers, stepping

__all__ = [
    "ImBertConfig",
    "ImBertForSequenceClassification",
    "ImBertModel",
    "ImElectraConfig",
    "ImElectraForSequenceClassification",
    "ImElectraModel",
    "ImRobertaConfig",
    "ImRobertaForSequenceClassification",
    "ImRobertaModel",
    "implicit_layers",
    "stepping",
]
