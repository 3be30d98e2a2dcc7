"""Attacks on text classifiers: on word embeddings with and without gradients, on letters, on words;
and their transfer.
"""

from imbert.attacks.attack import AbstractAttack, AttackResult
from imbert.attacks.character_edits import CharacterEdits
from imbert.attacks.embedding_apgd import EmbeddingAPGD
from imbert.attacks.embedding_pgd import EmbeddingPGD
from imbert.attacks.square import Square
from imbert.attacks.synonyms import load_synonyms
from imbert.attacks.transfer import Transfer, transfer
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
