"""Examples of docstrings as code: every run of lines that begins with `>>>` goes into a fence."""

import re

import griffe

EXAMPLE = re.compile(r"^(?P<indent> *)>>> .*\n(?:(?P=indent) *\S.*\n)*", re.MULTILINE)


class Examples(griffe.Extension):
    """Puts the examples of every docstring into fences."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Change the docstring, before its sections are told apart."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(docstring: str) -> str:
    """The docstring with its examples as blocks of code."""
    fence = r"\g<indent>```pycon\n\g<0>\g<indent>```\n"
    return EXAMPLE.sub(fence, docstring + "\n")
