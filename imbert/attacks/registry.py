"""The attacks by name: the only table of them.

The command's `--kind`, a study's `kinds`, which records there are, their order in tables and the
table of the documentation follow from it. A new attack is a class in a file of its own and a line
here.
"""

from imbert.attacks.attack import AbstractAttack
from imbert.attacks.character_edits import CharacterEdits
from imbert.attacks.embedding_apgd import EmbeddingAPGD
from imbert.attacks.embedding_ascent import AbstractEmbeddingAscent
from imbert.attacks.embedding_attack import AbstractEmbeddingAttack
from imbert.attacks.embedding_pgd import EmbeddingPGD
from imbert.attacks.square import Square
from imbert.attacks.text_attack import AbstractTextAttack
from imbert.attacks.word_substitution import WordSubstitution

ATTACKS: dict[str, type[AbstractAttack]] = {
    attack.name: attack
    for attack in (EmbeddingPGD, EmbeddingAPGD, Square, CharacterEdits, WordSubstitution)
}


def changes_texts(name: str) -> bool:
    """Whether an attack changes texts, which can be put to another model; it has no radius."""
    return issubclass(ATTACKS[name], AbstractTextAttack)


def is_white_box(name: str) -> bool:
    """Whether an attack on word embeddings climbs the gradient."""
    return issubclass(ATTACKS[name], AbstractEmbeddingAscent)


def is_gradient_free(name: str) -> bool:
    """Whether an attack on word embeddings asks the model for its loss alone."""
    return issubclass(ATTACKS[name], AbstractEmbeddingAttack) and not is_white_box(name)


def order_of(record: str) -> tuple[int, float]:
    """The place of an attack's record among others: by kind, and by the radius of its ball."""
    kind, _, radius = record.partition("-")
    names = list(ATTACKS)
    place = names.index(kind) if kind in names else len(names)
    return place, float(radius) if radius.replace(".", "").isdigit() else 0.0


def markdown() -> str:
    """The table of the documentation."""
    lines = ["| attack | changes | uses | |", "|---|---|---|---|"]
    for name, attack in ATTACKS.items():
        changes = "texts" if changes_texts(name) else "word embeddings"
        uses = "gradients" if is_white_box(name) else "answers of the model"
        sentence = " ".join((attack.__doc__ or "").partition("\n\n")[0].split())
        lines.append(f"| `{name}` | {changes} | {uses} | {sentence.replace('|', '∣')} |")
    return "\n".join(lines) + "\n"
