import pytest
import torch
from problems import DTYPE, normal_numbers

from odestab.propagation.alignment import align


def test_every_token_stands_in_one_column_and_in_order() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        lengths = torch.randint(0, 12, (2,), generator=generator).tolist()
        a, b = (torch.randint(0, 5, (n,), generator=generator).tolist() for n in lengths)
        found = align([a], [b])
        assert found.first[found.first >= 0].tolist() == list(range(len(a)))
        assert found.second[found.second >= 0].tolist() == list(range(len(b)))
        assert bool(found.mask.all())
        for i, j, same in zip(
            found.first[0].tolist(), found.second[0].tolist(), found.same[0].tolist(), strict=True
        ):
            assert same == (i >= 0 and j >= 0 and a[i] == b[j])


def test_replaced_tokens_are_paired_and_the_rest_stands_opposite_nothing() -> None:
    found = align([1, 5, 6, 2], [1, 7, 8, 9, 6, 2])
    assert found.first.tolist() == [[0, 1, -1, -1, 2, 3]]
    assert found.second.tolist() == [[0, 1, 2, 3, 4, 5]]
    assert found.matched.tolist() == [[True, True, False, False, True, True]]
    assert found.same.tolist() == [[True, False, False, False, True, True]]
    assert found.inserted.sum() == 2 and not found.removed.any()
    back = align([1, 7, 8, 9, 6, 2], [1, 5, 6, 2])
    assert back.removed.sum() == 2 and not back.inserted.any()


def test_equal_texts_overlap_wholly_and_texts_without_a_common_token_not_at_all() -> None:
    equal, apart = align([3, 4, 5], [3, 4, 5]), align([3, 4, 5], [6, 7])
    assert equal.overlap.tolist() == [1.0] and torch.equal(equal.first, equal.second)
    assert apart.overlap.tolist() == [0.0]
    assert apart.first.tolist() == [[0, 1, 2]] and apart.second.tolist() == [[0, 1, -1]]


def test_empty_texts() -> None:
    one, none = align([[]], [[4, 5]]), align([[]], [[]])
    assert one.inserted.tolist() == [[True, True]] and one.overlap.tolist() == [0.0]
    assert none.first.shape == (1, 0) and none.overlap.isnan().all()
    assert none.of_first(torch.zeros(1, 0, 2)).shape == (1, 0, 2)
    nobody = align(torch.zeros(0, 4, dtype=torch.long), torch.zeros(0, 3, dtype=torch.long))
    assert nobody.first.shape == (0, 0)


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_on_either_side_is_nobodys_token(side: str) -> None:
    # Padding has the id of a real token here: fails if the mask is not asked.
    rows = [[1, 5, 2], [1, 2]]
    ids, mask = torch.full((2, 4), 5), torch.zeros(2, 4, dtype=torch.long)
    for example, row in enumerate(rows):
        place = slice(0, len(row)) if side == "right" else slice(4 - len(row), 4)
        ids[example, place], mask[example, place] = torch.tensor(row), 1
    found = align(ids, torch.tensor([[1, 2], [1, 2]]), mask)
    offset = 0 if side == "right" else 1
    assert (found.first[0] - offset).tolist() == [0, 1, 2]
    assert found.removed.tolist() == [[False, True, False], [False, False, False]]
    assert found.mask.tolist() == [[True] * 3, [True, True, False]]
    alone = align([1, 5, 2], [1, 2])
    assert torch.equal(found.same[:1], alone.same)


def test_states_are_brought_onto_the_union() -> None:
    found = align([1, 8, 2], [1, 2])
    x, y = normal_numbers(1, 3, 2), normal_numbers(1, 2, 2, seed=1)
    assert torch.equal(found.of_first(x), x)
    assert torch.equal(found.of_second(y)[:, [0, 2]], y)
    assert not found.of_second(y)[:, 1].any()
    assert found.of_second(y.expand(1, 2, 2)[..., :0]).shape == (1, 3, 0)


def test_tokens_that_are_frequent_in_a_long_text_are_matched() -> None:
    # difflib's own rule for long sequences would leave them out: fails with autojunk.
    words = [7, 8] * 150
    found = align([1, *words], [2, *words])
    assert int(found.same.sum()) == 300


def test_wrong_input() -> None:
    with pytest.raises(ValueError, match="ids_b must have 1 rows, as ids_a has, got 2"):
        align([[1]], [[1], [2]])
    with pytest.raises(ValueError, match="ids_a must be whole numbers of shape"):
        align(torch.zeros(1, 2, dtype=DTYPE), [1])
    with pytest.raises(ValueError, match="ids_b must be whole numbers, got"):
        align([1], [[0.5]])
    with pytest.raises(ValueError, match="the mask of ids_a must have its shape"):
        align(torch.zeros(1, 2, dtype=torch.long), [1], torch.ones(1, 3))
    with pytest.raises(ValueError, match="states must be of 1 texts, as the alignment is, got 2"):
        align([1], [1]).of_first(torch.zeros(2, 1, 3))
