"""The texts that every run measures unless it is given others."""

import importlib.resources

import pytest
import transformers

KINDS = {
    "typo": 7,
    "synonym": 7,
    "negation": 2,
}  # a negation is the control: few tokens changed, another meaning


def lines(name: str) -> list[str]:
    return (
        (importlib.resources.files("analysis") / "texts" / name)
        .read_text(encoding="ascii")
        .splitlines()
    )


@pytest.fixture(scope="module")
def tokenizer(minilm_folder) -> transformers.PreTrainedTokenizerBase:
    return transformers.AutoTokenizer.from_pretrained(minilm_folder)


@pytest.fixture(scope="module")
def sentence_lengths(tokenizer) -> list[int]:
    return [len(ids) for ids in tokenizer(lines("sentences.txt"))["input_ids"]]


def test_sentences_are_thirty_two_and_distinct():
    sentences = lines("sentences.txt")
    assert len(sentences) == len(set(sentences)) == 32
    assert all(sentence and sentence == sentence.strip() for sentence in sentences)


def test_two_sentences_are_small_enough_for_a_dense_spectrum(sentence_lengths):
    assert sentence_lengths.count(4) == 2  # [CLS], two words, [SEP]
    assert min(sentence_lengths) == 4


def test_most_sentences_have_eight_to_sixteen_tokens(sentence_lengths):
    assert sum(8 <= length <= 16 for length in sentence_lengths) >= 24
    assert 12 < max(sentence_lengths) <= 16


def test_edits_are_sixteen_distinct_pairs_of_three_kinds():
    edits = [line.split("\t") for line in lines("edits.tsv")]
    kinds, originals, edited = zip(*edits, strict=True)
    assert {kind: kinds.count(kind) for kind in kinds} == KINDS
    assert len({*originals, *edited}) == 2 * len(edits) == 32


def test_both_sides_of_an_edit_have_the_same_number_of_tokens(tokenizer):
    for kind, original, edited in (line.split("\t") for line in lines("edits.tsv")):
        before, after = tokenizer([original, edited])["input_ids"]
        assert len(before) == len(after), f"{kind}: {original} -> {edited}"
        assert 7 <= len(before) <= 14
        assert 1 <= sum(x != y for x, y in zip(before, after, strict=True)) <= 3
        assert tokenizer.unk_token_id not in before + after
