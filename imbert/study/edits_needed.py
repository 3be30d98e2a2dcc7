"""How many edits an attack needed, a graded outcome beside robust accuracy: the restricted mean
min(T, B + 1) of the edits T after which the model is wrong.

T is what the attack's own search took, with its queries: greedy, it may take more edits than the
fewest there are. B is how many it may make in that text (`edit_budget`), the same for every model.
Of a search that failed, all that is known is T > B. It is censored at B even where it gave up
earlier, out of queries or of words whose edit lowers the confidence: it had all that it was given.
As T is a whole number, B + 1 is the largest horizon at which min(T, horizon) is known of every
text, so that its mean is that of the texts themselves and needs no Kaplan–Meier weights. It is the
area Σ_{t ≤ B} P(T > t) under the curve of survival, whose last term is robust accuracy (restricted
mean survival time: Irwin 1949; Royston and Parmar 2013, BMC Med. Res. Methodol. 13:152).
"""

import numpy as np

from imbert.attack_records import Attack, ExampleOutcome
from imbert.attacks.edit_budget import edit_budget


def edits_needed(record: Attack) -> np.ndarray | None:
    """min(T, B + 1) of every example `(N,)`, whole numbers; 0 where the model is wrong before.

    Returns:
        None where the record does not say how many edits the attack may make, as of an attack on
        word embeddings.
    """
    needed = [_restricted(record, row) if row.right_before else 0 for row in record.per_example]
    known = [edits for edits in needed if edits is not None]
    return np.array(known, dtype=np.int64) if len(known) == len(needed) else None


def mean_edits_needed(record: Attack) -> float | None:
    """The mean over the examples that the model has right before; None where it is not known."""
    right = np.array([row.right_before for row in record.per_example], dtype=bool)
    needed = edits_needed(record)
    return None if needed is None or not right.any() else float(needed[right].mean())


def _restricted(record: Attack, row: ExampleOutcome) -> int | None:
    budget = edit_budget(record.options, row.words)
    if budget is None:
        return None
    return budget + 1 if row.right_after else min(row.edits, budget + 1)
