"""λ E‖∇_e m‖²: its value is that of conditioning, its gradient that of differences, and what has no
second derivative is refused.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from regularized import SOLVED, STEPS, UNROLLED, batch_of, penalised, regularization
from regularized import require_gradient as require
from tiny_models import implicit, plain

import odestab as od

STRENGTH = 0.5
ANDERSON = {**SOLVED, "name": "Anderson"}
MODELS: dict[str, dict[str, Any] | None] = {
    "bert": None,
    "fixed point": {**STEPS, "adjoint": UNROLLED},
    "Anderson": {**STEPS, "adjoint": UNROLLED, "solver": ANDERSON},
}


def model_of(folder: Path, name: str) -> Any:
    options = MODELS[name]
    return (plain(folder) if options is None else implicit(folder, **options)).double()


@pytest.mark.parametrize("name", MODELS)
def test_the_gradient_is_that_of_differences(name: str, tiny_folder: Path, quiet: None) -> None:
    model = model_of(tiny_folder, name).train()
    working = regularization(tiny_folder, "margin-gradient", strength=STRENGTH)
    working.regularizer.require(model)
    require(model, lambda: penalised(working, model))


def test_the_value_is_the_squared_gradient_of_the_margin(tiny_folder: Path, quiet: None) -> None:
    model = plain(tiny_folder).double().eval()
    working = regularization(tiny_folder, "margin-gradient", strength=STRENGTH)
    # a token that the tokenizer does not know is a word of the text
    working.rows.texts = (("the film is \u4e2d very good",), *working.rows.texts[1:])
    working.rows.encoded = working.rows.tokenized(working.rows.texts)
    loss = penalised(working, model)
    rows = working.rows
    batch = batch_of(rows, list(range(4)))
    assert rows.tokenizer.unk_token_id in batch["input_ids"][0]
    texts = [text for (text,) in rows.texts]
    encoded = rows.tokenizer(
        texts, padding=True, return_tensors="pt", return_special_tokens_mask=True
    )
    special = encoded["special_tokens_mask"]
    measured = od.conditioning(
        model, {**batch, "special_tokens_mask": special}, labels=batch["labels"]
    )
    squared = measured.gradient.square().mean()
    torch.testing.assert_close(working.summary().value, float(squared), rtol=1e-12, atol=0)
    torch.testing.assert_close(loss, model(**batch).loss + STRENGTH * squared, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, r'expected model.adjoint = \{ name = "UnrolledAdjoint" \}.*, got ImplicitAdjoint'),
        ({"adjoint": {"name": "PhantomAdjoint"}}, "without recompute, got PhantomAdjoint"),
        ({"adjoint": {**UNROLLED, "recompute": True}}, "without recompute, got UnrolledAdjoint"),
        (
            {"adjoint": UNROLLED, "solver": {"name": "GradientDescent", "steps": 5}},
            "model.solver to be FixedPoint or Anderson, got GradientDescent",
        ),
        (
            {"adjoint": UNROLLED, "solver": {"name": "Auto"}},
            "model.solver to be FixedPoint or Anderson, got Auto",
        ),
    ],
)
def test_what_has_no_second_derivative_is_refused(
    options: dict[str, Any], said: str, tiny_folder: Path, quiet: None
) -> None:
    working = regularization(tiny_folder, "margin-gradient", strength=STRENGTH)
    model = implicit(tiny_folder, **{**STEPS, **options})
    with pytest.raises(ValueError, match=said) as raised:
        working.regularizer.require(model)
    assert "\n" not in str(raised.value)


def test_explicit_steps_need_no_adjoint(tiny_folder: Path, quiet: None) -> None:
    model = implicit(tiny_folder, method="explicit_euler", implicit_layers=[1], step_size=0.5)
    working = regularization(tiny_folder, "margin-gradient", strength=STRENGTH)
    working.regularizer.require(model)
    assert penalised(working, model.train()).isfinite()
