"""What a study measures: the model, the texts and every choice that changes a number.

Knows neither torch nor transformers.
"""

import dataclasses
import functools
import importlib.resources
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from analysis.ground.embedded_model import DEFAULT_MODEL
from analysis.ground.embedded_model import default_model_folder as default_model_folder
from analysis.ground.identity import model_identity
from analysis.ground.labelled_tables import EDITS, USUAL, ColumnNames, holds_edits, read_labelled
from analysis.ground.table_files import columns_of, read_table, require_text
from analysis.ground.table_guard import is_table, require_texts

FIELDS = ("increment", "outer")
DTYPES = ("float64", "float32")
DEPTHS = ("quick", "full")
PREDICTION = "prediction"  # a third depth: what `odestab predict` measures, and nothing else
CALIBRATION = "calibration"  # a fourth: growth through the steps that the model takes
LARGEST_STEP = 1e6  # 1 + hλ loses its 1 to rounding well beyond, and overflows in the end
Item = TypeVar("Item")
LONGEST_KIND = 400  # characters: it is a title in figures
SYNTHETIC = (
    "gaussian",
    "worst",
    "attack",
)  # perturbations of the embeddings, which no kind of edit may be named after


@dataclasses.dataclass(frozen=True)
class Pair:
    """A text and its edit.

    Attributes:
        kind: what the edit is ("typo", "synonym", …); kinds are never mixed in a curve.
        original: the text.
        edited: the edited text.

    Raises:
        ValueError: if nothing is edited, or the kind is the name of a synthetic perturbation, not
            printable or too long.
    """

    kind: str
    original: str
    edited: str

    def __post_init__(self) -> None:
        if self.kind in SYNTHETIC:
            raise ValueError(
                f"kind of an edit must not be {' or '.join(SYNTHETIC)}, got {self.kind}"
            )
        if self.original == self.edited:
            raise ValueError(f"original and edited text must differ, got {self.original!r} twice")
        if not self.kind.isprintable() or len(self.kind) > LONGEST_KIND:
            shown = repr(self.kind[:30])
            raise ValueError(
                f"kind of an edit must be at most {LONGEST_KIND} printable "
                f"characters, got {len(self.kind)}: {shown}"
            )


@dataclasses.dataclass(frozen=True)
class Excerpt(Generic[Item]):
    """Some texts or pairs of a study, under the indices that they have in all of it.

    Attributes:
        members: with their indices, in order of these.
    """

    members: tuple[tuple[int, Item], ...]

    def __getitem__(self, index: int) -> Item:
        return dict(self.members)[index]

    def __iter__(self) -> Iterator[Item]:
        return (member for _, member in self.members)

    def __len__(self) -> int:
        return len(self.members)


def numbered(items: "Sequence[Item] | Excerpt[Item]") -> Iterator[tuple[int, Item]]:
    """Texts or pairs with the indices that they have in all of the study."""
    return iter(items.members if isinstance(items, Excerpt) else enumerate(items))


@dataclasses.dataclass(frozen=True)
class StudyConfig:
    """All choices of a study; equal configurations give equal numbers.

    Attributes:
        model: a hub id or a folder; None is the embedded default.
        texts: sentences whose layers are analysed; an excerpt where some cells alone are measured.
        pairs: edits whose propagation is measured; likewise.
        field: "increment" (f = F − id) or "outer" (f = F).
        step_sizes: h at which worst growth, solves and propagation are computed.
        layers: which layers' spectra; None is all. Propagation always runs through all of them.
        device: a torch device.
        dtype: "float64" or "float32".
        depth: "quick", or "full" with pseudospectra, densities, worst directions, sub-layers,
            refinement and Lyapunov exponents; "prediction" measures single steps of each layer and
            their solves alone, "calibration" growth through the declared steps alone.
        seed: of every random vector.
        eigenvalues: how many leading eigenvalues of each layer.
        dense_limit: largest dimension n·H for which the full spectrum is computed.
        chunk: texts measured together; it changes the memory needed and rounding, nothing else.
        rtol: tolerance on residuals of eigenvalues, relative to the spectral radius.
        growth_rtol: tolerance on residuals of worst growth and logarithmic norm; the values' own
            errors are of second order in it.
        perturbations: random directions behind the implicit advantage.
        propagated: how many texts, the first ones, are followed through depth under Gaussian and
            worst perturbations, and measured in full depth.
        truncated_steps: k of the truncated solvers whose regions are drawn.
        tolerances: of the solver, loosest first, at which a prediction counts evaluations.
        steps: a checkpoint whose declared steps the layers take in a calibration; None is the model
            itself.
        directions: a safetensors file of perturbations of the state that enters the first layer,
            `(tokens, hidden)` by the sha256 of their text, for a calibration.

    Raises:
        ValueError: if a choice is out of range; the message names it.
    """

    model: str | None = None
    texts: tuple[str, ...] | Excerpt[str] = ()
    pairs: tuple[Pair, ...] | Excerpt[Pair] = ()
    field: str = "increment"
    step_sizes: tuple[float, ...] = (1.0,)
    layers: tuple[int, ...] | None = None
    device: str = "cpu"
    dtype: str = "float64"
    depth: str = "quick"
    seed: int = 0
    eigenvalues: int = 8
    dense_limit: int = 1600
    chunk: int = 8
    rtol: float = 1e-3
    growth_rtol: float = 1e-2
    perturbations: int = 4
    propagated: int = 16
    truncated_steps: int = 5
    tolerances: tuple[float, ...] = (1e-1, 1e-2, 1e-3)
    steps: str | None = None
    directions: str | None = None

    def __post_init__(self) -> None:
        if not self.texts:
            raise ValueError("texts: expected at least one text, got none")
        for text in (
            *self.texts,
            *(text for pair in self.pairs for text in (pair.kind, pair.original, pair.edited)),
        ):
            if any(
                "\ud800" <= character <= "\udfff" for character in text
            ):  # half of a character, which no tokenizer takes
                raise ValueError(f"texts must be Unicode, got a lone surrogate in {text[:60]!r}")
        for name, allowed in (
            ("field", FIELDS),
            ("dtype", DTYPES),
            ("depth", (*DEPTHS, PREDICTION, CALIBRATION)),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}"
                )
        for h in self.step_sizes:
            if not 0 < h <= LARGEST_STEP:
                raise ValueError(f"step size must be > 0 and at most {LARGEST_STEP:g}, got {h}")
        if not self.step_sizes or len(set(self.step_sizes)) < len(self.step_sizes):
            raise ValueError(
                f"step sizes must be given and differ from each other, got {list(self.step_sizes)}"
            )
        if self.layers is not None and not self.layers:
            raise ValueError("layers: expected at least one layer, got none")
        for name in ("eigenvalues", "chunk", "perturbations", "propagated", "truncated_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        for name in ("rtol", "growth_rtol"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must be in (0, 1), got {getattr(self, name)}")
        if (
            not self.tolerances
            or list(self.tolerances) != sorted(set(self.tolerances), reverse=True)
            or not 0 < self.tolerances[-1] < 1
        ):
            raise ValueError(
                f"tolerances must be in (0, 1), loosest first, got {list(self.tolerances)}"
            )

    @property
    def map_step_sizes(self) -> tuple[float, ...]:
        """Step sizes of the stability map: seven octaves around 1, four to each."""
        return tuple(2.0 ** (quarter / 4) for quarter in range(-16, 9))

    @property
    def sizes(self) -> tuple[float, ...]:
        """Relative sizes of Gaussian perturbations: from where the linear prediction holds to where
        it does not.
        """
        if self.depth == CALIBRATION:
            return (1e-4, 1e-3, 1e-2, 1e-1, 0.3)
        return (1e-5, 1e-3, 1e-1, 0.3) if self.dtype == "float64" else (1e-3, 1e-2, 1e-1, 0.3)

    def first_pair(self, original: str) -> int:
        """The index of the first pair with an original: it numbers the edits of one text."""
        return self._first_pairs[original]

    @functools.cached_property
    def _first_pairs(self) -> dict[str, int]:
        first: dict[str, int] = {}
        for index, pair in numbered(self.pairs):
            first.setdefault(pair.original, index)
        return first

    def chosen_layers(self, depth: int) -> tuple[int, ...]:
        """The layers to analyse of an encoder with `depth` layers.

        Raises:
            ValueError: if one does not exist.
        """
        for layer in self.layers or ():
            if not 0 <= layer < depth:
                raise ValueError(
                    f"layers must be in 0..{depth - 1} for this "
                    f"encoder of {depth} layers, got {layer}"
                )
        return tuple(sorted(set(self.layers))) if self.layers is not None else tuple(range(depth))

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON-ready values, with the derived grids."""
        plain = dataclasses.asdict(self)
        plain["model"] = self.model or DEFAULT_MODEL
        plain["pairs"] = [[pair.kind, pair.original, pair.edited] for pair in self.pairs]
        return {**plain, "map_step_sizes": self.map_step_sizes, "sizes": self.sizes}


def checkpoint_digest(model: str | None) -> str | None:
    """Sha256 of a model's weights, as fine-tuning records name it; None for a hub id that is not in
    the cache.
    """
    return model_identity(default_model_folder() if model is None else model).weights


def read_texts(
    path: Path, names: ColumnNames = USUAL, edits: bool = False
) -> tuple[tuple[str, ...], tuple[Pair, ...]]:
    """Read a text file: one text a line, or `original<TAB>edited`, or
    `kind<TAB>original<TAB>edited`; or a table with a header, whose texts are taken.

    Args:
        path: of the file; its suffix says the format of a table.
        names: of the columns of a table; a file is one where they are given.
        edits: whether the pairs of a table are a text and its edit. Columns `original` and `edited`
            always are; of other pairs each text counts by itself.

    Returns:
        Texts (originals of pairs included) and pairs, each once.

    Raises:
        ValueError: if the file is empty, is not UTF-8, has an empty line or field, or more than
            three columns, or is a table without a header, with labels or of JSON, or without such
            columns. The line is named.
        OSError: if it cannot be read.
    """
    if names.given or is_table(path):
        return _texts_of_table(path, names, edits)
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:  # its object is without the byte order mark
        number = error.object[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path}: expected UTF-8, got byte 0x{error.object[error.start]:02x} on line {number}"
        ) from None
    if not text:
        raise ValueError(f"{path}: expected one text a line, got an empty file")
    require_texts(path, text)
    texts, pairs = [], []
    for number, line in enumerate(
        text.removesuffix("\n").split("\n"), 1
    ):  # splitlines would also split at U+2028 and its kin
        columns = [column.strip() for column in line.split("\t")]
        if not all(columns):
            raise ValueError(f"{path}: line {number} is empty or has an empty column")
        if len(columns) > 3:
            raise ValueError(
                f"{path}: line {number}: expected a text, a pair, or "
                f"kind and pair, got {len(columns)} columns"
            )
        if len(columns) > 1:
            kind, original, edited = columns if len(columns) == 3 else ("edit", *columns)
            try:
                pairs.append(Pair(kind, original, edited))
            except ValueError as error:
                raise ValueError(f"{path}: line {number}: {error}") from None
        texts.append(columns[-2] if len(columns) > 1 else columns[0])
    return tuple(dict.fromkeys(texts)), tuple(dict.fromkeys(pairs))


def _texts_of_table(
    path: Path, names: ColumnNames, edits: bool
) -> tuple[tuple[str, ...], tuple[Pair, ...]]:
    """The texts of a table with a header, and its pairs where they are edits."""
    sides = EDITS
    if edits and names.text is not None and names.pair is not None:
        sides = (names.text, names.pair)
    elif not holds_edits(columns_of(path), names):
        rows = read_labelled(path, names).rows
        return tuple(dict.fromkeys(text for row in rows for text in row.texts)), ()
    pairs = []
    for row in read_table(path, {name: (name,) for name in sides}, {"kind": ("kind",)}):
        where = f"{path}:{row.line}"
        original, edited = (require_text(row.values[name], name, where) for name in sides)
        try:
            pairs.append(Pair(str(row.values.get("kind", "edit")), original, edited))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    if not pairs:
        raise ValueError(f"{path}: expected at least one row, got none")
    return tuple(dict.fromkeys(pair.original for pair in pairs)), tuple(dict.fromkeys(pairs))


def default_texts() -> tuple[tuple[str, ...], tuple[Pair, ...]]:
    """The sentences and edit pairs written for this project."""
    folder = importlib.resources.files("analysis") / "texts"
    with importlib.resources.as_file(folder) as path:
        sentences, _ = read_texts(path / "sentences.txt")
        _, pairs = read_texts(path / "edits.tsv")
    return sentences, pairs
