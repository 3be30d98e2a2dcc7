"""What a trained checkpoint gets right: the dev split, and AdvGLUE beside the sentences that it was
made from.
"""

import dataclasses
from pathlib import Path

import numpy as np
import torch
from msgspec import structs

from analysis.ground.resampling import proportion_interval
from imbert.data.advglue import PairedExamples, read_advglue
from imbert.data.read_examples import without_final_period
from imbert.data.tasks import Examples, Task
from imbert.model.classifier import Classifier, require_length
from imbert.model.loading import quiet, require_safe_weights
from imbert.model.solver_log import SolverLog, solver_log, statistics
from imbert.records import Evaluation, PairScores, Rates, Scored, SplitScore, Unpaired, as_written
from imbert.records import Rows as RowsRecord
from imbert.result import bits
from imbert.training.metrics import compute_metrics
from imbert.training.read_rows import read_dev
from imbert.training.run_config import RunConfig

ADVGLUE = {
    "sst2": ("sst2",),
    "qqp": ("qqp",),
    "mnli": ("mnli", "mnli-mm"),
    "qnli": ("qnli",),
    "rte": ("rte",),
}


def evaluate(checkpoint: Path, run: RunConfig, data: Path) -> Evaluation:
    """Measure a checkpoint as its run says.

    Args:
        checkpoint: a folder with safetensors weights.
        run: its task, its texts' length, and what to evaluate on.
        data: where relative paths of the run start.

    Returns:
        As it would be read from its file, the solvers' statistics and the digests of the data
        included.

    Raises:
        ValueError: if the checkpoint or a row is wrong, or AdvGLUE has no such task.
        OSError: if something cannot be read.
    """
    choice = run.evaluate
    # rows are read first: what is wrong in them is said before the model is loaded
    examples = read_dev(run, data) if choice.dev else None
    paired: dict[str, PairedExamples] = {}
    if choice.advglue is not None:
        paired = {name: read_pairs(run, data, name) for name in advglue_tasks(run.data.task)}
    classifier = load_classifier(checkpoint, run)
    log = solver_log(classifier.model)
    digests: dict[str, RowsRecord] = {}
    dev: SplitScore | None = None
    if examples is not None:
        digests["dev"] = RowsRecord(len(examples), examples.digest)
        dev = _split_score(examples, logits(classifier, examples, choice.batch_size, log))
    advglue: dict[str, PairScores] = {}
    for name, pairs in paired.items():
        digests[f"advglue {name}"] = RowsRecord(
            len(pairs.adversarial) + len(pairs.unpaired),
            pairs.adversarial.digest,
            pairs.original.digest,
            pairs.unpaired.digest,
        )
        advglue[name] = _pair_scores(classifier, pairs, choice.batch_size, log)
    known = None if choice.advglue is None else advglue
    return as_written(Evaluation(dev, known, log.summary(), digests))


def load_classifier(checkpoint: Path, run: RunConfig) -> Classifier:
    """The classifier of a checkpoint, with its run's labels and length of texts, on its run's
    device and threads.

    Raises:
        ValueError: if its weights are pickled, its labels are not those of the task, or the run's
            texts are longer than it takes.
        OSError: if there is none.
    """
    require_safe_weights(str(checkpoint))
    with quiet():
        classifier = Classifier.load(
            checkpoint, max_length=run.data.max_length, task=run.data.learnt()
        )
    require_length(classifier.model, classifier.tokenizer, run.data.max_length)
    if run.train.device != "cpu" and torch.cuda.is_available():
        classifier.model.to("cuda")
    else:
        torch.set_num_threads(run.train.threads)
    return classifier


def advglue_tasks(name: str) -> tuple[str, ...]:
    """AdvGLUE's tasks for a model of a GLUE task.

    Raises:
        ValueError: if there is none.
    """
    if name not in ADVGLUE:
        raise ValueError(f"AdvGLUE has tasks for {', '.join(ADVGLUE)}, got {name!r}")
    return ADVGLUE[name]


def logits(
    classifier: Classifier, examples: Examples, batch_size: int, log: SolverLog
) -> np.ndarray:
    """Logits `(N, labels)`; texts of like length share a batch, and the solvers' statistics of each
    batch go to the log.
    """
    # padding costs as much as words do
    order = np.asarray(classifier.by_length(examples.texts), dtype=int)
    parts = []
    for start in range(0, len(order), batch_size):
        parts.append(
            classifier.logits([examples.texts[i] for i in order[start : start + batch_size]])
        )
        log.add(statistics(classifier.model))
    together = np.concatenate(parts) if parts else np.zeros((0, examples.task.labels))
    return together[np.argsort(order)]


def is_right(task: Task, values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether each prediction is the label; a regression is right within half a point."""
    # half a point of STS-B: the scores were given in whole points by several people
    if task.labels == 1:
        return np.abs(values.reshape(len(labels)) - labels) <= 0.5
    return values.argmax(axis=1) == labels


def read_pairs(run: RunConfig, data: Path, name: str) -> PairedExamples:
    """The pairs of one of AdvGLUE's tasks, as the texts of a run are.

    Raises:
        ValueError: if an item is malformed.
        OSError: if the file cannot be read.
    """
    assert run.evaluate.advglue is not None
    pairs = read_advglue(data / run.evaluate.advglue, name)
    if run.data.final_period:
        return pairs
    original, adversarial, unpaired = map(
        without_final_period, (pairs.original, pairs.adversarial, pairs.unpaired)
    )
    return dataclasses.replace(pairs, original=original, adversarial=adversarial, unpaired=unpaired)


def _split_score(examples: Examples, values: np.ndarray) -> SplitScore:
    right = is_right(examples.task, values, examples.labels)
    interval = proportion_interval(int(right.sum()), len(right))
    return SplitScore(
        count=len(right),
        metrics=dict(compute_metrics(examples.task, values, examples.labels)),
        right=bits(right),
        interval=(interval.low, interval.high),
    )


def _pair_scores(
    classifier: Classifier, pairs: PairedExamples, batch_size: int, log: SolverLog
) -> PairScores:
    """Accuracy on originals, on their adversarial versions, and on those of them whose original is
    right.
    """
    every = pairs.every
    values = logits(classifier, every, batch_size, log)
    right = is_right(every.task, values, every.labels)
    adversarial = right[: len(pairs.adversarial)]
    unpaired = right[len(pairs.adversarial) :]
    original = np.zeros(0, dtype=bool)
    if len(pairs.original):
        of_originals = logits(classifier, pairs.original, batch_size, log)
        original = is_right(every.task, of_originals, pairs.original.labels)
    kinds = np.array(pairs.kinds)
    return PairScores(
        **structs.asdict(_rates(original, adversarial)),
        unpaired=Unpaired(len(unpaired), int(unpaired.sum()), _share(unpaired)),
        all=Scored(
            len(right), int(right.sum()), dict(compute_metrics(every.task, values, every.labels))
        ),
        kinds={
            kind: _rates(original[kinds == kind], adversarial[kinds == kind])
            for kind in sorted(set(pairs.kinds))
        },
        right_original=bits(original),
        right_adversarial=bits(adversarial),
        right_unpaired=bits(unpaired),
        clusters=pairs.original.clusters.tolist(),
    )


def _rates(original: np.ndarray, adversarial: np.ndarray) -> Rates:
    return Rates(
        count=len(original),
        original_right=int(original.sum()),
        adversarial_right=int(adversarial.sum()),
        both_right=int((original & adversarial).sum()),
        original_accuracy=_share(original),
        adversarial_accuracy=_share(adversarial),
        conditional_accuracy=_share(adversarial[original]),
    )


def _share(right: np.ndarray) -> float | None:
    return float(right.mean()) if len(right) else None
