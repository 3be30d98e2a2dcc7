"""How trained models are attacked, as a study or the command chooses it."""

from pathlib import Path

from analysis.ground.frozen_record import Choice
from imbert.attacks.registry import ATTACKS, changes_texts
from imbert.toml_tables import MOST, in_range, one_of

# of attacks on word embeddings, in mean word norms: one straight step, beyond it, a word exchanged
RADII = (0.1, 0.3, 1.0)
LAYOUTS = {  # of the tables of words
    "synonyms": 'a JSON object {"word": ["substitute", ...]}',
    "antonyms": "a text file of two words a line",
}


class AttackChoice(Choice, frozen=True):
    """How every trained model is attacked.

    Attributes:
        kinds: which attacks.
        examples: the first so many dev examples.
        seeds: training seeds whose models are attacked; None is all.
        seed: of the attacks' random starts.
        masking: whether the masking checks run.
        sweep_examples: on how many examples the masking checks vary the solver's tolerance.
        norm: of the ball about the word embeddings, "l2" or "linf".
        radius: of it, relative to the mean norm of word embeddings; of several, a ladder, each
            attack runs at each. None is 0.1.
        gradient: that the white-box attacks climb, "implicit" or "unrolled"; None is the one that
            suits the solver.
        restarts: of the white-box attacks; None is each attack's default.
        synonyms: the table of word substitutions, found like `data.source`.
        antonyms: pairs that are never substituted; None allows all.

    Raises:
        ValueError: if a choice is out of range or unknown.
    """

    kinds: tuple[str, ...] = tuple(ATTACKS)
    examples: int = 100
    seeds: tuple[int, ...] | None = None
    seed: int = 0
    masking: bool = True
    sweep_examples: int = 32
    norm: str = "l2"
    radius: float | tuple[float, ...] | None = RADII
    gradient: str | None = None
    restarts: int | None = None
    synonyms: str = "attack/counterfitted_neighbors.json.gz"
    antonyms: str | None = None

    def __post_init__(self) -> None:
        for kind in self.kinds:
            one_of("attacks.kinds", kind, tuple(ATTACKS))
        in_range("attacks.examples", self.examples, 1, MOST)
        in_range("attacks.seed", self.seed, 0)
        in_range("attacks.sweep_examples", self.sweep_examples, 1, MOST)
        for radius in self.radii:
            in_range("attacks.radius", radius, 0, low_allowed=False)
        if not self.radii or len(set(self.radii)) < len(self.radii):
            raise ValueError(
                f"attacks.radius: expected at least one and none twice, got {list(self.radii)}"
            )
        one_of("attacks.norm", self.norm, ("l2", "linf"))
        one_of("attacks.gradient", self.gradient or "implicit", ("implicit", "unrolled"))
        in_range("attacks.restarts", self.restarts, 1, MOST)

    def require_tables(self, data: Path) -> None:
        """Refuse tables of words that are not there, before any attack has taken its time.

        Args:
            data: where relative paths start.

        Raises:
            FileNotFoundError: naming the file, what it must be, and the way on.
        """
        for kind in self.kinds:
            for name in ATTACKS[kind].tables:
                table = getattr(self, name)
                if table is not None and not (data / table).is_file():
                    raise FileNotFoundError(
                        f"attack {kind}: expected {name} (--{name} FILE) as {LAYOUTS[name]}, .gz "
                        f"allowed, got no file {data / table}; antonyms are optional, and other "
                        "attacks (--kind) need no table"
                    )

    @property
    def radii(self) -> tuple[float, ...]:
        """The radii of the ladder."""
        if self.radius is None:
            return RADII[:1]
        return (self.radius,) if isinstance(self.radius, float | int) else self.radius

    @property
    def records(self) -> dict[str, tuple[str, float | None]]:
        """Kind and radius of each attack by the name of its record: "pgd" has the first radius,
        "pgd-0.3" a later rung of a ladder.
        """
        records: dict[str, tuple[str, float | None]] = {}
        for kind in self.kinds:
            if changes_texts(kind):
                records[kind] = kind, None
                continue
            for radius in self.radii:
                name = kind if radius == self.radii[0] else f"{kind}-{radius:g}"
                records[name] = kind, radius
        return records
