"""All pairs of a study through its model, as one record."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import odestab as od
from analysis.config import StudyConfig, default_model_folder
from analysis.edits.damping import damping
from analysis.edits.measure import first_broken, measured, traced, words
from analysis.edits.model import Model, inspected
from analysis.edits.pairs import batches, clusters, usable
from analysis.edits.records import Edit, Edits, Words
from analysis.ground.devices import memory_errors, require_device
from analysis.ground.identity import model_identity
from analysis.ground.interrupts import raise_interrupt
from analysis.ground.versions import versions
from analysis.study import load_study

Report = Callable[[str], None]
Progress = Callable[[Iterable[list[int]], int], Iterable[list[int]]]


@dataclasses.dataclass(frozen=True)
class Measured:
    """What was measured.

    Attributes:
        record: that is written.
        words: of each measured pair by its index, for the page alone.
    """

    record: Edits
    words: dict[int, Words]


def measure_edits(
    config: StudyConfig,
    warn: Report,
    progress: Progress = lambda batches, total: batches,
) -> Measured:
    """Load the model and measure the study's pairs, several in one batch.

    Args:
        config: with the pairs and one step size.
        warn: called with one line for each pair that is left out.
        progress: wraps the batches, of which the total is given.

    Raises:
        ValueError: if the device or the model cannot be used, or no pair can be measured.
    """
    require_device(config.device, config.dtype)
    study = load_study(config, head=True)
    places, left_out = usable(study)
    _require_some(places, left_out)
    model = inspected(study, config.pairs[places[0]].original)
    edits: list[Edit] = []
    shown: dict[int, Words] = {}
    groups = batches(places, config.chunk if od.takes_padding(study.encoder) else 1)
    of_originals = clusters(tuple(config.pairs))
    with memory_errors("shorter texts need less"):
        for group in progress(groups, len(groups)):
            _measure(model, group, of_originals, edits, shown, left_out)
            raise_interrupt()
    _require_some(edits, left_out)
    for place, reason in _in_order(left_out):
        warn(f"pair {place} left out: {reason}")
    return Measured(_record(config, model, edits, left_out), shown)


def _in_order(left_out: dict[str, str]) -> list[tuple[str, str]]:
    return sorted(left_out.items(), key=lambda entry: int(entry[0]))


def _require_some(measured: Sequence[object], left_out: dict[str, str]) -> None:
    """Raise ValueError unless a pair can be measured, with the first reason why not."""
    if not measured:
        place, reason = _in_order(left_out)[0]
        raise ValueError(
            f"expected a pair that can be measured, got {len(left_out)} that cannot; "
            f"pair {place}: {reason}"
        )


def _measure(
    model: Model,
    places: list[int],
    of_originals: Sequence[int],
    edits: list[Edit],
    shown: dict[int, Words],
    left_out: dict[str, str],
) -> None:
    """Measure some pairs in one batch, again without those whose states are not finite."""
    batch = traced(model, places)
    broken = dict(zip(places, first_broken(batch), strict=True))
    left_out |= {
        str(place): f"states that are not finite at level {level}"
        for place, level in broken.items()
        if level is not None
    }
    kept = [place for place in places if broken[place] is None]
    if not kept:
        return
    if len(kept) < len(places):
        batch = traced(model, kept)
    edits += measured(batch, of_originals)
    shown |= dict(zip(kept, words(batch), strict=True))


def _record(
    config: StudyConfig, model: Model, edits: list[Edit], left_out: dict[str, str]
) -> Edits:
    ordered = sorted(edits, key=lambda edit: edit.index)
    found = model_identity(default_model_folder() if config.model is None else config.model)
    return Edits(
        model=str(config.as_dict()["model"]),
        identity=found.as_dict(),
        layers=len(model.substeps),
        edits=ordered,
        left_out=dict(_in_order(left_out)),
        versions=versions(),
        steps=model.steps,
        step_size=model.step_size,
        as_run=model.as_run,
        reads=model.reads,
        labels=model.labels,
        dtype=config.dtype,
        seed=config.seed,
        damping=damping(ordered, config.seed),
    )
