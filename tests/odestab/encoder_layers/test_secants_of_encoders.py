"""Secants of real families: growth of an edit is |R(hζ)| through every layer, and half of one."""

import pytest
import torch
import transformers
from encoders import CONFIGS, LENGTHS, padded, saved, tiny
from torch import nn

import odestab as od

SOLVED = od.Anderson(rtol=1e-12, memory=8, max_iterations=400)
METHODS = {
    "explicit": od.ExplicitEuler(1.0),
    "implicit": od.ImplicitEuler(0.3, solver=SOLVED),
    "theta ½": od.ThetaMethod(0.3, 0.5, solver=SOLVED),
    "theta ¾": od.ThetaMethod(0.3, 0.75, solver=SOLVED),
}
OTHERS = (11, 9, 6)  # token counts of the edited texts: fewer, as many, more


@pytest.fixture(scope="module", params=CONFIGS, ids=str)
def encoder(
    request: pytest.FixtureRequest,
    tokenizer: transformers.PreTrainedTokenizerBase,
    tmp_path_factory: pytest.TempPathFactory,
) -> nn.Module:
    made = tiny(CONFIGS[request.param]())
    if request.param != "modernbert":
        return made
    # Loaded it computes in float64 throughout.
    return od.load_encoder(saved(made, tokenizer, tmp_path_factory.mktemp("modernbert")))[0]


def pair_of_texts(
    encoder: nn.Module, side: str = "right", **options: bool
) -> tuple[od.Trajectory, od.Trajectory, od.Alignment]:
    """A padded batch, its edits of other lengths, and which token stands opposite which."""
    batches = [padded(encoder, side), padded(encoder, side, OTHERS)]
    # One token of each text is another one at the same place.
    batches[1]["input_ids"][:, -1 if side == "left" else 1] = 7
    first, second = (od.trace(encoder, batch, **options) for batch in batches)
    ids, masks = zip(*((b["input_ids"], b["attention_mask"]) for b in batches), strict=True)
    return first, second, od.align(*ids, *masks)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_growth_of_texts_of_unequal_lengths(encoder, method):
    first, second, alignment = pair_of_texts(encoder, "left" if method.pole else "right")
    path = od.secants(first, second, method, alignment=alignment)
    assert path.converged.all() and not path.equal.any()
    tolerance = 1e-12 if method.pole is None else 1e-8
    torch.testing.assert_close(path.cumulative, path.measured, rtol=tolerance, atol=0)
    added = path.growth.log().cumsum(1)
    torch.testing.assert_close(path.cumulative[:, 1:].log(), added, rtol=0, atol=1e-10)
    states = [od.follow(one, method).states[-1] for one in (first, second)]
    last = alignment.of_second(states[1]) - alignment.of_first(states[0])
    torch.testing.assert_close(path.sizes[:, -1], last.flatten(1).norm(dim=1), rtol=1e-12, atol=0)


def test_explicit_growth_is_the_encoders_own(encoder):
    first, second, alignment = pair_of_texts(encoder)
    path = od.secants(first, second, alignment=alignment)
    own = torch.stack(
        [
            (alignment.of_second(b) - alignment.of_first(a)).flatten(1).norm(dim=1)
            for a, b in zip(first.states, second.states, strict=True)
        ],
        1,
    )
    torch.testing.assert_close(path.sizes, own, rtol=1e-12, atol=0)
    assert alignment.first.shape[1] >= max(LENGTHS)


def test_halves_of_a_layer_multiply_to_the_layer(bert):
    first, second, alignment = pair_of_texts(bert)
    whole = od.secants(first, second, alignment=alignment)
    first, second, alignment = pair_of_texts(bert, sublayers=True)
    halves = od.secants(first, second, alignment=alignment)
    assert halves.growth.shape[1] == 2 * whole.growth.shape[1]
    torch.testing.assert_close(
        halves.growth[:, ::2] * halves.growth[:, 1::2], whole.growth, rtol=1e-11, atol=0
    )


def test_texts_that_tokenise_alike_are_named_and_have_no_number(bert):
    batch = padded(bert)
    trajectory = od.trace(bert, batch)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    path = od.secants(trajectory, trajectory, alignment=od.align(ids, ids, mask, mask))
    assert path.equal.all() and path.growth.isnan().all() and path.points.real.isnan().all()


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta", "electra"])
def test_conditioning_of_real_classifiers(family):
    classes = transformers.AutoModelForSequenceClassification
    model = tiny(CONFIGS[family](), auto=classes)
    batch = padded(model)
    found = od.conditioning(model, batch)
    logits = model(**batch).logits
    top = logits.topk(2, dim=1).values
    torch.testing.assert_close(found.margin, top[:, 0] - top[:, 1], rtol=1e-9, atol=1e-12)
    alone = od.conditioning(model, {name: value[2:, : LENGTHS[2]] for name, value in batch.items()})
    for name in ("margin", "gradient", "distance", "relative"):
        torch.testing.assert_close(
            getattr(found, name)[2:], getattr(alone, name), rtol=1e-9, atol=0, msg=name
        )
    # The derivative of the margin along its gradient is g.
    e = model.get_input_embeddings()(batch["input_ids"]).requires_grad_()
    rest = {name: value for name, value in batch.items() if name != "input_ids"}
    margins = model(inputs_embeds=e, **rest).logits
    margin = margins.gather(1, found.labels[:, None])[:, 0] - margins.topk(2, dim=1).values[:, 1]
    slope = torch.autograd.grad(margin.sum(), e)[0] * batch["attention_mask"][..., None]
    torch.testing.assert_close(slope.flatten(1).norm(dim=1), found.gradient, rtol=1e-9, atol=0)
