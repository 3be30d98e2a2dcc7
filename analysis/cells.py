"""Which cells a study consists of: small independent units of measurement, named so that a killed
run can tell what is missing.
"""

import dataclasses
import hashlib

from analysis.config import CALIBRATION, PREDICTION, Pair, StudyConfig


@dataclasses.dataclass(frozen=True)
class CellPlan:
    """One cell to measure.

    Attributes:
        kind: "layer", "dense", "propagation", "regions" or "truncated"; in full depth also
            "nonnormality", "bounds", "density", "sublayers", "refinement" and "exponents"; for a
            prediction "layer" and "solves"; for a calibration "declared".
        texts: indices into the study's texts, or into its pairs where `perturbation` is an edit.
        layer: of cells that are about one layer.
        step_size: of "propagation", "regions" and "exponents" cells.
        perturbation: of "propagation" and "declared" cells: "gaussian", "worst", a kind of edit, of
            the latter also "attack".
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


def chunks(indices: list[int], lengths: list[int], size: int) -> list[tuple[int, ...]]:
    """Groups of at most `size` texts of similar length, so that little is padded; groups and
    members in a fixed order.
    """
    ordered = sorted(indices, key=lambda i: (lengths[i], i))
    return [tuple(ordered[first : first + size]) for first in range(0, len(ordered), size)]


def plan(
    config: StudyConfig,
    layers: tuple[int, ...],
    tokens: list[int],
    hidden: int,
    pair_tokens: dict[int, int],
    directed: tuple[int, ...] = (),
) -> list[CellPlan]:
    """All cells of a study, cheap ones first.

    Args:
        config: the study.
        layers: the layers to analyse.
        tokens: token count of every text.
        hidden: the hidden size H.
        pair_tokens: token count of every pair that can be propagated, by index.
        directed: the texts that have a direction of their own.
    """
    everything = chunks(list(range(len(tokens))), tokens, config.chunk)
    if config.depth == PREDICTION:
        return [
            CellPlan(kind, chunk, layer=layer)
            for kind in ("solves", "layer")
            for layer in layers
            for chunk in everything
        ]
    followed = chunks(list(range(len(tokens)))[: config.propagated], tokens, config.chunk)
    if config.depth == CALIBRATION:
        cells = [
            CellPlan("declared", chunk, perturbation=kind)
            for chunk in followed
            for kind in ("gaussian", "worst")
        ]
        cells += [
            CellPlan("declared", chunk, perturbation="attack")
            for chunk in chunks(list(directed), tokens, config.chunk)
        ]
        for kind in dict.fromkeys(pair.kind for pair in config.pairs):
            cells += _edit_cells("declared", config.pairs, kind, None, pair_tokens, config.chunk)
        return cells
    short = [i for i, count in enumerate(tokens) if count * hidden <= config.dense_limit]
    cells = [*(CellPlan("regions", step_size=h) for h in config.step_sizes), CellPlan("truncated")]
    for h in config.step_sizes:
        for kind in dict.fromkeys(pair.kind for pair in config.pairs):
            cells += _edit_cells("propagation", config.pairs, kind, h, pair_tokens, config.chunk)
        for chunk in followed:
            cells += [
                CellPlan("propagation", chunk, step_size=h, perturbation=kind)
                for kind in ("gaussian", "worst")
            ]
    for layer in layers:
        cells += [CellPlan("layer", chunk, layer=layer) for chunk in everything]
        cells += [CellPlan("dense", (i,), layer=layer) for i in short]
    shortest = sorted(short, key=lambda i: (tokens[i], i))[:1]
    return cells + (
        _full_depth(config, layers, followed, shortest) if config.depth == "full" else []
    )


def _full_depth(
    config: StudyConfig,
    layers: tuple[int, ...],
    followed: list[tuple[int, ...]],
    shortest: list[int],
) -> list[CellPlan]:
    """What a run of full depth adds: on the shortest text what takes dense matrices, on the
    followed texts the rest.
    """
    cells = [
        CellPlan("exponents", chunk, step_size=h) for h in config.step_sizes for chunk in followed
    ]
    for layer in layers:
        cells += [CellPlan("nonnormality", (i,), layer=layer) for i in shortest]
        for kind in ("bounds", "density", "sublayers", "refinement"):
            cells += [CellPlan(kind, chunk, layer=layer) for chunk in followed]
    return cells


def _edit_cells(
    cell: str,
    pairs: tuple[Pair, ...],
    kind: str,
    h: float | None,
    pair_tokens: dict[int, int],
    size: int,
) -> list[CellPlan]:
    mine = [i for i in pair_tokens if pairs[i].kind == kind]
    lengths = [pair_tokens.get(i, 0) for i in range(len(pairs))]
    return [
        CellPlan(cell, chunk, step_size=h, perturbation=kind)
        for chunk in chunks(mine, lengths, size)
    ]
