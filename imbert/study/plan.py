"""A study: named models, each trained on every task, size and seed, then attacked."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from msgspec import UNSET, UnsetType

from analysis.ground.difference import EDITS_NEEDED, Difference
from analysis.ground.frozen_record import Choice
from analysis.ground.question import Question
from imbert.attacks.choice import AttackChoice
from imbert.attacks.registry import changes_texts
from imbert.data.tasks import OWN
from imbert.toml_tables import Plain, Table, known_keys, named, one_of, read_toml, section
from imbert.training.run_config import SECTIONS, RunConfig, data_table, run_config

STAGES = ("train", "attack", "summarise")
SHARED = ("data", "train", "evaluate")


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


class StudyConfig(Choice, frozen=True):
    """All choices of a study.

    Attributes:
        name: of the study.
        baseline: the model that the others are tested against.
        seeds: of training; every model takes the same ones, and so the same data in the same order.
        tasks: GLUE tasks, or "own" for the one of [data].
        sizes: training rows; 0 is all.
        models: for each name its [model] table, with a table "train" of what differs from the
            shared one.
        shared: the [data], [train] and [evaluate] tables of all runs.
        attacks: how the trained models are attacked; None leaves it out.
        question: that the study answers, with the sentence for each outcome.

    Raises:
        ValueError: if a choice is missing, empty or repeated, the baseline is none of the models,
            or the question is about models or an attack that the study has not.
    """

    name: str
    baseline: str
    seeds: tuple[int, ...]
    tasks: tuple[str, ...]
    sizes: tuple[int, ...]
    models: dict[str, dict[str, Plain]]
    shared: dict[str, dict[str, Plain]]
    attacks: AttackChoice | None
    question: Question | UnsetType = UNSET

    def __post_init__(self) -> None:
        for name in ("seeds", "tasks", "sizes", "models"):
            values = list(getattr(self, name))
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name}: expected at least one and none twice, got {values}")
        if OWN in self.tasks and len(self.tasks) > 1:
            raise ValueError(
                f"tasks: expected {OWN} alone, as [data] describes it, got {', '.join(self.tasks)}"
            )
        one_of("baseline", self.baseline, tuple(self.models))
        for name in self.models:
            if not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
                raise ValueError(
                    f"models: expected names of letters, digits, '-', '_' and '.', got {name!r}"
                )
        if self.difference is not None:
            _require_measured(self.difference, tuple(self.models), self.attacks)
        # every run is built once, so that what is wrong in one is told before the first trains
        list(self.cells())

    @property
    def difference(self) -> Difference | None:
        """The primary outcome, where it is a difference that the summary computes."""
        chosen = self.question.difference if isinstance(self.question, Question) else UNSET
        return chosen if isinstance(chosen, Difference) else None

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
        # nothing to be compared with
        if cell.model == self.baseline:
            return None
        return next(
            other
            for other in self.cells()
            if other.model == self.baseline and (other.group, other.seed) == (cell.group, cell.seed)
        )

    def with_data(self, values: Mapping[str, Plain]) -> "StudyConfig":
        """The same study with those values in the [data] table of all runs."""
        shared = {**self.shared, "data": {**self.shared.get("data", {}), **values}}
        return msgspec.structs.replace(self, shared=shared)

    def as_dict(self) -> dict[str, Plain]:
        """Plain JSON-ready values."""
        return msgspec.json.decode(msgspec.json.encode(self))

    def _run(self, name: str, task: str, size: int, seed: int) -> RunConfig:
        """The tables of a model over the shared ones; the task, the size and the seed are given."""
        model = dict(self.models[name])
        own = model.pop("train", {})
        assert isinstance(own, dict)
        train = {**self.shared.get("train", {}), **own, "seed": seed}
        data = {**self.shared.get("data", {}), "task": task, **({"size": size} if size else {})}
        evaluate = self.shared.get("evaluate", {})
        try:
            return run_config({"model": model, "data": data, "train": train, "evaluate": evaluate})
        except ValueError as error:
            raise ValueError(f"models.{name}: {error}") from None


def study_config(table: Table) -> StudyConfig:
    """A study from nested tables, as TOML gives them.

    Raises:
        ValueError: if a key is unknown or missing, or a value is wrong.
    """
    known_keys("a study", table, ("study", "question", "models", "attacks", *SHARED))
    for name in ("study", "models"):
        if not isinstance(table.get(name), Mapping):
            raise ValueError(f"a study: expected a table [{name}], got {table.get(name)!r}")
    shared: dict[str, dict[str, Plain]] = {}
    for name in SHARED:
        part = data_table(table.get(name, {})) if name == "data" else table.get(name, {})
        section(name, SECTIONS[name], part)
        if name in table and isinstance(part, Mapping):
            shared[name] = dict(part)
    # the task of [data] is that of the study, which may list several
    head_table = table["study"]
    assert isinstance(head_table, Mapping)
    own = {"tasks": [OWN]} if shared.get("data", {}).get("task") == OWN else {}
    head = section("study", _Head, {**own, **head_table})
    models = table["models"]
    assert isinstance(models, Mapping)
    for name, model in models.items():
        _require_model(name, model)
    attacks = section("attacks", AttackChoice, table["attacks"]) if "attacks" in table else None
    question = section("question", Question, table["question"]) if "question" in table else UNSET
    return StudyConfig(
        head.name,
        head.baseline,
        head.seeds,
        head.tasks,
        head.sizes,
        models=dict(models),
        shared=shared,
        attacks=attacks,
        question=question,
    )


def _require_measured(
    difference: Difference, models: tuple[str, ...], attacks: AttackChoice | None
) -> None:
    """Raise ValueError unless the models are trained, and their attack measures the outcome."""
    for place, name in difference.models.items():
        one_of(f"question.difference.{place}", name, models)
    if attacks is None:
        raise ValueError("[question.difference] needs a table [attacks], got none")
    one_of("question.difference.attack", difference.attack, tuple(attacks.records))
    kind, _ = attacks.records[difference.attack]
    # an attack on word embeddings edits no text
    if difference.measure == EDITS_NEEDED and not changes_texts(kind):
        raise ValueError(
            f"question.difference.measure {EDITS_NEEDED!r} must be of an attack on texts, "
            f"got {difference.attack!r}"
        )


def _require_model(name: str, model: Plain) -> None:
    """Raise ValueError unless it is a [model] table that may have a table "train"."""
    if not isinstance(model, Mapping):
        raise ValueError(f"[models.{name}] must be a table, got {model!r}")
    own = {key: value for key, value in model.items() if key != "train"}
    section(f"models.{name}", SECTIONS["model"], own)
    if not isinstance(model.get("train", {}), Mapping):
        raise ValueError(f"[models.{name}.train] must be a table, got {model['train']!r}")


def read_study(path: Path) -> StudyConfig:
    """A study from a TOML file.

    Raises:
        ValueError: if the file is not TOML or not a study.
        OSError: if it cannot be read.
    """
    return named(path, study_config, read_toml(path))


class _Head(msgspec.Struct, frozen=True):
    """The [study] table."""

    name: str = "study"
    baseline: str = "bert"
    seeds: tuple[int, ...] = (0,)
    tasks: tuple[str, ...] = ("sst2",)
    sizes: tuple[int, ...] = (1000,)
