"""IM-BERT: BERT with implicit steps in place of layers, as models of transformers."""

from typing import Any

from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification
from transformers.models.bert.modeling_bert import (
    BertEmbeddings,
    BertEncoder,
    BertForSequenceClassification,
    BertLayer,
    BertModel,
    BertPooler,
    BertPreTrainedModel,
)

from imbert.configuration_imbert import ImBertConfig
from imbert.implicit_layer import ImplicitBertLayer
from imbert.stepping_model import SteppingModel


class ImBertEncoder(BertEncoder):
    """BERT's layers, some of them steps."""

    def __init__(self, config: ImBertConfig) -> None:
        nn.Module.__init__(self)
        self.config, steps = config, config.stepping_layers
        self.layer = nn.ModuleList([(ImplicitBertLayer if i in steps else BertLayer)(config, layer_idx=i) for i in range(config.num_hidden_layers)])


class ImBertPreTrainedModel(SteppingModel, BertPreTrainedModel):
    """What the models share."""

    config: ImBertConfig
    config_class = ImBertConfig
    _can_record_outputs = {"hidden_states": BertLayer}  # noqa: RUF012 -- transformers' own way


class ImBertModel(ImBertPreTrainedModel, BertModel):
    """The bare encoder."""

    def __init__(self, config: ImBertConfig, add_pooling_layer: bool = True) -> None:
        self.require_config(config)
        BertPreTrainedModel.__init__(self, config)
        self.gradient_checkpointing = False
        self.embeddings = BertEmbeddings(config)
        self.encoder = ImBertEncoder(config)
        self.pooler = BertPooler(config) if add_pooling_layer else None
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """As BertModel's; `attention_mask` is `(batch, tokens)`."""
        if kwargs.get("output_attentions", self.config.output_attentions) and self.config.stepping_layers:
            raise ValueError("output_attentions must be False: a step evaluates its layer many times, got True")
        return super().forward(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            **self.layer_arguments(attention_mask),
            **kwargs,
        )


class ImBertForSequenceClassification(ImBertPreTrainedModel, BertForSequenceClassification):
    """With BERT's classification or regression head."""

    def __init__(self, config: ImBertConfig) -> None:
        self.require_config(config)
        BertPreTrainedModel.__init__(self, config)
        self.num_labels = config.num_labels
        self.bert = ImBertModel(config)
        dropout = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()


AutoConfig.register(ImBertConfig.model_type, ImBertConfig)
AutoModel.register(ImBertConfig, ImBertModel)
AutoModelForSequenceClassification.register(ImBertConfig, ImBertForSequenceClassification)
