"""What a scheduler is asked for, and what is told where it cannot give it."""

import socket
import sys

import pytest

from analysis.ground import schedulers
from analysis.ground.schedulers import differing, require_no_shard, scheduled

HERE = {"packages": {"odestab": "0.1.0", "torch": "2.13.0"}}


def test_without_a_scheduler_there_is_no_executor(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with scheduled(None, 2, "cpu", pytest.fail) as executor:
        assert executor is None


@pytest.mark.parametrize(
    "address", ["", "cluster", "host:8786", "tcp://host", "http://host:8786", "tcp://:8786"]
)
def test_an_address_is_local_or_has_a_protocol_and_a_port(odestab, address):
    odestab.refuses(
        ["analyze", "--scheduler", address],
        r"argument --scheduler: expected local or an address like tcp://HOST:PORT, got",
    )


def test_dask_that_is_not_installed_is_told_in_one_line(odestab, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    odestab.refuses(
        ["analyze", "bert", "--texts", "texts.tsv", "--scheduler", "local"],
        r"--scheduler needs dask.distributed, which is not installed: "
        r"pip install 'odestab\[distributed\]'",
    )


def test_a_scheduler_that_does_not_answer_is_told_in_one_line(odestab, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setattr(schedulers, "SECONDS", 0.2)
    odestab.refuses(
        ["analyze", "bert", "--texts", "texts.tsv", "--scheduler", address],
        rf"--scheduler {address}: no scheduler answered within 0.2 s",
    )


def test_a_scheduler_shares_the_work_itself(odestab):
    require_no_shard(None, (1, 2))
    require_no_shard("local", (0, 1))
    odestab.refuses(
        ["analyze", "bert", "--scheduler", "local", "--shard", "1/2"],
        "--scheduler shares the work itself: expected no --shard, got 1/2",
    )


def test_workers_of_other_versions_are_one_line():
    other = {"packages": {"odestab": "0.1.0", "torch": "2.12.0"}}
    assert differing(HERE, {}) == differing(HERE, {"tcp://a:1": HERE}) == []
    assert differing(HERE, {"tcp://a:1": other, "tcp://b:1": HERE, "tcp://c:1": other}) == [
        "versions differ, so numbers may in their last digits: "
        "torch 2.12.0 (here 2.13.0) on 2 of 3 workers"
    ]
    bare = {"packages": {"odestab": None, "torch": "2.13.0"}}
    with pytest.raises(ValueError, match=r"worker tcp://a:1 has no odestab: expected 0.1.0"):
        differing(HERE, {"tcp://a:1": bare})


class Client:
    """A cluster of workers that offer something, or of none."""

    dashboard_link = "http://127.0.0.1:8787/status"

    def __init__(self, *offered: dict[str, int]) -> None:
        self.workers = {f"tcp://w{i}:1": {"resources": each} for i, each in enumerate(offered)}

    def scheduler_info(self, n_workers: int) -> dict[str, object]:
        assert n_workers == -1
        return {"workers": self.workers}

    def get_versions(self, check: bool, packages: list[str]) -> dict[str, object]:
        assert not check and packages == ["odestab", "torch"]
        return {"client": HERE, "workers": dict.fromkeys(self.workers, HERE)}


def test_the_dashboard_is_told_and_no_workers_are_waited_for():
    lines: list[str] = []
    schedulers._look_at(Client({}, {}), "tcp://s:1", False, lines.append)
    assert lines == ["scheduler: tcp://s:1, 2 workers, dashboard: http://127.0.0.1:8787/status"]
    schedulers._look_at(Client(), "tcp://s:1", True, lines.append)
    assert lines[-1] == "warning: the scheduler has no workers yet; waiting for the first"


def test_a_gpu_that_no_worker_offers_is_not_waited_for():
    schedulers._look_at(Client({}, {"GPU": 1}), "tcp://s:1", True, lambda line: None)
    with pytest.raises(ValueError, match="with a GPU, got 2 without: start them with --resources"):
        schedulers._look_at(Client({}, {}), "tcp://s:1", True, lambda line: None)
