"""Tokenised examples, and batches of them as Trainer takes them."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from accelerate.data_loader import SeedableRandomSampler
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from imbert.data.tasks import Examples
from imbert.model.transformers_types import Tokenizer

# token ids and masks, the label and the index of an example
Row = Mapping[str, list[int] | int | float]


class Rows(Dataset):
    """Tokenised examples, unpadded, each with its label and its index.

    Args:
        examples: texts and labels.
        tokenizer: of the checkpoint.
        max_length: tokens after which texts are cut.
    """

    def __init__(self, examples: Examples, tokenizer: Tokenizer, max_length: int) -> None:
        self.ids = examples.ids
        self.labels = examples.labels
        self.texts = examples.texts
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.encoded = self.tokenized(self.texts)

    def tokenized(
        self, texts: Sequence[tuple[str, ...]], **options: bool
    ) -> Mapping[str, list[list[int]]]:
        """Token ids and masks of texts, cut as the examples are.

        Args:
            texts: of each example.
            **options: of the tokenizer, beside those.
        """
        columns = [list(column) for column in zip(*texts, strict=True)]
        encoded: Mapping[str, list[list[int]]] = self.tokenizer(
            *columns, truncation=True, max_length=self.max_length, **options
        )
        return encoded

    def special(self, texts: Sequence[tuple[str, ...]]) -> list[list[int]]:
        """1 at each token that the tokenizer puts around a text, 0 at those of the text, unknown
        ones too.
        """
        return self.tokenized(texts, return_special_tokens_mask=True)["special_tokens_mask"]

    def counts(self, texts: Sequence[tuple[str, ...]]) -> list[int]:
        """Tokens of texts that are not cut."""
        columns = [list(column) for column in zip(*texts, strict=True)]
        uncut = self.tokenizer(*columns, verbose=False)
        return [len(ids) for ids in uncut["input_ids"]]

    @property
    def lengths(self) -> list[int]:
        """Tokens of each example."""
        return [len(ids) for ids in self.encoded["input_ids"]]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Row:
        return {name: values[index] for name, values in self.encoded.items()} | {
            "labels": self.labels[index].item(),
            "index": index,
        }


class SortedSteps(Sampler[int]):
    """The random order of Trainer, cut into the optimiser's steps, the examples of each from the
    shortest to the longest: micro-batches are then padded to less, and a step learns from the same
    examples.

    Args:
        rows: to train on.
        step: examples of one step.
        seed: of the order, to which the epoch is added.
    """

    def __init__(self, rows: Rows, step: int, seed: int) -> None:
        self.order = SeedableRandomSampler(rows, data_seed=seed)
        self.lengths = rows.lengths
        self.step = step

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[int]:
        order = list(self.order)
        for start in range(0, len(order), self.step):
            yield from sorted(order[start : start + self.step], key=self.lengths.__getitem__)

    def set_epoch(self, epoch: int) -> None:
        """What the order is of; accelerate says it before each epoch, of a resumed run too."""
        self.order.set_epoch(epoch)


class Shortest(Sampler[int]):
    """Examples to evaluate, the shortest first: batches are padded to less.

    Args:
        rows: the examples.
    """

    def __init__(self, rows: Rows) -> None:
        self.order = sorted(range(len(rows)), key=rows.lengths.__getitem__)

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[int]:
        return iter(self.order)


class Padding:
    """Pads a batch to its longest text.

    Args:
        tokenizer: of the checkpoint.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def __call__(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        texts = [
            {name: value for name, value in row.items() if name not in ("labels", "index")}
            for row in rows
        ]
        whole = isinstance(rows[0]["labels"], int)
        labels = torch.tensor(
            [row["labels"] for row in rows], dtype=torch.int64 if whole else torch.float32
        )
        index = torch.tensor([row["index"] for row in rows])
        return {**self.padded(texts), "labels": labels, "index": index}

    def padded(self, texts: Sequence[Row]) -> dict[str, Tensor]:
        """Token ids and masks `(batch, tokens)` of tokenised texts."""
        return {**self.tokenizer.pad(texts, padding=True, return_tensors="pt")}
