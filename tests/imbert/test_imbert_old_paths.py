"""What imported from `imbert` before it had rooms still imports, and choices are still
replaced as dataclasses."""

import dataclasses
import importlib

import msgspec
import pytest

from analysis.ground.frozen_record import Choice
from imbert.moved import MOVED
from imbert.study.plan import StudyConfig
from imbert.training.run_config import DataChoice, RunConfig


@pytest.mark.parametrize("old", sorted(MOVED))
def test_an_old_path_leads_to_the_new_module(old: str) -> None:
    new = importlib.import_module(MOVED[old])
    with pytest.warns(DeprecationWarning, match=MOVED[old]):
        module = importlib.import_module(old)
    public = [
        name for name, value in vars(new).items() if getattr(value, "__module__", "") == MOVED[old]
    ]
    assert public and all(getattr(module, name) is getattr(new, name) for name in public)


def test_other_paths_are_not_found() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"imbert\.nowhere"):
        importlib.import_module("imbert.nowhere")


def test_choices_are_read_by_name_and_replaced_as_dataclasses() -> None:
    run = dataclasses.replace(RunConfig(), data=DataChoice(task="rte", source="here"))
    assert isinstance(run, Choice) and run["data"]["task"] == "rte"
    assert [field.name for field in dataclasses.fields(run)] == [*RunConfig.__struct_fields__]
    assert dataclasses.asdict(run)["data"]["source"] == "here"
    with pytest.raises(KeyError):
        run["nothing"]
    with pytest.raises((ValueError, msgspec.ValidationError)):  # checked as when it was made
        dataclasses.replace(DataChoice(), validation=-1)
    assert issubclass(StudyConfig, Choice)
