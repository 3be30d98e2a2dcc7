"""Numbers as a person types them: plain digits, nothing else that Python's int() and float()
take.
"""

import re

WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def whole_number(text: str) -> int:
    """A whole number in ASCII digits; no underscores, no spaces, no digits of other scripts.

    Raises:
        ValueError: if it is something else.
    """
    if not WHOLE.fullmatch(text):
        raise ValueError(f"expected a whole number in digits, got {text!r}")
    return int(text)


def decimal_number(text: str) -> float:
    """A decimal number in ASCII digits, with an exponent or without; neither NaN nor infinity.

    Raises:
        ValueError: if it is something else.
    """
    if not DECIMAL.fullmatch(text) or float(text) in (float("inf"), float("-inf")):
        raise ValueError(f"expected a finite number in digits, got {text!r}")
    return float(text)
