"""Words that terminal and pages share."""


def counted(count: int, noun: str) -> str:
    """A count with its noun.

    >>> counted(1, "text"), counted(2, "text")
    ('1 text', '2 texts')
    """
    return f"{count} {noun}" + ("" if count == 1 else "s")
