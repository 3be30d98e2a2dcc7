"""A classifier of one's own labels: which of its inputs are fragile, and where an edit grows.

The table beside this file has a column of texts, `note`, and a column of classes by name, `kind`.
A small fine-tuning learns two thirds of them; `odestab condition` ranks the others, which the model
has not seen, by how easily they flip, and `odestab edits` follows a typo in one of them through
every layer.

    python examples/own_labels.py [OUT]
"""

import json
import sys
from pathlib import Path

from analysis.__main__ import main as odestab
from imbert.training.finetune import finetune
from imbert.training.run_config import run_config

TABLE = Path(__file__).with_suffix(".tsv")
RUN = {
    "data": {
        "source": "tables",
        "text_column": "note",
        "label_column": "kind",
        "validation": 6,
        "max_length": 24,
    },
    "train": {"epochs": 6, "batch_size": 8, "learning_rate": 3e-4, "device": "cpu"},
}


def main(out: Path) -> None:
    """Fine-tune, rank the inputs, follow an edit."""
    held_out = write_tables(out / "tables")
    result = finetune(run_config(RUN), out / "run", out, print)
    assert result is not None and result.evaluation.dev is not None
    classes = ", ".join(result.run.data.labels)
    print(f"classes {classes}: {result.evaluation.dev.metrics['accuracy']:.0%} of held-out notes")
    checkpoint = str(out / "run" / "checkpoint")
    columns = ["--text-column", "note", "--label-column", "kind", "--max-tokens", "24"]
    shared = ["--out", str(out / "condition"), "--drafts", "3", "--workers", "1"]
    run(["condition", checkpoint, "--data", str(held_out), *columns, *shared])
    text = most_fragile(out / "condition" / "condition.json", held_out)
    typo = text.replace("e", "", 1)
    run(["edits", checkpoint, "--text", text, "--edited", typo, "--out", str(out / "edits")])


def write_tables(folder: Path) -> Path:
    """The notes to train on and every third one beside them, the file of which is returned."""
    head, *notes = TABLE.read_text(encoding="utf-8").splitlines()
    folder.mkdir(parents=True, exist_ok=True)
    held_out = notes[::3]
    others = [note for note in notes if note not in held_out]
    for name, lines in (("dev", held_out), ("train", others)):
        text = "\n".join([head, *lines]) + "\n"
        (folder / f"{name}.tsv").write_text(text, encoding="utf-8")
    return folder / "dev.tsv"


def run(command: list[str]) -> None:
    """One `odestab` command."""
    print("\nodestab", *command)
    if code := odestab(command):
        raise SystemExit(code)


def most_fragile(record: Path, table: Path) -> str:
    """The note that is nearest to a flip by first order, of those that the model gets right."""
    inputs = json.loads(record.read_text(encoding="utf-8"))["inputs"]
    right = [row for row in inputs if row["label"] == row["predicted"]]
    least = min(right, key=lambda row: row["distance"])
    lines = table.read_text(encoding="utf-8").splitlines()
    return lines[1 + least["index"]].split("\t")[0]


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else Path("runs/own-labels"))
