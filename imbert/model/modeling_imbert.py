"""IM-BERT: BERT with implicit steps in place of layers, as models of transformers."""

from torch import nn
from transformers import AutoModel, AutoModelForSequenceClassification
from transformers.models.bert.modeling_bert import (
    BertEmbeddings,
    BertEncoder,
    BertForSequenceClassification,
    BertLayer,
    BertModel,
    BertPooler,
    BertPreTrainedModel,
)

from imbert.model.configuration_imbert import ImBertConfig
from imbert.model.implicit_layer import ImplicitBertLayer
from imbert.model.stepping_model import SteppingBase, SteppingEncoder, SteppingModel


class ImBertEncoder(SteppingEncoder, BertEncoder):
    """BERT's layers, some of them steps."""

    plain = BertLayer
    step = ImplicitBertLayer


class ImBertPreTrainedModel(SteppingModel, BertPreTrainedModel):
    """What the models share."""

    config: ImBertConfig
    config_class = ImBertConfig
    _can_record_outputs = {"hidden_states": BertLayer}  # noqa: RUF012 -- transformers' own way


class ImBertModel(ImBertPreTrainedModel, SteppingBase, BertModel):
    """The bare encoder.

    >>> small = ImBertConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=2)
    >>> model = ImBertModel(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).last_hidden_state.shape
    torch.Size([1, 3, 8])
    """

    def __init__(self, config: ImBertConfig, add_pooling_layer: bool = True) -> None:
        self.require_config(config)
        BertPreTrainedModel.__init__(self, config)  # BertModel's own would build plain layers first
        self.gradient_checkpointing = False
        self.embeddings = BertEmbeddings(config)
        self.encoder = ImBertEncoder(config)
        self.pooler = BertPooler(config) if add_pooling_layer else None
        self.post_init()


class ImBertForSequenceClassification(ImBertPreTrainedModel, BertForSequenceClassification):
    """With BERT's classification or regression head.

    >>> small = ImBertConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=2)
    >>> model = ImBertForSequenceClassification(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).logits.shape  # one text, two classes
    torch.Size([1, 2])
    >>> len(model.solver_statistics())  # an entry for each implicit layer
    2
    """

    def __init__(self, config: ImBertConfig) -> None:
        self.require_config(config)
        BertPreTrainedModel.__init__(self, config)
        self.num_labels = config.num_labels
        self.bert = ImBertModel(config)
        dropout = (
            config.hidden_dropout_prob
            if config.classifier_dropout is None
            else config.classifier_dropout
        )
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)  # type: ignore[arg-type]
        self.post_init()


AutoModel.register(ImBertConfig, ImBertModel)
AutoModelForSequenceClassification.register(ImBertConfig, ImBertForSequenceClassification)
