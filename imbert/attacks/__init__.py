"""Attacks on text classifiers: on word embeddings with and without gradients, on letters, on words;
and their transfer. A name loads its module when it is first used.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.ground.synonyms import load_synonyms
    from imbert.attacks.attack import AbstractAttack, AttackResult
    from imbert.attacks.character_edits import CharacterEdits
    from imbert.attacks.embedding_apgd import EmbeddingAPGD
    from imbert.attacks.embedding_pgd import EmbeddingPGD
    from imbert.attacks.square import Square
    from imbert.attacks.transferring import Transfer, transfer
    from imbert.attacks.word_substitution import WordSubstitution

__all__ = [
    "AbstractAttack",
    "AttackResult",
    "CharacterEdits",
    "EmbeddingAPGD",
    "EmbeddingPGD",
    "Square",
    "Transfer",
    "WordSubstitution",
    "load_synonyms",
    "transfer",
]

MODULES = {
    "AbstractAttack": "attack",
    "AttackResult": "attack",
    "CharacterEdits": "character_edits",
    "EmbeddingAPGD": "embedding_apgd",
    "EmbeddingPGD": "embedding_pgd",
    "Square": "square",
    "Transfer": "transferring",
    "WordSubstitution": "word_substitution",
    "transfer": "transferring",
}


SHARED = {"load_synonyms": "analysis.ground.synonyms"}


def __getattr__(name: str) -> object:
    if name in SHARED:
        return getattr(importlib.import_module(SHARED[name]), name)
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{MODULES[name]}"), name)
