"""A state is gone on from only as it was written; else the one before it, to the same weights."""

import json
from pathlib import Path

import pytest
from tiny_runs import tiny_run

from imbert.model import loading as models
from imbert.training import finetune as module
from imbert.training.finetune import finetune
from imbert.training.saved_states import (
    NEEDED,
    WHOLE,
    last_state,
    mark_whole,
    remove_older,
    remove_unusable,
)

FILES = (*NEEDED, "rng_state.pth")


def saved(folder: Path, step: int, best: int | None = None, marked: bool = True) -> Path:
    """A state with every part of one."""
    state = folder / f"checkpoint-{step}"
    state.mkdir(parents=True)
    for name in FILES:
        (state / name).write_bytes(f"{name} of {step}".encode())
    (state / "trainer_state.json").write_text(json.dumps({"best_global_step": best}))
    if marked:
        mark_whole(state)
    return state


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["half", "gone", "one bit"])
def test_the_state_before_a_damaged_one_is_taken(name: str, damage: str, tmp_path: Path) -> None:
    older, newer = saved(tmp_path, 6), saved(tmp_path, 12)
    assert last_state(tmp_path) == newer
    content = (newer / name).read_bytes()
    if damage == "gone":
        (newer / name).unlink()
    else:
        (newer / name).write_bytes(
            content[: len(content) // 2]
            if damage == "half"
            else bytes([content[0] ^ 1]) + content[1:]
        )
    assert last_state(tmp_path) == older
    said: list[str] = []
    remove_unusable(tmp_path, said.append)
    assert names(tmp_path) == ["checkpoint-6"] and said == [
        "the state of step 12 is damaged: going on from step 6"
    ]


@pytest.mark.parametrize("name", FILES)
def test_a_state_that_never_had_a_part_is_not_whole(name: str, tmp_path: Path) -> None:
    state = saved(tmp_path, 3, marked=False)
    (state / name).unlink()
    mark_whole(state)
    assert last_state(tmp_path) is None


def test_a_mark_without_digests_or_of_something_else_is_none(tmp_path: Path) -> None:
    state = saved(tmp_path, 3, marked=False)
    for content in (b"", b"[]", b'{"optimizer.pt": 3}', b"\xff"):
        (state / WHOLE).write_bytes(content)
        assert last_state(tmp_path) is None


def test_a_state_whose_best_is_damaged_cannot_be_gone_on_from(tmp_path: Path) -> None:
    saved(tmp_path, 3)
    best = saved(tmp_path, 6, best=6)
    saved(tmp_path, 9, best=6)
    assert last_state(tmp_path) == tmp_path / "checkpoint-9"
    (best / "model.safetensors").write_bytes(b"")
    assert last_state(tmp_path) == tmp_path / "checkpoint-3"
    remove_unusable(tmp_path, lambda line: None)
    assert names(tmp_path) == ["checkpoint-3"], (
        "what came after it would be taken for newer than what is trained now"
    )


def test_two_states_are_kept_and_their_best_ones(tmp_path: Path) -> None:
    for step, best in ((3, 3), (6, 3), (9, 3), (12, 12), (15, 12)):
        saved(tmp_path, step, best=best)
    saved(tmp_path, 18, marked=False)  # being written
    remove_older(tmp_path)
    assert names(tmp_path) == ["checkpoint-12", "checkpoint-15", "checkpoint-18"]


def interrupted(
    run: object, out: Path, data: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = module.FineTuner.training_step

    def stopped(self: object, *arguments: object) -> object:
        if self.state.global_step == step:
            raise KeyboardInterrupt
        return original(self, *arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module.FineTuner, "training_step", stopped)
        finetune(run, out, data)


@pytest.mark.slow
def test_a_run_whose_last_state_is_damaged_ends_with_the_same_weights(
    tiny_folder: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny_run(tiny_folder, train={"save_steps": 2, "patience": 0}, evaluate={"advglue": None})
    finetune(run, tmp_path / "whole", data)
    interrupted(run, tmp_path / "run", data, 7, monkeypatch)
    state = last_state(tmp_path / "run" / "training")
    assert state is not None and state.name == "checkpoint-6"
    (state / "optimizer.pt").unlink()
    said: list[str] = []
    found = finetune(run, tmp_path / "run", data, said.append)
    assert said[0] == "the state of step 6 is damaged: going on from step 4"
    one, other = (
        (tmp_path / name / "checkpoint" / "model.safetensors").read_bytes()
        for name in ("run", "whole")
    )
    assert one == other and found.train.log[-1].step == 9


def test_damaged_weights_are_not_a_full_disk(tiny_folder: Path, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "start"
    folder.mkdir()
    for path in tiny_folder.iterdir():
        (folder / path.name).write_bytes(
            path.read_bytes()[: -100 if path.suffix == ".safetensors" else None]
        )
    with pytest.raises(ValueError, match="damaged") as raised:
        finetune(tiny_run(folder), tmp_path / "run", data)
    assert "disk" not in str(raised.value) and str(folder) in str(raised.value)
    with pytest.raises(OSError, match="is the disk full"), models.saving(tmp_path):
        raise RuntimeError("[enforce fail at inline_container.cc:603] . unexpected pos 64 vs 0")


@pytest.mark.parametrize("save_steps", [4, 100])
def test_the_last_evaluation_has_its_training_loss(
    save_steps: int, tiny_folder: Path, data: Path, tmp_path: Path
) -> None:
    run = tiny_run(tiny_folder, train={"save_steps": save_steps}, evaluate={"advglue": None})
    log = finetune(run, tmp_path, data).train.log
    assert [one.step for one in log] == ([4, 8, 9] if save_steps == 4 else [9])
    assert all(one.training is not None and one.validation is not None for one in log) and len(
        {one.training.loss for one in log}
    ) == len(log)
