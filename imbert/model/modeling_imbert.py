"""IM-BERT: BERT with implicit steps in place of layers, as models of transformers."""

from transformers.models.bert import modeling_bert as bert

from imbert.model.configuration_imbert import ImBertConfig
from imbert.model.implicit_layer import ImplicitBertLayer
from imbert.model.stepping_model import SteppingModel, register


class ImBertPreTrainedModel(SteppingModel, bert.BertPreTrainedModel):
    """What the models of BERT's family share."""

    config: ImBertConfig
    config_class = ImBertConfig
    step = ImplicitBertLayer


class ImBertModel(ImBertPreTrainedModel, bert.BertModel):
    """The bare encoder.

    >>> small = ImBertConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1)
    >>> model = ImBertModel(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).last_hidden_state.shape
    torch.Size([1, 3, 8])
    """


class ImBertForSequenceClassification(ImBertPreTrainedModel, bert.BertForSequenceClassification):
    """With BERT's classification or regression head.

    >>> small = ImBertConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1)
    >>> model = ImBertForSequenceClassification(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).logits.shape
    torch.Size([1, 2])
    >>> len(model.solver_statistics())  # an entry for each implicit layer
    1
    """


class ImBertForTokenClassification(ImBertPreTrainedModel, bert.BertForTokenClassification):
    """With BERT's head for one class of each token.

    >>> small = ImBertConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1)
    >>> model = ImBertForTokenClassification(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).logits.shape
    torch.Size([1, 3, 2])
    """


class ImBertForQuestionAnswering(ImBertPreTrainedModel, bert.BertForQuestionAnswering):
    """With BERT's head for where an answer starts and ends.

    >>> small = ImBertConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1)
    >>> model = ImBertForQuestionAnswering(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).start_logits.shape
    torch.Size([1, 3])
    """


class ImBertForMaskedLM(ImBertPreTrainedModel, bert.BertForMaskedLM):
    """With BERT's head for masked tokens, whose decoder is the word embeddings.

    >>> small = ImBertConfig(hidden_size=8, num_attention_heads=2, vocab_size=9)
    >>> model = ImBertForMaskedLM(small).eval()
    >>> model(input_ids=torch.tensor([[5, 6, 7]])).logits.shape
    torch.Size([1, 3, 9])
    """


register(
    ImBertConfig,
    ImBertModel,
    ImBertForSequenceClassification,
    ImBertForTokenClassification,
    ImBertForQuestionAnswering,
    ImBertForMaskedLM,
)
