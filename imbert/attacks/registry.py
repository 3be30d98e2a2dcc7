"""The attacks by name: the only table of them, which loads none until it is used.

The command's `--kind`, a study's `kinds`, which records there are, their order in tables and the
table of the documentation follow from it. A new attack is a class in a file of its own and a line
here.
"""

import dataclasses
import importlib
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from imbert.attacks.attack import AbstractAttack


@dataclasses.dataclass(frozen=True)
class AttackKind:
    """Where an attack stands and what it needs.

    Attributes:
        module: its file in this folder.
        class_name: its class there.
        changes: texts, which can be put to another model, or word embeddings in a ball, whose
            radius may be several.
        uses: what it asks the model for.
        tables: the choices that name its tables of words.
    """

    module: str
    class_name: str
    changes: Literal["texts", "word embeddings"]
    uses: Literal["gradients", "answers"]
    tables: tuple[str, ...] = ()

    def load(self) -> "type[AbstractAttack]":
        """The class."""
        module = importlib.import_module(f"imbert.attacks.{self.module}")
        loaded: type[AbstractAttack] = getattr(module, self.class_name)
        return loaded


ATTACKS = {
    "pgd": AttackKind("embedding_pgd", "EmbeddingPGD", "word embeddings", "gradients"),
    "apgd": AttackKind("embedding_apgd", "EmbeddingAPGD", "word embeddings", "gradients"),
    "square": AttackKind("square", "Square", "word embeddings", "answers"),
    "characters": AttackKind("character_edits", "CharacterEdits", "texts", "answers"),
    "words": AttackKind(
        "word_substitution", "WordSubstitution", "texts", "answers", ("synonyms", "antonyms")
    ),
}


def changes_texts(name: str) -> bool:
    """Whether an attack changes texts; it has no radius then."""
    return ATTACKS[name].changes == "texts"


def order_of(record: str) -> tuple[int, float]:
    """The place of an attack's record among others: by kind, and by the radius of its ball."""
    kind, _, radius = record.partition("-")
    names = list(ATTACKS)
    place = names.index(kind) if kind in names else len(names)
    return place, float(radius) if radius.replace(".", "").isdigit() else 0.0


def markdown() -> str:
    """The table of the documentation."""
    lines = ["| attack | changes | uses the model's | |", "|---|---|---|---|"]
    for name, kind in ATTACKS.items():
        sentence = " ".join((kind.load().__doc__ or "").partition("\n\n")[0].split())
        lines.append(f"| `{name}` | {kind.changes} | {kind.uses} | {sentence.replace('|', '∣')} |")
    return "\n".join(lines) + "\n"
