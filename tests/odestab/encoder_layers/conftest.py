"""What the tests of encoders share: a tokenizer of nine words and a random BERT."""

import pytest
import transformers
from encoders import CONFIGS, tiny
from torch import nn


@pytest.fixture
def bert() -> nn.Module:
    return tiny(CONFIGS["bert"]())


@pytest.fixture(scope="session")
def tokenizer() -> transformers.PreTrainedTokenizerBase:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "small", "word", "##s"]
    return transformers.BertTokenizer(vocab={word: index for index, word in enumerate(words)})
