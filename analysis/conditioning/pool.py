"""Chunks of inputs measured in worker processes of one thread each: the same numbers for any
number of them.
"""

from collections.abc import Iterator, Sequence

from analysis.conditioning.config import ConditionConfig
from analysis.conditioning.measure import Classifier, Row, measure
from analysis.conditioning.prepare import Prepared, load
from analysis.conditioning.records import Input
from analysis.ground.executors import completed
from analysis.ground.labelled_tables import LabelledTable
from analysis.ground.processes import processes

CHUNKS_PER_WORKER = 2  # a worker takes as long to start as a few chunks to measure

_classifier: Classifier  # of a worker process
Numbered = tuple[int, list[Row]]


def measured(
    prepared: Prepared, lacking: Sequence[Numbered], workers: int
) -> Iterator[tuple[int, list[Input]]]:
    """Each chunk with its number, in the order in which they get ready.

    Args:
        prepared: what each worker loads again; this process measures alone where more are not
            worth starting.
        lacking: chunks to measure.
        workers: how many processes at most.

    Raises:
        OSError: if a worker process dies.
    """
    config = prepared.config
    useful = min(workers, len(lacking) // CHUNKS_PER_WORKER) if config.device == "cpu" else 1
    if useful > 1:
        with processes(useful, _begin, (config, prepared.data)) as own:
            yield from completed(own, _measure, lacking, lambda chunk: f"chunk {chunk[0]}")
        return
    for number, rows in lacking:
        yield number, measure(prepared.classifier, rows)


def _begin(config: ConditionConfig, data: LabelledTable) -> None:
    """The classifier of a worker."""
    global _classifier
    _classifier = load(config, data)


def _measure(chunk: Numbered) -> tuple[int, list[Input]]:
    number, rows = chunk
    return number, measure(_classifier, rows)
