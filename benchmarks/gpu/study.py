"""As many runs of the study's plan as the time takes, several at once, and attacked where time is
left.

One run does not fill a device: its kernels are small and the host launches them. So the ranks of
`imbert study` share it. The plan's order holds, the records come back in one archive without
weights, and a second call on the same folder goes on where the first stopped.
"""

import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu.part import Choices, Record, choices
from imbert.result import read_json

ROOT = Path(__file__).parents[2]
RANKS = 8
KEPT = ("result.json", "run.json", "attacks/*.json")
FAILURES = "runs/*/*/*/failed-*.json"
ARCHIVE, LARGEST = "study.tar.gz", 16 * 2**20
LOOK = 2.0  # seconds between two looks
REHEARSED = """
[study]
name = "a rehearsal"
sizes = [0]
[data]
source = "."
validation = 8
[train]
epochs = 1
device = "cpu"
[evaluate]
limit = 8
[models.bert]
kind = "bert"
checkpoint = "CHECKPOINT"
[models.im-bert]
kind = "im-bert"
checkpoint = "CHECKPOINT"
implicit_layers = [1]
solver = { name = "Auto", rtol = 1e-2 }
[attacks]
kinds = ["pgd"]
examples = 4
masking = false
"""


def main(options: Choices) -> None:
    """Start the ranks, look at what they finish, stop them in time, pack the records."""
    record = Record(options.record, options.end)
    runs, plan, data = options.work / "study", options.plan, options.data
    if options.rehearse:
        plan, data = rehearsal(options.work), ROOT / "examples" / "finetune"
    if data is None:
        record.keep("left out", "no training files: `make gpu-parcel DATA=folder` packs them")
        return
    ranks = 1 if options.rehearse else RANKS
    record.keep("plan", str(plan.relative_to(ROOT)) if plan.is_relative_to(ROOT) else plan.name)
    # Training first, all of it, then attacks: an accuracy is worth more than an attack on half of
    # the models.
    processes = [start(plan, runs, data, f"{rank}/{ranks}") for rank in range(ranks)]
    try:
        while any(process.poll() is None for process in processes) and record.left > 0:
            time.sleep(min(LOOK, max(record.left, 0.1)))
            record.keep("runs", finished(runs))
    finally:
        for process in processes:
            stop(process)
    record.keep("runs", finished(runs))
    record.keep("archive", pack(runs, options.out / ARCHIVE))
    failures = [
        f"{path.parent.name}, {path.parent.parent.name}: {read_json(path)['error']}"
        for path in sorted(runs.glob(FAILURES))
    ]
    record.keep("failures", failures)
    if not record.values["runs"]:
        raise SystemExit("no run finished" + "".join(f"; {line}" for line in failures[:3]))


def start(plan: Path, runs: Path, data: Path, shard: str) -> "subprocess.Popen[bytes]":
    """One rank of the study, in a process group of its own."""
    command = [
        sys.executable,
        "-m",
        "imbert",
        "study",
        str(plan),
        "--data",
        str(data),
        "--out",
        str(runs),
        "--shard",
        shard,
    ]
    return subprocess.Popen(
        [*command, "--stages", "train", "attack"], start_new_session=True, cwd=ROOT
    )


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Stop a rank at once: what it has finished is on the disk, and a training goes on from its
    last state.
    """
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def finished(runs: Path) -> list[dict[str, Any]]:
    """Every run with a result: its accuracies, seconds, and which attacks it has."""
    rows = []
    for path in sorted(runs.glob("runs/*/*/*/result.json")):
        found = read_json(path)
        attacks = {
            one.stem: read_json(one).get("robust_accuracy")
            for one in sorted(path.parent.glob("attacks/*.json"))
        }
        evaluation = found["evaluation"]
        pairs = {
            name: one["adversarial_accuracy"] for name, one in evaluation.get("advglue", {}).items()
        }
        rows.append(
            {
                "run": str(path.parent.relative_to(runs / "runs")),
                "dev": evaluation["dev"]["metrics"]["accuracy"],
                "AdvGLUE": pairs,
                "seconds": found["meta"]["training"]["wall_seconds"],
                "attacks": attacks,
            }
        )
    return rows


def pack(runs: Path, archive: Path) -> str:
    """The records of all runs without weights; how many files, or that they are too large to come
    back.
    """
    paths = sorted({path for name in KEPT for path in runs.glob(f"runs/*/*/*/{name}")})
    with tarfile.open(archive, "w:gz") as file:
        for path in paths:
            file.add(path, path.relative_to(runs))
    size = archive.stat().st_size
    if size > LARGEST:
        archive.unlink()
        return f"{len(paths)} files of {size} bytes are too many to come back"
    return f"{archive.name}: {len(paths)} files"


def rehearsal(work: Path) -> Path:
    """A plan of two tiny models on this project's own sentences, and their checkpoint."""
    import torch
    import transformers

    from imbert.model.choice import EMBEDDED, checkpoint_folder

    folder = work / "checkpoint"
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint_folder(EMBEDDED))
    torch.manual_seed(0)
    shape = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    transformers.BertModel(
        transformers.BertConfig(vocab_size=len(tokenizer), **shape)
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    plan = work / "rehearsal.toml"
    plan.write_text(REHEARSED.replace("CHECKPOINT", str(folder)), encoding="utf-8")
    return plan


if __name__ == "__main__":
    main(choices())
