"""Which output of a checkpoint means which label of a task: its names decide, not its positions."""

from collections.abc import Mapping
from typing import Protocol

from imbert.data.tasks import Task, class_of


class LabelledConfig(Protocol):
    """Of a transformers configuration, what says the names of the outputs."""

    num_labels: int
    id2label: dict[int, str]
    label2id: dict[str, int]


def output_order(
    config: LabelledConfig, task: Task, where: object = "the model"
) -> tuple[int, ...]:
    """For each class of the task the index of the output that means it.

    Published checkpoints of one task name their outputs in different orders (MNLI in three).
    Outputs without names of their own (`LABEL_0`, what transformers writes where nothing is known)
    stand in the order of the task. Names may be spelt in capitals, with spaces or hyphens, and a
    number names the class of that number.

    Args:
        config: of a transformers model; `id2label` says the names.
        task: whose classes are looked for.
        where: what the error calls the checkpoint.

    Raises:
        ValueError: if there are not as many outputs as classes, or their names are not those of
            the task.
    """
    outputs = int(config.num_labels)
    if outputs != task.labels:
        raise ValueError(
            f"{where}: task {task.name!r} has {task.labels} labels, got a model with {outputs}"
        )
    names = _names(config, where)
    if task.labels == 1 or not names:
        return tuple(range(outputs))
    classes = [class_of(task, names.get(output, "")) for output in range(outputs)]
    if sorted(known for known in classes if known is not None) != list(range(outputs)):
        expected = ", ".join(task.label_names)
        came = ", ".join(map(repr, names.values()))
        raise ValueError(f"{where}: expected outputs named {expected} in any order, got {came}")
    return tuple(classes.index(label) for label in range(outputs))


def name_outputs(config: LabelledConfig, task: Task) -> None:
    """Write the task's names into a configuration, in the task's order."""
    if task.label_names:
        config.id2label = dict(enumerate(task.label_names))
        config.label2id = {name: label for label, name in enumerate(task.label_names)}


def _names(config: LabelledConfig, where: object) -> dict[int, str]:
    """The name of each output; none where they have only the names that transformers makes up."""
    names = dict(getattr(config, "id2label", None) or {})
    inverse = dict(getattr(config, "label2id", None) or {})
    if not _made_up(names) and not _made_up({place: name for name, place in inverse.items()}):
        for name, place in inverse.items():
            if names.get(place) != name:
                raise ValueError(
                    f"{where}: expected label2id to be id2label read backwards, got "
                    f"{name!r}: {place} beside {place}: {names.get(place)!r}"
                )
    return {} if _made_up(names) else names


def _made_up(names: Mapping[int, str]) -> bool:
    return all(str(name).upper() == f"LABEL_{place}" for place, name in names.items())
