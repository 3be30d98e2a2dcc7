"""Which cells a study consists of: small independent units of measurement, named so that a killed
run can tell what is missing.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Iterable

from analysis.config import SYNTHETIC, StudyConfig

DECLARED = ("declared",)  # kinds of cells of the steps that a checkpoint declares
FOLLOWING = ("propagation", "secants", "exponents", *DECLARED)  # a path through the stack


@dataclasses.dataclass(frozen=True)
class CellPlan:
    """One cell to measure.

    Attributes:
        kind: by which a quantity knows its cells.
        texts: indices into the study's texts, or into its pairs where `perturbation` is an edit.
        layer: of cells that are about one layer.
        step_size: of "propagation", "secants", "regions" and "exponents" cells.
        perturbation: of "propagation" and "declared" cells: "gaussian", "worst", a kind of edit, of
            the latter also "attack"; of "secants" cells a kind of edit.
    """

    kind: str
    texts: tuple[int, ...] = ()
    layer: int | None = None
    step_size: float | None = None
    perturbation: str | None = None

    @property
    def name(self) -> str:
        """The file's stem: another one for every cell of a study, also where case does not tell
        files apart.
        """
        parts = [self.kind]
        if self.layer is not None:
            parts.append(f"l{self.layer:02d}")
        if self.step_size is not None:
            short = f"{self.step_size:g}"
            parts.append(f"h{short if float(short) == self.step_size else repr(self.step_size)}")
        if self.perturbation is not None:
            parts.append(_safe(self.perturbation))
        if self.texts:
            parts.append(f"t{self.texts[0]:04d}")
        return "-".join(parts)

    @property
    def is_of_pairs(self) -> bool:
        """Whether its texts are indices of pairs."""
        return self.perturbation is not None and self.perturbation not in SYNTHETIC

    @property
    def path(self) -> tuple[object, ...]:
        """What the cells have in common that follow the same texts through the stack: they are
        measured one after the other, as they share paths and linearisations.
        """
        if self.kind not in FOLLOWING:
            return (self.name,)
        edit = None if self.perturbation in SYNTHETIC else self.perturbation
        return (self.kind in DECLARED, edit, self.texts, self.step_size)

    def header(self) -> dict[str, object]:
        """What the cell is of, for its file."""
        known = {key: value for key, value in dataclasses.asdict(self).items() if value is not None}
        return {**known, "texts": list(self.texts)}


def _safe(kind: str) -> str:
    """A kind of perturbation as part of a file name; where that changes it, a digest keeps it apart
    from all others.
    """
    safe = "".join(c if c.isascii() and c.isalnum() else "_" for c in kind.lower())[:40]
    return safe if safe == kind else f"{safe}-{hashlib.sha256(kind.encode()).hexdigest()[:8]}"


def in_good_order(cells: Iterable[CellPlan]) -> list[list[CellPlan]]:
    """The groups of cells that share a path, first paths and then layers, those of the same texts
    one after the other: one trace serves all of them.
    """
    groups = sharing_a_path(cells)
    return sorted(groups, key=lambda group: (group[0].layer is not None, group[0].texts))


def sharing_a_path(cells: Iterable[CellPlan]) -> list[list[CellPlan]]:
    """The cells of each path together, where the first of them stands."""
    groups: dict[tuple[object, ...], list[CellPlan]] = {}
    for cell in cells:
        groups.setdefault(cell.path, []).append(cell)
    return list(groups.values())


def chunks(
    indices: list[int], lengths: list[int], size: int, padded: bool = True
) -> list[tuple[int, ...]]:
    """Groups of at most `size` texts of similar length, so that little is padded, or of the same
    length, so that nothing is; groups and members in a fixed order.
    """
    ordered = sorted(indices, key=lambda i: (lengths[i], i))
    alike = itertools.groupby(ordered, key=lambda i: None if padded else lengths[i])
    groups = [list(group) for _, group in alike]
    return [
        tuple(group[first : first + size])
        for group in groups
        for first in range(0, len(group), size)
    ]


@dataclasses.dataclass(frozen=True)
class Scope:
    """What a study's cells are planned from.

    Attributes:
        config: the study.
        layers: the layers to analyse.
        tokens: token count of every text.
        hidden: the hidden size H.
        pair_tokens: token count of every pair that can be propagated, by index.
        directed: the texts that have a direction of their own.
        aligned_tokens: token count of the longer side of every pair whose tokens can be aligned, by
            index: pairs of unequal counts too.
        padded: the model takes padded batches.
    """

    config: StudyConfig
    layers: tuple[int, ...]
    tokens: list[int]
    hidden: int
    pair_tokens: dict[int, int]
    directed: tuple[int, ...] = ()
    aligned_tokens: dict[int, int] = dataclasses.field(default_factory=dict)
    padded: bool = True

    @property
    def texts(self) -> list[tuple[int, ...]]:
        """All texts, in chunks."""
        return self._chunks(list(range(len(self.tokens))), self.tokens)

    @property
    def followed(self) -> list[tuple[int, ...]]:
        """The texts that are followed through depth, in chunks."""
        first = list(range(len(self.tokens)))[: self.config.propagated]
        return self._chunks(first, self.tokens)

    def _chunks(self, indices: list[int], lengths: list[int]) -> list[tuple[int, ...]]:
        return chunks(indices, lengths, self.config.chunk, self.padded)

    @property
    def short(self) -> list[int]:
        """The texts whose Jacobians are small enough to be dense matrices."""
        limit = self.config.dense_limit
        return [i for i, count in enumerate(self.tokens) if count * self.hidden <= limit]

    def of_layers(self, kind: str, groups: list[tuple[int, ...]]) -> list[CellPlan]:
        """A cell of each group of texts in each layer."""
        return [CellPlan(kind, group, layer=layer) for layer in self.layers for group in groups]

    def of_edits(
        self, cell: str, step_size: float | None = None, tokens: dict[int, int] | None = None
    ) -> list[CellPlan]:
        """A cell of each chunk of pairs, by default of those that can be propagated; kinds of edits
        are not mixed.
        """
        pairs = self.config.pairs
        tokens = self.pair_tokens if tokens is None else tokens
        lengths = [tokens.get(i, 0) for i in range(len(pairs))]
        # The sides of a pair may differ in length: two pairs of one length are padded too.
        size = self.config.chunk if self.padded else 1
        return [
            CellPlan(cell, chunk, step_size=step_size, perturbation=kind)
            for kind in dict.fromkeys(pair.kind for pair in pairs)
            for chunk in chunks([i for i in tokens if pairs[i].kind == kind], lengths, size)
        ]

    def of_texts(self, cell: str, step_size: float | None = None) -> list[CellPlan]:
        """A cell of each synthetic perturbation of each chunk of followed texts: both of one chunk
        side by side, as they share a path.
        """
        return [
            CellPlan(cell, chunk, step_size=step_size, perturbation=kind)
            for chunk in self.followed
            for kind in ("gaussian", "worst")
        ]
