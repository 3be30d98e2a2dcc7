"""The rows of a run's splits, read without torch: what is wrong in them is said before anything is
loaded.
"""

from pathlib import Path

from imbert.data.hub import is_dataset
from imbert.data.read_examples import read_examples, without_final_period
from imbert.data.subsets import DEV, held_out
from imbert.data.tasks import Examples
from imbert.training.own_data import source_of, split_of
from imbert.training.run_config import RunConfig


def read_dev(run: RunConfig, data: Path) -> Examples:
    """The dev examples on which a run is measured.

    Raises:
        ValueError: if a row is malformed.
        OSError: if the file cannot be read.
    """
    examples = read_split(run, data, "dev")
    limit = run.evaluate.limit
    return examples if limit is None else examples.take(range(min(limit, len(examples))))


def read_split(run: RunConfig, data: Path, split: str) -> Examples:
    """The rows of a split of a run's task.

    Raises:
        ValueError: if a row is malformed.
        OSError: if the file cannot be read.
    """
    choice = run.data
    where = split_of(choice, split)
    examples = read_examples(choice.learnt(), source_of(choice, data), where, choice.table())
    if choice.dev_rows and split in ("train", "dev"):
        try:
            rest, dev = held_out(examples, choice.dev_rows, choice.subset_seed, DEV)
        except ValueError as error:
            raise ValueError(f"data.dev_rows: {error}") from None
        examples = rest if split == "train" else dev
    return examples if choice.final_period else without_final_period(examples)


def require_dev(run: RunConfig, data: Path) -> None:
    """Refuse dev rows that cannot be read; those of a dataset of the hub are left to when they are
    needed, as reading them loads much.

    Raises:
        ValueError: if a row is malformed.
        OSError: if the file cannot be read.
    """
    if not is_dataset(source_of(run.data, data)):
        read_dev(run, data)
