"""Copies of weights, one for all that ask while anything holds it."""

import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

Copy = TypeVar("Copy")


class SharedCopies(Generic[Copy]):
    """What was made of weights, kept while its owner lives, anything holds it, and the weights stay
    what they are.

    >>> copies, weight = SharedCopies(), torch.ones(2)
    >>> first = copies.get(weight, "double", [weight], weight.double)
    >>> copies.get(weight, "double", [weight], weight.double) is first
    True
    >>> _ = weight.mul_(2)
    >>> copies.get(weight, "double", [weight], weight.double).tolist()
    [2.0, 2.0]
    """

    def __init__(self) -> None:
        self._known = WeakIdKeyDictionary()

    def get(
        self, owner: Any, key: Hashable, weights: Sequence[Tensor], make: Callable[[], Copy]
    ) -> Copy:
        """The copy of an owner under a key, made where there is none.

        Args:
            owner: with whose life the entry ends.
            key: which of its copies.
            weights: what it is made of.
            make: makes it.
        """
        if any(weight.is_inference() for weight in weights):  # nothing tells that one has changed
            return make()
        state = tuple((weight.data_ptr(), weight.dtype, weight._version) for weight in weights)
        entries = self._known.setdefault(owner, {})
        known_state, known = entries.get(key, (None, lambda: None))
        copy = known() if known_state == state else None
        if copy is None:
            copy = make()
            entries[key] = (state, weakref.ref(copy))
        return copy
