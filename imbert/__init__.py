"""IM-BERT: transformers models whose layers are implicit steps of a differential equation, solved by odestab."""

from imbert.configuration_imbert import ImBertConfig
from imbert.modeling_imbert import ImBertForSequenceClassification, ImBertModel
from imbert.stepping_model import implicit_layers, stepping

__all__ = ["ImBertConfig", "ImBertForSequenceClassification", "ImBertModel", "implicit_layers", "stepping"]
