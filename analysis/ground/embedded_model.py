"""The checkpoint that commands and runs take by default, by its name; odestab knows the rest.

odestab is imported late, since it loads torch.
"""

from pathlib import Path

DEFAULT_MODEL = "all-MiniLM-L6-v2"  # as odestab names it


def default_model_folder() -> Path:
    """Where the default model is installed, see `odestab.embedded_model_folder`.

    Raises:
        ValueError: if it is not, or its weights are not the ones that are expected.
    """
    from odestab import embedded_model_folder

    return embedded_model_folder()
