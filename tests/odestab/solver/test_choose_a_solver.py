"""The page that helps to choose a solver says what the code says."""

import dataclasses
import re
from pathlib import Path

import pytest
import torch

import odestab as od
from odestab.steps.declared import ADJOINTS, SOLVERS

PAGE = (Path(__file__).parents[3] / "docs" / "choose-a-solver.md").read_text(encoding="utf-8")


def test_its_code_runs() -> None:
    scope: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "choose-a-solver.md", "exec"), scope)
    assert scope["step"].solution.converged.all()
    assert scope["relaxed"].solution.converged.all()


def test_a_solver_of_ones_own_keeps_the_constructor_or_takes_no_flat_options() -> None:
    options = {"weight": 0.8, "rtol": 1e-4}
    fields = {"weight": 0.5, "__annotations__": {"weight": float}, "advance": None}
    kept = type("Kept", (od.AbstractImplicitSolver,), dict(fields))
    solver = dataclasses.dataclass(frozen=True, init=False)(kept)(**options)
    assert (solver.weight, solver.stopping.rtol) == (0.8, 1e-4)
    own = type("Own", (od.AbstractImplicitSolver,), dict(fields))
    with pytest.raises(TypeError, match="rtol"):
        dataclasses.dataclass(frozen=True)(own)(**options)


def test_it_lists_every_status_with_its_sentence_and_its_remedy() -> None:
    section = PAGE.split("## What a status means")[1]
    rows = re.findall(r"^\| ([A-Z_]+) \| (.*) \| (.*) \|$", section, re.MULTILINE)
    assert rows == [(status.name, status.sentence, status.remedy) for status in od.Status]


def test_it_names_every_solver_and_every_adjoint() -> None:
    assert not [name for name in (*SOLVERS, *ADJOINTS) if f"`{name}`" not in PAGE]


@pytest.mark.parametrize("status", list(od.Status))
def test_words_of_a_status_are_sentences(status: od.Status) -> None:
    for words in (status.sentence, status.remedy):
        assert words[0].isupper() and words.endswith(".") and "\n" not in words


def test_an_error_says_what_happened_and_what_to_do_in_one_line() -> None:
    status = torch.tensor([0, 2, 5, 2])
    zero = torch.zeros(4, dtype=torch.long)
    solution = od.Solution(torch.zeros(4, 1), status, torch.zeros(4), zero, zero, torch.zeros(4))
    with pytest.raises(od.SolveError) as raised:
        solution.raise_for_status()
    said = str(raised.value)
    assert "\n" not in said
    for named in (od.Status.STALLED, od.Status.ILL_POSED):
        assert said.count(f"{named.name}: {named.sentence} {named.remedy}") == 1
    assert od.Status.DIVERGED.sentence not in said
