"""IM-BERT: transformers models whose layers are implicit steps of a differential equation, solved
by odestab.

Importing this loads neither torch nor transformers: a name does when it is first used, and
transformers' Auto classes know the models as soon as there are Auto classes.
"""

import importlib
from typing import TYPE_CHECKING, Any

from imbert.model.registration import register_with_peft, register_with_transformers
from imbert.moved import keep_old_paths

if TYPE_CHECKING:
    from imbert.model.configuration_imbert import (
        ImBertConfig,
        ImDistilBertConfig,
        ImElectraConfig,
        ImMPNetConfig,
        ImRobertaConfig,
    )
    from imbert.model.modeling_imbert import (
        ImBertForMaskedLM,
        ImBertForQuestionAnswering,
        ImBertForSequenceClassification,
        ImBertForTokenClassification,
        ImBertModel,
    )
    from imbert.model.modeling_imkin import (
        ImDistilBertForMaskedLM,
        ImDistilBertForQuestionAnswering,
        ImDistilBertForSequenceClassification,
        ImDistilBertForTokenClassification,
        ImDistilBertModel,
        ImElectraForMaskedLM,
        ImElectraForQuestionAnswering,
        ImElectraForSequenceClassification,
        ImElectraForTokenClassification,
        ImElectraModel,
        ImMPNetForMaskedLM,
        ImMPNetForQuestionAnswering,
        ImMPNetForSequenceClassification,
        ImMPNetForTokenClassification,
        ImMPNetModel,
        ImRobertaForMaskedLM,
        ImRobertaForQuestionAnswering,
        ImRobertaForSequenceClassification,
        ImRobertaForTokenClassification,
        ImRobertaModel,
    )
    from imbert.model.stepping_model import implicit_layers, stepping
    from imbert.training.solver_statistics import SolverStatistics

__all__ = [
    "ImBertConfig",
    "ImBertForMaskedLM",
    "ImBertForQuestionAnswering",
    "ImBertForSequenceClassification",
    "ImBertForTokenClassification",
    "ImBertModel",
    "ImDistilBertConfig",
    "ImDistilBertForMaskedLM",
    "ImDistilBertForQuestionAnswering",
    "ImDistilBertForSequenceClassification",
    "ImDistilBertForTokenClassification",
    "ImDistilBertModel",
    "ImElectraConfig",
    "ImElectraForMaskedLM",
    "ImElectraForQuestionAnswering",
    "ImElectraForSequenceClassification",
    "ImElectraForTokenClassification",
    "ImElectraModel",
    "ImMPNetConfig",
    "ImMPNetForMaskedLM",
    "ImMPNetForQuestionAnswering",
    "ImMPNetForSequenceClassification",
    "ImMPNetForTokenClassification",
    "ImMPNetModel",
    "ImRobertaConfig",
    "ImRobertaForMaskedLM",
    "ImRobertaForQuestionAnswering",
    "ImRobertaForSequenceClassification",
    "ImRobertaForTokenClassification",
    "ImRobertaModel",
    "SolverStatistics",
    "implicit_layers",
    "stepping",
]

register_with_transformers()
register_with_peft()
keep_old_paths()


def __getattr__(name: str) -> Any:
    if name in __all__:
        for module in (
            "model.configuration_imbert",
            "model.modeling_imbert",
            "model.modeling_imkin",
            "model.stepping_model",
            "training.solver_statistics",
        ):
            names = vars(importlib.import_module(f"imbert.{module}"))
            if name in names:
                return globals().setdefault(name, names[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
