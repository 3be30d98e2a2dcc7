"""Whether a classifier answers with the largest of its outputs."""

from typing import Any


def margins_decide(config: Any) -> bool:
    """The largest output is the answer: neither a regression nor several labels at once.

    >>> from transformers import BertConfig
    >>> margins_decide(BertConfig(problem_type="regression"))
    False
    """
    single = getattr(config, "problem_type", None) in (None, "single_label_classification")
    return single and config.num_labels > 1
