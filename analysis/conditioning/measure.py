"""One group of inputs measured: their conditioning, and what random drafts of them do."""

import dataclasses
import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

import odestab as od
from analysis.conditioning.drafts import AbstractDrafts, drafts_of, text_digest
from analysis.conditioning.records import Drafted, Input
from analysis.conditioning.steepest import Span, steepest_word
from analysis.ground.json_records import finite
from analysis.ground.text_edits import Texts

TOKENS_AT_ONCE = 2048  # of the drafts in one forward, padding included


@dataclasses.dataclass(frozen=True, eq=False)
class Classifier:
    """A sequence classifier with what it is asked.

    Attributes:
        model: in eval mode.
        tokenizer: of it.
        max_tokens: of the longest text that it takes.
        families: of drafts.
        drafts: K, of each family.
        seed: of the drafts.
    """

    model: Any
    tokenizer: Any
    max_tokens: int
    families: tuple[AbstractDrafts, ...]
    drafts: int
    seed: int

    def encode(self, texts: Sequence[Texts]) -> dict[str, Tensor]:
        """A padded batch on the model's device, cut to what the model takes."""
        batch = self._tokens(
            texts,
            return_attention_mask=True,
            return_special_tokens_mask=True,
            return_tensors="pt",
        )
        # some tokenizers tell of segments also where the model has none
        kept = ("attention_mask", "special_tokens_mask")
        taken = {*inspect.signature(self.model.forward).parameters, *kept}
        return {
            name: values.to(self.model.device) for name, values in batch.items() if name in taken
        }

    def spans(self, texts: Sequence[Texts]) -> list[list[Span | None]]:
        """Where each token of a batch stands in the text that drafts edit, `(begin, end)`; None of
        special tokens and those of other texts, and of all where the tokenizer cannot say.
        """
        if not self.tokenizer.is_fast:
            return [[None] * len(ids) for ids in self._tokens(texts)["input_ids"]]
        batch = self._tokens(texts, return_offsets_mapping=True)
        edited = len(texts[0]) - 1
        return [
            [
                (begin, end) if sequence == edited else None
                for (begin, end), sequence in zip(of_text, batch.sequence_ids(place), strict=True)
            ]
            for place, of_text in enumerate(batch["offset_mapping"])
        ]

    def _tokens(self, texts: Sequence[Texts], **more: Any) -> Any:
        columns = [list(column) for column in zip(*texts, strict=True)]
        return self.tokenizer(
            *columns, padding=True, truncation=True, max_length=self.max_tokens, **more
        )

    @torch.no_grad()
    def run(self, batch: Mapping[str, Tensor]) -> "States":
        """One forward."""
        taken = inspect.signature(self.model.forward).parameters
        asked = {name: values for name, values in batch.items() if name in taken}
        output = self.model(**asked, output_hidden_states=True, return_dict=True)
        states = torch.stack(output.hidden_states, 2)
        mask = batch["attention_mask"].bool()
        solved = getattr(self.model, "solved", None)
        solved = torch.ones(len(mask), dtype=torch.bool) if solved is None else solved.cpu()
        return States(batch["input_ids"], mask, states, output.logits, solved)


@dataclasses.dataclass(frozen=True, eq=False)
class States:
    """A batch with what the model makes of it.

    Attributes:
        ids: `(batch, tokens)`.
        mask: True on real tokens.
        hidden: x_0, …, x_L of each token, `(batch, tokens, levels, hidden)`.
        logits: `(batch, outputs)`.
        solved: which had all implicit steps solved that the model declares.
    """

    ids: Tensor
    mask: Tensor
    hidden: Tensor
    logits: Tensor
    solved: Tensor

    def take(self, rows: Tensor) -> "States":
        """Some of the batch, in that order."""
        return States(
            self.ids[rows],
            self.mask[rows],
            self.hidden[rows],
            self.logits[rows],
            self.solved[rows.cpu()],
        )


@dataclasses.dataclass(frozen=True)
class Row:
    """One input to measure.

    Attributes:
        index: of its row in the file.
        texts: one or two.
        tokens: that the model would see of them, were there no limit.
        label: None is what the model predicts.
    """

    index: int
    texts: Texts
    tokens: int
    label: int | None


def measure(classifier: Classifier, rows: Sequence[Row]) -> list[Input]:
    """Margin, gradient and what drafts do, of each row; a number that is not finite is None."""
    batch = classifier.encode([row.texts for row in rows])
    states = classifier.run(batch)
    predicted = states.logits.argmax(1)
    labels = torch.tensor(
        [
            own if row.label is None else row.label
            for row, own in zip(rows, predicted.tolist(), strict=True)
        ]
    )
    found = od.conditioning(classifier.model, batch, labels.to(predicted.device))
    by_token = found.by_token.cpu().double().numpy()
    spans = classifier.spans([row.texts for row in rows])
    drafts = _drafts(classifier, rows)
    ends = _ends(classifier, states, labels, drafts)
    measured = []
    for place, row in enumerate(rows):
        own = {
            family.name: {
                number: ends[place, draft] for number, draft in drafts[family.name][place].items()
            }
            for family in classifier.families
        }
        margin, gradient, distance, relative = (
            finite(getattr(found, name)[place])
            for name in ("margin", "gradient", "distance", "relative")
        )
        measured.append(
            Input(
                index=row.index,
                text=text_digest(row.texts),
                words=sum(len(text.split()) for text in row.texts),
                tokens=int(states.mask[place].sum()),
                label=int(labels[place]),
                predicted=int(predicted[place]),
                margin=margin,
                gradient=gradient,
                distance=distance,
                relative=relative,
                flat=bool(found.flat[place]),
                drafts={
                    name: _drafted(of_family, states.hidden.shape[2])
                    for name, of_family in own.items()
                },
                finite=margin is not None and gradient is not None,
                truncated=row.tokens > classifier.max_tokens,
                solved=bool(states.solved[place])
                and all(end.solved for of_family in own.values() for end in of_family.values()),
                steepest=steepest_word(row.texts, by_token[place], spans[place]),
            )
        )
    return measured


def _drafts(classifier: Classifier, rows: Sequence[Row]) -> dict[str, list[dict[int, Texts]]]:
    """By family and row, the drafts that differ from the text, by number; one that is drawn twice
    counts twice.
    """
    return {
        family.name: [
            {
                number: draft
                for number, draft in enumerate(
                    drafts_of(row.texts, family, classifier.drafts, classifier.seed)
                )
                if draft != row.texts
            }
            for row in rows
        ]
        for family in classifier.families
    }


@dataclasses.dataclass(frozen=True)
class _End:
    """Of one draft its margin, ‖δ_l‖ at every level, and whether its steps were solved."""

    margin: float
    sizes: np.ndarray
    solved: bool


def _ends(
    classifier: Classifier,
    states: States,
    labels: Tensor,
    drafts: Mapping[str, list[dict[int, Texts]]],
) -> dict[tuple[int, Texts], _End]:
    """What each draft comes to, by the row's place and the draft; what several families draw is
    computed once.
    """
    asked = [
        (place, draft)
        for of_family in drafts.values()
        for place, of_row in enumerate(of_family)
        for draft in of_row.values()
    ]
    unique = list(dict.fromkeys(asked))
    ends = {}
    for group in _batches(classifier, unique):
        places = torch.tensor([place for place, _ in group])
        made = classifier.run(classifier.encode([draft for _, draft in group]))
        on_device = places.to(made.logits.device)
        sizes = _sizes(states.take(on_device), made).cpu().numpy()
        margins = od.logit_margin(made.logits, labels.to(made.logits.device)[on_device]).tolist()
        for key, *end in zip(group, margins, sizes, made.solved.tolist(), strict=True):
            ends[key] = _End(*end)
    return ends


def _batches(
    classifier: Classifier, asked: list[tuple[int, Texts]]
) -> Iterator[list[tuple[int, Texts]]]:
    """Drafts of similar length together, so that little is padded."""
    if not asked:
        return
    columns = [list(column) for column in zip(*(draft for _, draft in asked), strict=True)]
    counted = classifier.tokenizer(*columns, truncation=True, max_length=classifier.max_tokens)
    lengths = [len(ids) for ids in counted["input_ids"]]
    padded = od.takes_padding(classifier.model)
    ordered = sorted(range(len(asked)), key=lambda i: (lengths[i], i))
    group: list[int] = []
    for place in ordered:
        full = (len(group) + 1) * lengths[place] > TOKENS_AT_ONCE
        longer = not padded and lengths[place] > lengths[group[-1] if group else place]
        if group and (full or longer):
            yield [asked[i] for i in group]
            group = []
        group.append(place)
    yield [asked[i] for i in group]


def _sizes(before: States, after: States) -> Tensor:
    """‖δ_l‖ of each pair at every level, `(batch, levels)`, on the union of their tokens."""
    alignment = od.align(before.ids, after.ids, before.mask, after.mask)
    wide = torch.promote_types(after.hidden.dtype, torch.float32)
    ours = alignment.of_first(before.hidden).to(wide)
    theirs = alignment.of_second(after.hidden).to(wide)
    return torch.linalg.vector_norm(theirs - ours, dim=(1, 3))


def _drafted(by_number: Mapping[int, _End], levels: int) -> Drafted:
    """What the drafts of one family did to one text."""
    ends = by_number.values()
    margins = np.array([end.margin for end in ends], dtype=np.float64)
    known = np.isfinite(margins).all() and len(ends) > 0
    grown = [end.sizes.astype(np.float64) / end.sizes[0] for end in ends if end.sizes[0] != 0]
    growth = np.median(grown, axis=0) if grown else np.full(levels, math.nan)
    return Drafted(
        count=len(ends),
        spread=finite(margins.std(ddof=1)) if len(ends) > 1 else None,
        least=finite(margins.min()) if len(ends) else None,
        flipped=int((margins <= 0).sum()),
        growth=[finite(value) for value in growth],
        weakest=[*by_number][int(margins.argmin())] if known else None,
    )
