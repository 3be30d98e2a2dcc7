"""A checkpoint that is not what it should be, a disk that is full and a solver that fails are told,
never passed over.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import transformers
from safetensors.torch import load_file, save_file
from tiny_runs import tiny_run

from imbert.model.loading import WEIGHTS
from imbert.training.finetune import finetune

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["bert", "im-bert"])
def test_a_checkpoint_of_another_architecture_or_of_other_weights_is_refused(
    kind: str, tiny_folder: Path, data: Path, tmp_path: Path
) -> None:
    other, strange = tmp_path / "other", tmp_path / "strange"
    sizes: dict[str, Any] = {
        "n_embd": 8,
        "n_layer": 1,
        "n_head": 2,
        "vocab_size": 20,
        "n_positions": 16,
    }
    transformers.GPT2Model(transformers.GPT2Config(**sizes)).save_pretrained(other)
    with pytest.raises(ValueError, match="gpt2"):
        finetune(
            tiny_run(tiny_folder, model={"checkpoint": str(other), "kind": kind}),
            tmp_path / "a",
            data,
        )
    shutil.copytree(tiny_folder, strange)
    weights = {f"strange.{name}": value for name, value in load_file(strange / WEIGHTS).items()}
    save_file(weights, strange / WEIGHTS, {"format": "pt"})
    with pytest.raises(
        ValueError,
        match=r"expected weights of every layer, got none of .*embeddings.* and \d+ more",
    ):
        finetune(
            tiny_run(tiny_folder, model={"checkpoint": str(strange), "kind": kind}),
            tmp_path / "b",
            data,
        )
    (strange / WEIGHTS).write_bytes((tiny_folder / WEIGHTS).read_bytes()[:-100])
    with pytest.raises(ValueError, match="got a damaged file"):
        finetune(
            tiny_run(tiny_folder, model={"checkpoint": str(strange), "kind": kind}),
            tmp_path / "c",
            data,
        )


@pytest.mark.parametrize("file", ["optimizer.pt", "model.safetensors"])
def test_a_full_disk_in_training_is_an_os_error(
    file: str, tiny_folder: Path, data: Path, tmp_path: Path
) -> None:
    """In a process of its own, whose files may not grow beyond a limit: what a full disk does to
    the libraries that write.
    """
    limit = (
        20_000 if file == "model.safetensors" else (tiny_folder / WEIGHTS).stat().st_size + 20_000
    )
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, "
        "signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, "
    )
    code += f"({limit}, {limit})); from imbert.__main__ import main; sys.exit(main(sys.argv[1:]))"
    run = tmp_path / "run.toml"
    run.write_text(
        f'[model]\ncheckpoint = "{tiny_folder}"\n[data]\ntask = '
        '"sst2"\nsource = "glue"\nvalidation = 8\n[train]\nepochs = 1\n'
    )
    command = [
        sys.executable,
        "-c",
        code,
        "finetune",
        str(run),
        "--data",
        str(data),
        "--out",
        str(tmp_path / "run"),
    ]
    found = subprocess.run(
        command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False
    )
    assert found.returncode == 1, found.stderr
    assert (
        found.stderr.splitlines()[-1].startswith("imbert: error: ")
        and "could not be written (is the disk full?)" in found.stderr
    )


def test_a_solver_that_fails_in_any_epoch_is_a_warning(
    tiny_folder: Path, data: Path, tmp_path: Path
) -> None:
    solver = {"name": "Anderson", "max_iterations": 1, "rtol": 1e-6}
    run = tiny_run(
        tiny_folder,
        model={"kind": "im-bert", "implicit_layers": [0], "solver": solver},
        train={"epochs": 2},
    )
    warnings = finetune(run, tmp_path / "run", data).warnings
    assert any(line.startswith("evaluation: layer 0: solver failed on 100.0%") for line in warnings)
    assert (
        len({line.split(":")[0] for line in warnings if line.startswith("training up to step ")})
        == 2
    )
