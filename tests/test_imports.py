"""What importing costs and where it works: each question in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tiny_imbert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved IM-BERT of one small layer."""
    import imbert

    sizes = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16}
    config = imbert.ImBertConfig(vocab_size=20, num_hidden_layers=1, **sizes)
    folder = tmp_path_factory.mktemp("imbert")
    imbert.ImBertForSequenceClassification(config).save_pretrained(folder)
    return folder


def run(script: str) -> str:
    """What a script prints in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_library_loads_no_more_than_it_needs() -> None:
    heavy = (
        "torch._dynamo",
        "transformers",
        "scipy",
        "matplotlib",
        "pandas",
        "analysis",
        "figures",
    )
    script = f"import sys, odestab; print([one for one in {heavy} if one in sys.modules])"
    assert run(script) == "[]\n"


@pytest.mark.slow
def test_every_module_imports_where_unix_is_not() -> None:
    """As on Windows: what third parties need of Unix is loaded before it is taken away."""
    script = """
import importlib, os, pkgutil, signal, sys
import matplotlib.pyplot, safetensors, scipy.stats, torch, torch._dynamo, tqdm
from transformers import BertModel, ElectraModel, RobertaModel, Trainer

for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
for module, names in ((os, ("fork", "getuid", "killpg", "sched_getaffinity", "setsid", "sync")),
                      (signal, ("SIGKILL", "SIGALRM"))):
    for name in names:
        vars(module).pop(name, None)
for package in ("odestab", "analysis", "figures", "imbert"):
    folder = importlib.import_module(package).__path__
    for module in pkgutil.walk_packages(folder, f"{package}."):
        if not module.name.startswith("odestab.solver.kernels."):  # triton is for Linux alone
            importlib.import_module(module.name)
print("all")
"""
    assert run(script) == "all\n"


@pytest.mark.slow
def test_auto_classes_know_the_models_when_transformers_comes_after(tiny_imbert: Path) -> None:
    """Nothing of imbert is used but its import; a configuration may come from another process."""
    config = tiny_imbert / "config.pickle"
    script = f"""
import imbert, pickle, sys
assert "torch" not in sys.modules and "transformers" not in sys.modules
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification
model = AutoModelForSequenceClassification.from_pretrained({str(tiny_imbert)!r})
print(type(model).__name__, type(model) is imbert.ImBertForSequenceClassification)
pickle.dump(model.config, open({str(config)!r}, "wb"))
"""
    assert run(script) == "ImBertForSequenceClassification True\n"
    script = f"""
import pickle
config = pickle.load(open({str(config)!r}, "rb"))
from transformers import AutoModel
print(type(AutoModel.from_config(config)).__name__)
"""
    assert run(script) == "ImBertModel\n"


@pytest.mark.slow
@pytest.mark.parametrize("first", ["AutoModelForSequenceClassification", "RobertaConfig"])
def test_they_know_them_whatever_of_transformers_comes_first(first: str) -> None:
    """transformers' modules import each other, and a configuration in the middle of that fails."""
    script = f"""
import imbert
from transformers import {first}
from transformers import AutoConfig
print(type(AutoConfig.for_model("imbert")).__name__)
"""
    assert run(script) == "ImBertConfig\n"


@pytest.mark.slow
def test_with_transformers_before_auto_classes_know_the_models_and_the_lazy_root_its_names(
    tiny_imbert: Path,
) -> None:
    script = f"""
from transformers import AutoConfig, AutoModel
import imbert
print(type(AutoConfig.from_pretrained({str(tiny_imbert)!r})).__name__)
print(type(AutoModel.from_pretrained({str(tiny_imbert)!r})) is imbert.ImBertModel)
assert set(imbert.__all__) <= set(dir(imbert))
assert all(getattr(imbert, name).__name__ == name for name in imbert.__all__)
from imbert import *
try:
    imbert.nothing
except AttributeError as error:
    print(error)
"""
    assert run(script) == "ImBertConfig\nTrue\nmodule 'imbert' has no attribute 'nothing'\n"


@pytest.mark.parametrize("program", ["analysis", "imbert"])
def test_no_help_and_no_version_loads_anything_heavy(program: str) -> None:
    """What takes seconds to load is counted, not timed; of every command, each in its turn."""
    script = f"""
import contextlib, io, sys
from {program}.__main__ import WORDS, main
for arguments in (["--version"], ["--help"], *([name, "--help"] for name in WORDS)):
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            main(arguments)
    except SystemExit as stopped:
        assert stopped.code == 0
heavy = {{
    "torch", "transformers", "odestab", "scipy", "matplotlib", "safetensors", "pandas", "xarray",
    "tqdm", "datasets", "dask",
}}
print("heavy:", *heavy & sys.modules.keys())
"""
    assert run(script) == "heavy:\n"
