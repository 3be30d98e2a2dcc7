"""What `odestab condition` is asked."""

import dataclasses
from pathlib import Path

FAMILIES = ("characters", "words")
DTYPES = ("float32", "float64")  # float32 is what classifiers answer in


@dataclasses.dataclass(frozen=True)
class ConditionConfig:
    """All choices; equal ones give equal numbers.

    Attributes:
        model: a hub id or a folder.
        data: the table of texts.
        text_column: that holds them; None looks for the usual names.
        pair_column: that holds the second texts of pairs.
        label_column: that holds the labels; None is `label`, where there is one.
        labels: what these mean, a label of the file with an output of the model, by number or name;
            none where the file names the outputs as the model does.
        families: of random drafts; none named is edits of letters, and of words too where there
            is a table of synonyms, as what else may stand for a word can change its meaning.
        drafts: K, of each family.
        max_edits: words of a text that a draft changes at most.
        synonyms: a table of words; None is near neighbours in the model's word embeddings, which
            can be opposites.
        antonyms: pairs that are no synonyms.
        seed: of the drafts.
        device: a torch device.
        dtype: of the model.
        chunk: inputs measured together; it changes rounding and nothing else.
        max_tokens: after which texts, or both texts of a pair together, are cut; None is as many as
            the model takes. A model that was trained and attacked on cut texts is to be measured
            on them.

    Raises:
        ValueError: if a choice is unknown or does not fit the others.
    """

    model: str
    data: Path
    text_column: str | None = None
    pair_column: str | None = None
    label_column: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    families: tuple[str, ...] = ()
    drafts: int = 10
    max_edits: int = 3
    synonyms: Path | None = None
    antonyms: Path | None = None
    seed: int = 0
    device: str = "cpu"
    dtype: str = "float32"
    chunk: int = 16
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        if not self.families:
            known = FAMILIES if self.synonyms is not None else ("characters",)
            object.__setattr__(self, "families", known)
        unknown = [name for name in self.families if name not in FAMILIES]
        if unknown or len(set(self.families)) < len(self.families):
            raise ValueError(
                f"families must be some of {', '.join(FAMILIES)}, each once, got "
                f"{', '.join(self.families)}"
            )
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {self.dtype!r}")
        for name in ("drafts", "max_edits", "chunk"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError(f"max_tokens must be >= 1, got {self.max_tokens}")
        if self.antonyms is not None and self.synonyms is None:
            raise ValueError(f"antonyms need a table of synonyms, got {self.antonyms} alone")
        if self.synonyms is not None and "words" not in self.families:
            raise ValueError(
                f"synonyms need the family words, got {self.synonyms} with "
                f"{', '.join(self.families)}"
            )
