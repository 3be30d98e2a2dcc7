"""How many words an attack may change of a text: the attacks keep to it, and who reads a record
finds it in the options.
"""

from collections.abc import Mapping

from imbert.toml_tables import Plain


def share_of_words(max_fraction: float, words: int) -> int:
    """The share of a text's words in whole words; one may always change."""
    return max(1, int(max_fraction * words))


def edit_budget(options: Mapping[str, Plain], words: float | None) -> int | None:
    """The budget of a greedy attack for one text.

    Args:
        options: in the attack's record: its `max_edits`, or the `max_fraction` of the words.
        words: of the text; None where the record does not say it.

    Returns:
        None where the options or the words do not say it, and of an attack that does not edit word
        after word: drafts with all edits at once say nothing of how many were needed.

    >>> edit_budget({"max_edits": 3, "order": "greedy"}, None)
    3
    >>> edit_budget({"max_fraction": 0.3}, 19.0)
    5
    """
    if options.get("order", "greedy") != "greedy":
        return None
    most = options.get("max_edits")
    fraction = options.get("max_fraction")
    if isinstance(most, int):
        return most
    if isinstance(fraction, float | int) and words is not None:
        return share_of_words(fraction, int(words))
    return None
