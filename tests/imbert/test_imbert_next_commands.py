"""The command that an output ends with measures what the user named."""

from pathlib import Path
from typing import Any

import pytest

from imbert.next_commands import attack_command, condition_command
from imbert.training.run_config import DataChoice, run_config

CHEAPEST = ["--kind", "characters", "--no-masking"]


def data_choice(**data: Any) -> DataChoice:
    return run_config({"data": data}).data


def test_the_rows_that_were_attacked_are_conditioned_on_with_their_columns(tmp_path: Path) -> None:
    (tmp_path / "my reviews.csv").write_text("text,label\nfine,1\n")
    choice = data_choice(
        source="my reviews.csv", text_column="text", label_column="label", max_length=64
    )
    assert condition_command(Path("model"), choice, tmp_path) == [
        *("odestab", "condition", Path("model"), "--data", tmp_path / "my reviews.csv"),
        *("--text-column", "text", "--label-column", "label", "--max-tokens", 64),
    ]


@pytest.mark.parametrize(
    ("data", "file"),
    [
        ({"source": "."}, "dev.tsv"),
        ({"source": ".", "splits": {"dev": "theirs.tsv"}}, "theirs.tsv"),
        # the file holds the rows of training too
        ({"source": "train.tsv", "dev_rows": 2}, ""),
    ],
)
def test_the_file_is_that_of_the_dev_rows(data: dict[str, Any], file: str, tmp_path: Path) -> None:
    for name in ("train.tsv", "dev.tsv", "theirs.tsv"):
        (tmp_path / name).write_text("sentence\tlabel\n")
    command = condition_command(Path("model"), data_choice(task="sst2", **data), tmp_path)
    assert command[3:] == ["--data", tmp_path / file if file else "FILE", "--max-tokens", 128]


def test_a_dataset_of_the_hub_is_no_file(tmp_path: Path) -> None:
    command = condition_command(Path("model"), data_choice(source="hub:own/er"), tmp_path)
    assert command[3:5] == ["--data", "FILE"]


def test_the_attack_is_on_what_was_named() -> None:
    given = {"source": "own.csv", "label_column": "kind", "text_column": None, "seed": 3}
    command = attack_command(Path("run/model"), Path(), Path("run"), given)
    assert command == [
        *("imbert", "attack", Path("run/model"), "--source", "own.csv", "--label-column", "kind"),
        *(*CHEAPEST, "--out", Path("run/attacks")),
    ]
