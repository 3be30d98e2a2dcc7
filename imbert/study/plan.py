"""A study: named models, each trained on every task, size and seed, then attacked.

Knows neither torch nor transformers.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from imbert.toml_tables import in_range, known_keys, named, one_of, read_toml, section
from imbert.training.run_config import SECTIONS, RunConfig, run_config

ATTACKS = ("pgd", "apgd", "square", "characters", "words")
OF_TEXTS = ("characters", "words")  # those that change texts, which can be put to another model
RADII = (
    0.1,
    0.3,
    1.0,
    # of attacks on word embeddings, in mean word norms: one straight step, beyond it, a word
    # exchanged
)
STAGES = ("train", "attack", "summarise")
SHARED = ("data", "train", "evaluate")


@dataclasses.dataclass(frozen=True)
class AttackChoice:
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

    kinds: tuple[str, ...] = ATTACKS
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
            one_of("attacks.kinds", kind, ATTACKS)
        in_range("attacks.examples", self.examples, 1)
        in_range("attacks.seed", self.seed, 0)
        in_range("attacks.sweep_examples", self.sweep_examples, 1)
        for radius in self.radii:
            in_range("attacks.radius", radius, 0, low_allowed=False)
        if not self.radii or len(set(self.radii)) < len(self.radii):
            raise ValueError(
                f"attacks.radius: expected at least one and none twice, got {list(self.radii)}"
            )
        one_of("attacks.norm", self.norm, ("l2", "linf"))
        one_of("attacks.gradient", self.gradient or "implicit", ("implicit", "unrolled"))
        in_range("attacks.restarts", self.restarts, 1)

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
        found = dict[str, tuple[str, float | None]]()
        for kind in self.kinds:
            if kind in OF_TEXTS:
                found[kind] = kind, None
                continue
            for radius in self.radii:
                found[kind if radius == self.radii[0] else f"{kind}-{radius:g}"] = kind, radius
        return found


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
    """One run of a study.

    Attributes:
        task: its task.
        size: its training rows; None is all.
        model: the name of its model.
        seed: of training.
        run: all its choices.
    """

    task: str
    size: int | None
    model: str
    seed: int
    run: RunConfig

    @property
    def group(self) -> str:
        """The folder of runs that are compared with each other."""
        return f"{self.task}-{self.size or 'all'}"

    @property
    def folder(self) -> str:
        """Where the run lies in the study's folder."""
        return f"runs/{self.group}/{self.model}/seed-{self.seed}"


@dataclasses.dataclass(frozen=True)
class StudyConfig:
    """All choices of a study.

    Attributes:
        name: of the study.
        baseline: the model that the others are tested against.
        seeds: of training; every model takes the same ones, and so the same data in the same order.
        tasks: GLUE tasks.
        sizes: training rows; 0 is all.
        models: for each name its [model] table, with a table "train" of what differs from the
            shared one.
        shared: the [data], [train] and [evaluate] tables of all runs.
        attacks: how the trained models are attacked; None leaves it out.

    Raises:
        ValueError: if a choice is missing, empty or repeated, or the baseline is none of the
            models.
    """

    name: str
    baseline: str
    seeds: tuple[int, ...]
    tasks: tuple[str, ...]
    sizes: tuple[int, ...]
    models: Mapping[str, Mapping[str, Any]]
    shared: Mapping[str, Any]
    attacks: AttackChoice | None

    def __post_init__(self) -> None:
        for name in ("seeds", "tasks", "sizes", "models"):
            values = list(getattr(self, name))
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name}: expected at least one and none twice, got {values}")
        one_of("baseline", self.baseline, tuple(self.models))
        for name in self.models:
            if not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
                raise ValueError(
                    f"models: expected names of letters, digits, '-', '_' and '.', got {name!r}"
                )
        list(self.cells())

    def cells(self) -> Iterator[Cell]:
        """All runs; seeds outermost, so that a study that is not finished compares all models."""
        for seed in self.seeds:
            for task in self.tasks:
                for size in self.sizes:
                    for name in self.models:
                        yield Cell(
                            task, size or None, name, seed, self._run(name, task, size, seed)
                        )

    def is_attacked(self, cell: Cell) -> bool:
        """Whether a run's model is to be attacked."""
        return self.attacks is not None and (
            self.attacks.seeds is None or cell.seed in self.attacks.seeds
        )

    def baseline_of(self, cell: Cell) -> Cell | None:
        """The baseline's run of the same group and seed; None for the baseline itself."""
        if cell.model == self.baseline:
            return None
        return next(
            one
            for one in self.cells()
            if one.model == self.baseline and (one.group, one.seed) == (cell.group, cell.seed)
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON-ready values."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def _run(self, name: str, task: str, size: int, seed: int) -> RunConfig:
        model = dict(self.models[name])
        train = {**self.shared.get("train", {}), **model.pop("train", {}), "seed": seed}
        data = {**self.shared.get("data", {}), "task": task, **({"size": size} if size else {})}
        evaluate = self.shared.get("evaluate", {})
        try:
            return run_config({"model": model, "data": data, "train": train, "evaluate": evaluate})
        except ValueError as error:
            raise ValueError(f"models.{name}: {error}") from None


def study_config(table: Mapping[str, Any]) -> StudyConfig:
    """A study from nested tables, as TOML gives them.

    Raises:
        ValueError: if a key is unknown or missing, or a value is wrong.
    """
    known_keys("a study", table, ("study", "models", "attacks", *SHARED))
    for name in ("study", "models"):
        if not isinstance(table.get(name), Mapping):
            raise ValueError(f"a study: expected a table [{name}], got {table.get(name)!r}")
    head = section("study", _Head, table["study"])
    for name, model in table["models"].items():
        if not isinstance(model, Mapping):
            raise ValueError(f"[models.{name}] must be a table, got {model!r}")
        section(
            f"models.{name}",
            SECTIONS["model"],
            {key: value for key, value in model.items() if key != "train"},
        )
        if not isinstance(model.get("train", {}), Mapping):
            raise ValueError(f"[models.{name}.train] must be a table, got {model['train']!r}")
    for name in SHARED:
        section(name, SECTIONS[name], table.get(name, {}))
    attacks = section("attacks", AttackChoice, table["attacks"]) if "attacks" in table else None
    shared = {name: table[name] for name in SHARED if name in table}
    return StudyConfig(
        head.name,
        head.baseline,
        head.seeds,
        head.tasks,
        head.sizes,
        table["models"],
        shared,
        attacks,
    )


def read_study(path: Path) -> StudyConfig:
    """A study from a TOML file.

    Raises:
        ValueError: if the file is not TOML or not a study.
        OSError: if it cannot be read.
    """
    return named(path, study_config, read_toml(path))


@dataclasses.dataclass(frozen=True)
class _Head:
    """The [study] table."""

    name: str = "study"
    baseline: str = "bert"
    seeds: tuple[int, ...] = (0,)
    tasks: tuple[str, ...] = ("sst2",)
    sizes: tuple[int, ...] = (1000,)
