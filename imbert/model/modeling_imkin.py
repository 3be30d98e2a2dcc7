"""The same for BERT's kin, RoBERTa, ELECTRA, MPNet and DistilBERT, with implicit steps in place of
layers.
"""

from transformers.models.distilbert import modeling_distilbert as distilbert
from transformers.models.electra import modeling_electra as electra
from transformers.models.mpnet import modeling_mpnet as mpnet
from transformers.models.roberta import modeling_roberta as roberta

from imbert.model.configuration_imbert import (
    ImDistilBertConfig,
    ImElectraConfig,
    ImMPNetConfig,
    ImRobertaConfig,
)
from imbert.model.implicit_layer import (
    ImplicitDistilBertLayer,
    ImplicitElectraLayer,
    ImplicitMPNetLayer,
    ImplicitRobertaLayer,
)
from imbert.model.stepping_model import SteppingModel, register


class ImRobertaPreTrainedModel(SteppingModel, roberta.RobertaPreTrainedModel):
    """What the models of RoBERTa's family share."""

    config: ImRobertaConfig
    config_class = ImRobertaConfig
    step = ImplicitRobertaLayer


class ImRobertaModel(ImRobertaPreTrainedModel, roberta.RobertaModel):
    """The bare encoder.

    >>> small = ImRobertaConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1)
    >>> model = ImRobertaModel(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).last_hidden_state.shape
    torch.Size([1, 3, 8])
    """


class ImRobertaForSequenceClassification(
    ImRobertaPreTrainedModel, roberta.RobertaForSequenceClassification
):
    """With RoBERTa's classification or regression head.

    >>> small = ImRobertaConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1)
    >>> model = ImRobertaForSequenceClassification(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).logits.shape
    torch.Size([1, 2])
    """


class ImRobertaForTokenClassification(
    ImRobertaPreTrainedModel, roberta.RobertaForTokenClassification
):
    """With RoBERTa's head for one class of each token.

    >>> small = ImRobertaConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1)
    >>> model = ImRobertaForTokenClassification(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).logits.shape
    torch.Size([1, 3, 2])
    """


class ImRobertaForQuestionAnswering(ImRobertaPreTrainedModel, roberta.RobertaForQuestionAnswering):
    """With RoBERTa's head for where an answer starts and ends.

    >>> small = ImRobertaConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1)
    >>> model = ImRobertaForQuestionAnswering(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).start_logits.shape
    torch.Size([1, 3])
    """


class ImRobertaForMaskedLM(ImRobertaPreTrainedModel, roberta.RobertaForMaskedLM):
    """With RoBERTa's head for masked tokens, whose decoder is the word embeddings.

    >>> small = ImRobertaConfig(hidden_size=8, num_attention_heads=2, vocab_size=9)
    >>> model = ImRobertaForMaskedLM(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).logits.shape
    torch.Size([1, 3, 9])
    """


class ImElectraPreTrainedModel(SteppingModel, electra.ElectraPreTrainedModel):
    """What the models of ELECTRA's family share."""

    config: ImElectraConfig
    config_class = ImElectraConfig
    step = ImplicitElectraLayer


class ImElectraModel(ImElectraPreTrainedModel, electra.ElectraModel):
    """The bare encoder.

    >>> small = ImElectraConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1)
    >>> model = ImElectraModel(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).last_hidden_state.shape
    torch.Size([1, 3, 8])
    """


class ImElectraForSequenceClassification(
    ImElectraPreTrainedModel, electra.ElectraForSequenceClassification
):
    """With ELECTRA's classification or regression head.

    >>> small = ImElectraConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1)
    >>> model = ImElectraForSequenceClassification(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).logits.shape
    torch.Size([1, 2])
    """


class ImElectraForTokenClassification(
    ImElectraPreTrainedModel, electra.ElectraForTokenClassification
):
    """With ELECTRA's head for one class of each token.

    >>> small = ImElectraConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1)
    >>> model = ImElectraForTokenClassification(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).logits.shape
    torch.Size([1, 3, 2])
    """


class ImElectraForQuestionAnswering(  # type: ignore[misc]
    ImElectraPreTrainedModel, electra.ElectraForQuestionAnswering
):
    """With ELECTRA's head for where an answer starts and ends.

    >>> small = ImElectraConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1)
    >>> model = ImElectraForQuestionAnswering(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).start_logits.shape
    torch.Size([1, 3])
    """


class ImElectraForMaskedLM(ImElectraPreTrainedModel, electra.ElectraForMaskedLM):
    """With ELECTRA's head for masked tokens, whose decoder is the word embeddings.

    >>> small = ImElectraConfig(hidden_size=8, num_attention_heads=2, vocab_size=9)
    >>> model = ImElectraForMaskedLM(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).logits.shape
    torch.Size([1, 3, 9])
    """


class ImMPNetPreTrainedModel(SteppingModel, mpnet.MPNetPreTrainedModel):
    """What the models of MPNet's family share."""

    config: ImMPNetConfig
    config_class = ImMPNetConfig
    step = ImplicitMPNetLayer


class ImMPNetModel(ImMPNetPreTrainedModel, mpnet.MPNetModel):
    """The bare encoder.

    >>> small = ImMPNetConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1)
    >>> model = ImMPNetModel(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).last_hidden_state.shape
    torch.Size([1, 3, 8])
    """


class ImMPNetForSequenceClassification(
    ImMPNetPreTrainedModel, mpnet.MPNetForSequenceClassification
):
    """With MPNet's classification or regression head.

    >>> small = ImMPNetConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1)
    >>> model = ImMPNetForSequenceClassification(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).logits.shape
    torch.Size([1, 2])
    """


class ImMPNetForTokenClassification(ImMPNetPreTrainedModel, mpnet.MPNetForTokenClassification):
    """With MPNet's head for one class of each token.

    >>> small = ImMPNetConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1)
    >>> model = ImMPNetForTokenClassification(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).logits.shape
    torch.Size([1, 3, 2])
    """


class ImMPNetForQuestionAnswering(ImMPNetPreTrainedModel, mpnet.MPNetForQuestionAnswering):
    """With MPNet's head for where an answer starts and ends.

    >>> small = ImMPNetConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1)
    >>> model = ImMPNetForQuestionAnswering(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).start_logits.shape
    torch.Size([1, 3])
    """


class ImMPNetForMaskedLM(ImMPNetPreTrainedModel, mpnet.MPNetForMaskedLM):
    """With MPNet's head for masked tokens, whose decoder is the word embeddings.

    >>> small = ImMPNetConfig(hidden_size=8, num_attention_heads=2, vocab_size=9)
    >>> model = ImMPNetForMaskedLM(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).logits.shape
    torch.Size([1, 3, 9])
    """


class ImDistilBertPreTrainedModel(SteppingModel, distilbert.DistilBertPreTrainedModel):
    """What the models of DistilBERT's family share."""

    config: ImDistilBertConfig
    config_class = ImDistilBertConfig
    step = ImplicitDistilBertLayer
    layers = "transformer.layer"


class ImDistilBertModel(ImDistilBertPreTrainedModel, distilbert.DistilBertModel):
    """The bare encoder.

    >>> small = ImDistilBertConfig(dim=8, n_heads=2, n_layers=1)
    >>> model = ImDistilBertModel(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).last_hidden_state.shape
    torch.Size([1, 3, 8])
    """


class ImDistilBertForSequenceClassification(
    ImDistilBertPreTrainedModel, distilbert.DistilBertForSequenceClassification
):
    """With DistilBERT's classification or regression head.

    >>> small = ImDistilBertConfig(dim=8, n_heads=2, n_layers=1)
    >>> model = ImDistilBertForSequenceClassification(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).logits.shape
    torch.Size([1, 2])
    """


class ImDistilBertForTokenClassification(
    ImDistilBertPreTrainedModel, distilbert.DistilBertForTokenClassification
):
    """With DistilBERT's head for one class of each token.

    >>> small = ImDistilBertConfig(dim=8, n_heads=2, n_layers=1)
    >>> model = ImDistilBertForTokenClassification(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).logits.shape
    torch.Size([1, 3, 2])
    """


class ImDistilBertForQuestionAnswering(
    ImDistilBertPreTrainedModel, distilbert.DistilBertForQuestionAnswering
):
    """With DistilBERT's head for where an answer starts and ends.

    >>> small = ImDistilBertConfig(dim=8, n_heads=2, n_layers=1)
    >>> model = ImDistilBertForQuestionAnswering(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).start_logits.shape
    torch.Size([1, 3])
    """


class ImDistilBertForMaskedLM(ImDistilBertPreTrainedModel, distilbert.DistilBertForMaskedLM):
    """With DistilBERT's head for masked tokens, whose decoder is the word embeddings.

    >>> small = ImDistilBertConfig(dim=8, n_heads=2, n_layers=1, vocab_size=9)
    >>> model = ImDistilBertForMaskedLM(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).logits.shape
    torch.Size([1, 3, 9])
    """


register(
    ImRobertaConfig,
    ImRobertaModel,
    ImRobertaForSequenceClassification,
    ImRobertaForTokenClassification,
    ImRobertaForQuestionAnswering,
    ImRobertaForMaskedLM,
)
register(
    ImElectraConfig,
    ImElectraModel,
    ImElectraForSequenceClassification,
    ImElectraForTokenClassification,
    ImElectraForQuestionAnswering,
    ImElectraForMaskedLM,
)
register(
    ImMPNetConfig,
    ImMPNetModel,
    ImMPNetForSequenceClassification,
    ImMPNetForTokenClassification,
    ImMPNetForQuestionAnswering,
    ImMPNetForMaskedLM,
)
register(
    ImDistilBertConfig,
    ImDistilBertModel,
    ImDistilBertForSequenceClassification,
    ImDistilBertForTokenClassification,
    ImDistilBertForQuestionAnswering,
    ImDistilBertForMaskedLM,
)
