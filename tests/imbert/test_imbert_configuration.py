"""The configuration: what is checked, and that it survives a file."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny import tiny_config

import imbert
import odestab as od
from imbert.__main__ import main
from imbert.attacks.gradients import at_iterations, at_tolerance
from imbert.study.plan import read_study
from imbert.training.run_config import read_run

BAD: list[tuple[dict[str, Any], str]] = [
    ({"implicit_layers": [3]}, r"different indices from 0 to 2 of the 3 layers, got \[3\]"),
    ({"implicit_layers": [-1]}, r"indices from 0 to 2"),
    ({"implicit_layers": [1, 1]}, r"different indices"),
    ({"implicit_layers": [1.0]}, r"got \[1.0\]"),
    ({"implicit_layers": "all"}, r"got 'all'"),
    ({"method": "euler"}, r"method must be one of implicit_euler, explicit_euler, got 'euler'"),
    ({"field": "inner"}, r"field must be one of increment, outer, got 'inner'"),
    ({"step_size": 0}, r"step_size must be a number > 0 and finite, got 0"),
    ({"step_size": float("nan")}, r"step_size must be a number > 0"),
    ({"step_size": "1"}, r"step_size must be a number > 0 and finite, got '1'"),
    ({"substeps": 0}, r"substeps must be an integer >= 1, got 0"),
    ({"substeps": 1.5}, r"substeps must be an integer >= 1, got 1.5"),
    ({"learn_step_size": 1}, r"learn_step_size must be True or False, got 1"),
    (
        {"solver": {"name": "Newton"}},
        r"solver must be a table with a name out of FixedPoint, .*Auto, got 'Newton'",
    ),
    ({"solver": "Auto"}, r"solver must be a table .* got 'Auto'"),
    (
        {"solver": {"name": "Auto", "rtoll": 1}},
        r"solver Auto must have options out of rtol, .*got rtoll",
    ),
    (
        {"solver": {"name": "Auto", "rtol": -1.0}},
        r"solver Auto: rtol must be finite and >= 0, got -1.0",
    ),
    (
        {"solver": {"name": "Auto", "rtol": "small"}},
        r"solver Auto must have options of their types",
    ),
    (
        {"adjoint": {"name": "Exact"}},
        r"adjoint must be a table with a name out of ImplicitAdjoint, .*got 'Exact'",
    ),
    (
        {"adjoint": {"name": "ImplicitAdjoint", "rtol": 0.0}},
        r"adjoint ImplicitAdjoint: rtol must be finite and > 0, got 0.0",
    ),
    ({"adjoint": {"name": "ImplicitAdjoint", "_last": 0}}, r"got _last"),
]


@pytest.mark.parametrize(("options", "said"), BAD)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        imbert.ImBertConfig(num_hidden_layers=3, **options)


@pytest.mark.parametrize(("options", "said"), BAD[:1] + BAD[12:14])
def test_what_from_pretrained_is_given_is_checked(
    tiny_folder: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        imbert.ImBertModel.from_pretrained(tiny_folder, **options)


def test_the_defaults_take_every_layer_by_a_converged_implicit_step() -> None:
    config = imbert.ImBertConfig(num_hidden_layers=3)
    assert config.stepping_layers == [0, 1, 2] and config.model_type == "imbert"
    assert (
        config.method,
        config.field,
        config.step_size,
        config.substeps,
        config.learn_step_size,
    ) == (*("implicit_euler", "increment", 1.0, 1, False),)
    assert config.solver["rtol"] == 1e-3 and config.adjoint["rtol"] == 1e-2


def test_a_file_keeps_it(tmp_path: Path) -> None:
    solver = {"name": "GradientDescent", "steps": 5, "step_size": 0.1}
    config = imbert.ImBertConfig(
        num_hidden_layers=3,
        implicit_layers=[2, 0],
        field="outer",
        step_size=0.5,
        substeps=2,
        solver=solver,
    )
    config.save_pretrained(tmp_path)
    again = imbert.ImBertConfig.from_pretrained(tmp_path)
    assert again.to_dict() == config.to_dict() and again.implicit_layers == [0, 2]


def test_a_checkpoint_of_bert_becomes_one_of_imbert(tmp_path: Path) -> None:
    tiny_config(hidden_dropout_prob=0.3).save_pretrained(tmp_path)
    config = imbert.ImBertConfig.from_pretrained(tmp_path, implicit_layers=[1], num_labels=3)
    assert (
        config.model_type,
        config.hidden_dropout_prob,
        config.num_labels,
        config.implicit_layers,
    ) == ("imbert", 0.3, 3, [1])
    assert config.to_dict()["model_type"] == "imbert"


WRONG_STEPS = [
    (
        'solver = { name = "Auto", rtol = "small" }',
        "solver Auto .*: rtol must be float, got 'small'",
    ),
    (
        'solver = { name = "Auto", rtol = -1.0 }',
        "solver Auto: rtol must be finite and >= 0, got -1",
    ),
    ('solver = { name = "Auto", keep_last = true }', "solver Auto must have options .*keep_last"),
    ('solver = { name = "NewtonKrylov", compaction = true }', "NewtonKrylov .*got compaction"),
    (
        'solver = { name = "GradientDescent", max_iterations = 1 }',
        r"solver GradientDescent: .*takes no max_iterations beside steps = 5",
    ),
    ('solver = { name = "Anderson", memory = 0 }', "solver Anderson: memory must be >= 1, got 0"),
    ('solver = { name = "Magic" }', "solver must be a table with a name .*got 'Magic'"),
    ('adjoint = { name = "PhantomAdjoint", steps = 1.5 }', "steps must be int, got 1.5"),
    ('adjoint = { name = "ImplicitAdjoint", on_failure = "x" }', "on_failure must be one of"),
    ('method = "euler"', "method must be one of implicit_euler, explicit_euler, got 'euler'"),
    ('field = "inner"', "field must be one of increment, outer, got 'inner'"),
    ("step_size = -0.5", "step_size must be a number > 0 and finite, got -0.5"),
    ("substeps = 0", "substeps must be an integer >= 1, got 0"),
]


@pytest.mark.parametrize(("line", "said"), WRONG_STEPS)
def test_steps_that_cannot_be_built_are_refused_when_a_plan_is_read(
    line: str, said: str, tmp_path: Path
) -> None:
    run, study = tmp_path / "run.toml", tmp_path / "study.toml"
    run.write_text(f'[model]\nkind = "im-bert"\n{line}\n')
    study.write_text(
        '[study]\nbaseline = "plain"\n[models.plain]\nkind = "bert"\n'
        f'[models.im]\nkind = "im-bert"\n{line}\n'
    )
    for read, file in ((read_run, run), (read_study, study)):
        with pytest.raises(ValueError, match=said) as raised:
            read(file)
        assert "\n" not in str(raised.value) and str(raised.value).startswith(f"{file}: ")


@pytest.mark.parametrize("command", ["finetune", "study"])
def test_a_command_refuses_them_before_anything_is_trained(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "plan.toml", tmp_path / "out"
    table = "[model]" if command == "finetune" else "[models.im]"
    head = "" if command == "finetune" else '[study]\nbaseline = "im"\n'
    solver = '{ name = "Anderson", rtol = "small" }'
    file.write_text(f'{head}{table}\nkind = "im-bert"\nsolver = {solver}\n')
    assert main([command, str(file), "--out", str(out)]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("imbert: error: ") and "rtol must be float, got 'small'" in told
    assert not out.exists()


def test_names_of_steps_are_known_without_transformers() -> None:
    code = "import sys, odestab.steps.declared; sys.exit('transformers' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_given_number_of_steps_is_kept_at_another_tolerance() -> None:
    steps = od.GradientDescent(steps=3)
    assert at_tolerance(steps, 1e-9, 300) == od.GradientDescent(steps=3, rtol=1e-9)
    ends = od.GradientDescent(steps=None, max_iterations=60)
    assert at_tolerance(ends, 1e-9, 300).max_iterations == 300
    assert at_iterations(ends, 4) == od.GradientDescent(steps=4)
    assert at_iterations(od.Auto(rtol=1e-3), 4) == od.Anderson(
        rtol=1e-3, max_iterations=4, keep_last=True
    )
