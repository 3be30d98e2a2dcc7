"""The same for BERT's kin: RoBERTa and ELECTRA with implicit steps in place of layers."""

from torch import nn
from transformers import AutoModel, AutoModelForSequenceClassification
from transformers.models.electra import modeling_electra as electra
from transformers.models.roberta import modeling_roberta as roberta

from imbert.model.configuration_imbert import ImElectraConfig, ImRobertaConfig
from imbert.model.implicit_layer import ImplicitElectraLayer, ImplicitRobertaLayer
from imbert.model.stepping_model import SteppingBase, SteppingEncoder, SteppingModel


class ImRobertaEncoder(SteppingEncoder, roberta.RobertaEncoder):
    """RoBERTa's layers, some of them steps."""

    plain = roberta.RobertaLayer
    step = ImplicitRobertaLayer


class ImRobertaPreTrainedModel(SteppingModel, roberta.RobertaPreTrainedModel):
    """What the models share."""

    config: ImRobertaConfig
    config_class = ImRobertaConfig
    # a class variable, as transformers has it
    _can_record_outputs = {"hidden_states": roberta.RobertaLayer}  # noqa: RUF012


class ImRobertaModel(ImRobertaPreTrainedModel, SteppingBase, roberta.RobertaModel):
    """The bare encoder.

    >>> small = ImRobertaConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=2)
    >>> model = ImRobertaModel(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).last_hidden_state.shape
    torch.Size([1, 3, 8])
    """

    def __init__(self, config: ImRobertaConfig, add_pooling_layer: bool = True) -> None:
        self.require_config(config)
        roberta.RobertaPreTrainedModel.__init__(self, config)
        self.gradient_checkpointing = False
        self.embeddings = roberta.RobertaEmbeddings(config)
        self.encoder = ImRobertaEncoder(config)
        self.pooler = roberta.RobertaPooler(config) if add_pooling_layer else None
        self.post_init()


class ImRobertaForSequenceClassification(
    ImRobertaPreTrainedModel, roberta.RobertaForSequenceClassification
):
    """With RoBERTa's classification or regression head.

    >>> small = ImRobertaConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=2)
    >>> model = ImRobertaForSequenceClassification(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).logits.shape
    torch.Size([1, 2])
    """

    def __init__(self, config: ImRobertaConfig) -> None:
        self.require_config(config)
        roberta.RobertaPreTrainedModel.__init__(self, config)
        self.num_labels = config.num_labels
        self.roberta = ImRobertaModel(config, add_pooling_layer=False)
        self.classifier = roberta.RobertaClassificationHead(config)
        self.post_init()


class ImElectraEncoder(SteppingEncoder, electra.ElectraEncoder):
    """ELECTRA's layers, some of them steps."""

    plain = electra.ElectraLayer
    step = ImplicitElectraLayer


class ImElectraPreTrainedModel(SteppingModel, electra.ElectraPreTrainedModel):
    """What the models share."""

    config: ImElectraConfig
    config_class = ImElectraConfig
    # a class variable, as transformers has it
    _can_record_outputs = {"hidden_states": electra.ElectraLayer}  # noqa: RUF012


class ImElectraModel(ImElectraPreTrainedModel, SteppingBase, electra.ElectraModel):
    """The bare encoder.

    >>> small = ImElectraConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=2)
    >>> model = ImElectraModel(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).last_hidden_state.shape
    torch.Size([1, 3, 8])
    """

    def __init__(self, config: ImElectraConfig) -> None:
        self.require_config(config)
        electra.ElectraPreTrainedModel.__init__(self, config)
        self.gradient_checkpointing = False
        self.embeddings = electra.ElectraEmbeddings(config)
        if config.embedding_size != config.hidden_size:
            self.embeddings_project = nn.Linear(config.embedding_size, config.hidden_size)
        self.encoder = ImElectraEncoder(config)
        self.post_init()


class ImElectraForSequenceClassification(
    ImElectraPreTrainedModel, electra.ElectraForSequenceClassification
):
    """With ELECTRA's classification or regression head.

    >>> small = ImElectraConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=2)
    >>> model = ImElectraForSequenceClassification(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).logits.shape
    torch.Size([1, 2])
    """

    def __init__(self, config: ImElectraConfig) -> None:
        self.require_config(config)
        electra.ElectraPreTrainedModel.__init__(self, config)
        self.num_labels = config.num_labels
        self.electra = ImElectraModel(config)
        self.classifier = electra.ElectraClassificationHead(config)
        self.post_init()


for _config, _model, _classifier in (
    (ImRobertaConfig, ImRobertaModel, ImRobertaForSequenceClassification),
    (ImElectraConfig, ImElectraModel, ImElectraForSequenceClassification),
):
    AutoModel.register(_config, _model)
    AutoModelForSequenceClassification.register(_config, _classifier)
