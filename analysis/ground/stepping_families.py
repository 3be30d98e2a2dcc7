"""Which families of models imbert trains with implicit layers, by transformers' `model_type`.

Predictions write plans for these alone, and imbert trains checkpoints of these alone.
"""

STEPPING_FAMILIES = ("bert", "roberta", "electra", "mpnet", "distilbert")
