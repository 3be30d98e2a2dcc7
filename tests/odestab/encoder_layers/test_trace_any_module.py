"""Any torch module is traced by layers that are named or found; what cannot be is one line."""

import re

import pytest
import torch
import transformers
from encoders import CONFIGS, largest, padded, tiny
from torch import Tensor, nn

import odestab as od

DTYPE = torch.float64


class Block(nn.Module):
    """x + W₂ tanh(W₁ x) along the hidden axis, then a mean over tokens is added."""

    def __init__(self, hidden: int = 8, out: int | None = None) -> None:
        super().__init__()
        self.first = nn.Linear(hidden, 12)
        self.second = nn.Linear(12, out or hidden)

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        mixed = self.second(torch.tanh(self.first(x))) * scale
        same = mixed.shape == x.shape
        return x + mixed + x.mean(1, keepdim=True) if same else mixed


class Stack(nn.Module):
    """Words, blocks, a norm, and a head if there is one."""

    def __init__(self, blocks: list[nn.Module], head: nn.Module | None = None) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 8)
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(8)
        self.head = head

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids)
        for block in self.blocks:
            x = block(x, scale=0.5)
        x = self.norm(x)
        return x if self.head is None else self.head(x)


def made(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_()
    return model.to(DTYPE).eval().requires_grad_(False)


IDS = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])


def encoder(depth: int = 3) -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return made(nn.TransformerEncoder(layer, depth))


def test_a_transformer_of_torch_is_traced_with_its_padding(generator):
    model = encoder()
    x = torch.randn(2, 5, 8, dtype=DTYPE, generator=generator)
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    trajectory = od.trace(model, {"src": x, "src_key_padding_mask": padding})
    assert trajectory.tokens == [5, 3]
    alone = od.trace(model, x[1:, :3])
    for state, single in zip(trajectory.states, alone.states, strict=True):
        assert largest(state[1, :3] - single[0]) <= 1e-12
    assert largest(trajectory.states[-1][0] - model(x)[0]) <= 1e-12
    field, start = alone.fields[1], alone.states[1]
    v = torch.randn(start.shape, dtype=DTYPE, generator=generator)
    # The fast path of torch.nn has no derivative in forward mode.
    jacobian = od.Jacobian(field, start)
    step = 1e-6
    difference = (field(start + step * v) - field(start - step * v)) / (2 * step)
    assert largest(jacobian.mv(v) - difference) <= 1e-7 * largest(difference)


def test_the_fast_path_of_torch_stays_as_it_was():
    assert torch.backends.mha.get_fastpath_enabled()
    od.trace(encoder(), torch.ones(1, 2, 8))
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("head", [None, nn.Linear(8, 11)])
@pytest.mark.parametrize("named", ["found", "path", "list"])
def test_layers_are_found_or_named(head, named):
    model = made(Stack([Block(), Block(), Block()], head))
    layers = {"found": None, "path": "blocks", "list": list(model.blocks)}[named]
    trajectory = od.trace(model, (IDS,), layers=layers)
    x = model.words(IDS)
    for block, state in zip(model.blocks, trajectory.states, strict=False):
        assert torch.equal(state, x)
        x = block(x, scale=0.5)
    assert torch.equal(trajectory.states[-1], x) and trajectory.depth == 3


def test_a_sequential_is_its_layers_without_the_norm_at_its_end():
    model = made(nn.Sequential(Block(), Block(), nn.LayerNorm(8)))
    assert od.trace(model, torch.ones(1, 3, 8)).depth == 2


def test_a_shared_layer_is_listed_as_often_as_it_runs():
    block = Block()
    model = made(Stack([block, block]))
    trajectory = od.trace(model, IDS, layers=[block, block])
    assert trajectory.depth == 2
    assert trajectory.fields[0] is not trajectory.fields[1]
    assert trajectory.fields[0].layer.module is trajectory.fields[1].layer.module is block
    with pytest.raises(ValueError, match="Block is listed 1 times and runs 2 times"):
        od.trace(model, IDS, layers=[block])


def test_layers_of_tied_weights_are_each_their_own():
    first, second = Block(), Block()
    second.first.weight = first.first.weight
    model = made(Stack([first, second]))
    with torch.no_grad():
        second.second.weight.mul_(2)
    trajectory = od.trace(model, IDS)
    for field, x, block in zip(trajectory.fields, trajectory.states, (first, second), strict=False):
        v = torch.ones_like(x)
        expected = torch.func.jvp(lambda x, block=block: block(x, scale=0.5), (x,), (v,))[1]
        assert largest(od.Jacobian(field, x).mv(v) + v - expected) <= 1e-12 * largest(expected)


class Twice(Stack):
    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids)
        for block in [*self.blocks, *self.blocks]:
            x = block(x)
        return x


class Apart(Stack):
    """What leaves the layers is changed on the way to the output."""

    def forward(self, ids: Tensor) -> Tensor:
        return 2 * super().forward(ids)


class InPlace(Block):
    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        return x.mul_(0.5).add(self.second(torch.tanh(self.first(x))))


class Images(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)])

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


def two() -> list[nn.Module]:
    return [Block(), Block()]


REFUSED = {
    "path": (
        lambda: (Stack(two()), IDS, "block"),
        "path of a ModuleList or Sequential in Stack, got 'block': no module",
    ),
    "path of one": (
        lambda: (Stack(two()), IDS, "blocks.0"),
        "path of a ModuleList or Sequential in Stack, got 'blocks.0': Block",
    ),
    "others": (
        lambda: (Stack(two()), IDS, two()),
        "layers must be submodules of Stack, got Block at place 0, which is none",
    ),
    "none": (
        lambda: (Stack(two()), IDS, []),
        "layers must be at least one submodule of Stack, got none",
    ),
    "twice": (
        lambda: (Twice(two()), IDS, "blocks"),
        "each as often as it runs, got 2 for 4 calls: Block is listed 1 times and runs 2 times",
    ),
    "twice, to be found": (
        lambda: (Twice(two()), IDS, None),
        r"Twice must have one longest list .*, got 0: name them by layers",
    ),
    "another shape": (
        lambda: (nn.Sequential(Block(), Block(8, 6), Block(6)), torch.ones(1, 4, 8), ""),
        r"layers must keep the shape (1, 4, 8) of their state, got (1, 4, 6) at layer 1",
    ),
    "convolutions": (
        lambda: (Images(), torch.ones(2, 3, 4, 4), "blocks"),
        r"layers must have states (batch, tokens, hidden), got (2, 3, 4, 4) before layer 0",
    ),
    "vectors": (
        lambda: (nn.Sequential(nn.Linear(4, 4), nn.Tanh()), torch.ones(2, 4), ""),
        r"layers must have states (batch, tokens, hidden), got (2, 4) before layer 0",
    ),
    "a changed end": (
        lambda: (Apart(two()), IDS, None),
        "Apart must be one chain .* got another output than that of its last layer",
    ),
    "in place": (
        lambda: (Stack([InPlace(), InPlace()]), IDS, None),
        "Stack must have layers that leave their state as it is, got layer 0, which works in place",
    ),
    "no tensor": (
        lambda: (Stack(two()), (3,), None),
        "batch must be a mapping of keyword arguments, a tensor or a tuple of tensors, got tuple",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_chain_of_layers_is_one_line(case):
    make, message = REFUSED[case]
    model, batch, layers = make()
    pattern = ".*".join(map(re.escape, message.split(".*")))
    with pytest.raises(ValueError, match=pattern) as caught:
        od.trace(made(model), batch, layers=layers)
    assert "\n" not in str(caught.value)


def test_layers_that_leave_out_some_do_not_cover_the_model():
    model = made(Stack([Block(), Block(), Block()], nn.Linear(8, 11)))
    with pytest.raises(ValueError, match=r"one chain of layers .* got 2 of 3 layers in a row"):
        od.trace(model, IDS, layers=list(model.blocks[:2]))
    bert = tiny(CONFIGS["bert"]())
    with pytest.raises(ValueError, match="got 2 layers in a row of a model with 4 hidden states"):
        od.trace(bert, padded(bert), layers=list(bert.encoder.layer[1:]))


def test_a_model_with_tokens_first_is_refused():
    layer = nn.TransformerEncoderLayer(8, 2, 16)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    with pytest.raises(ValueError, match=r"got tokens first in layers\.0\.self_att"):
        od.trace(model, torch.ones(3, 2, 8))


def test_a_model_in_training_mode_is_refused():
    model = made(Stack(two()))
    model.blocks[1].train()
    with pytest.raises(ValueError, match=r"model must be in eval mode, .* got training mode"):
        od.trace(model, IDS)


def of_library(module: str, **parts: Tensor) -> nn.Module:
    """A Linear as a library of quantised layers has it."""
    kind = type("Linear4bit", (nn.Linear,), {"__module__": module})
    return kind(8, 12)


def in_bytes() -> nn.Module:
    linear = nn.Linear(8, 12)
    linear.weight = nn.Parameter(torch.ones(12, 8, dtype=torch.int8), requires_grad=False)
    return linear


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: of_library("bitsandbytes.nn.modules"), "Linear4bit"),
        (lambda: of_library("torchao.quantization.linear"), "Linear4bit"),
        (lambda: torch.ao.nn.quantized.dynamic.Linear(8, 12), "Linear"),
        (in_bytes, "Linear"),
    ],
    ids=["bitsandbytes", "torchao", "torch", "bytes"],
)
def test_quantised_layers_are_named_and_refused(make, name):
    model = Stack(two()).eval()
    model.blocks[1].first = make().eval()
    message = f"floating-point weights, got quantised {name} in blocks.1.first"
    with pytest.raises(ValueError, match=message):
        od.trace(model, IDS)


def test_a_mask_that_does_not_fit_the_states_is_refused():
    class Longer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(two())

        def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:
            x = torch.cat([x, x], 1)
            for block in self.blocks:
                x = block(x)
            return x

    x = torch.ones(1, 2, 8)
    mask = torch.ones(1, 2)
    assert od.trace(made(Longer()), {"x": x, "attention_mask": mask}).tokens == [4]
    mask[0, 1] = 0
    message = r"attention_mask must be \(batch, tokens\) of states \(1, 4, 8\), got \(1, 2\)"
    with pytest.raises(ValueError, match=message):
        od.trace(made(Longer()), {"x": x, "attention_mask": mask})


def test_a_batch_without_a_mask_is_all_real_unless_it_is_padded():
    model = tiny(CONFIGS["bert"]())
    whole = padded(model, lengths=(5, 5))
    assert od.trace(model, {"input_ids": whole["input_ids"]}).tokens == [5, 5]
    with pytest.raises(ValueError, match="batch must have attention_mask as a tensor"):
        od.trace(model, {"input_ids": padded(model)["input_ids"]})


def test_sublayers_of_a_module_of_torch_are_not_known():
    with pytest.raises(
        ValueError, match=r"must have layers with known halves, .* got model_type N"
    ):
        od.trace(encoder(), torch.ones(1, 2, 8), sublayers=True)


def test_images_are_taken_in_the_models_precision():
    config = transformers.ViTConfig(
        hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8,
        image_size=4, patch_size=2,
    )  # fmt: skip
    model = tiny(config)
    images = torch.ones(2, 3, 4, 4)  # float32, as an image processor makes them
    assert od.trace(model, {"pixel_values": images}).states[0].dtype == DTYPE
    with pytest.raises(ValueError, match="batch must have pixel_values as a tensor, got NoneType"):
        od.trace(model, {"input_ids": IDS})


def test_padding_of_torchs_masks_of_numbers_is_padding_too(generator):
    model = encoder()
    x = torch.randn(2, 4, 8, dtype=DTYPE, generator=generator)
    padding = torch.zeros(2, 4, dtype=DTYPE)
    padding[0, 3] = -torch.inf
    assert od.trace(model, {"src": x, "src_key_padding_mask": padding}).tokens == [3, 4]


class HandsOn(nn.Module):
    """Layers that are passed something beside the state."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what
        self.layers = nn.ModuleList(Gated() for _ in range(3))

    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        given = x if self.what == "first state" else torch.ones(4, dtype=x.dtype)
        for layer in self.layers:
            x, values = layer(x, given)
            given = values if self.what == "values of the layer before" else given
        return x


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(4, 4)

    def forward(self, x: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        values = torch.tanh(self.map(x))
        return x + given * values, values


@pytest.mark.parametrize(
    ("what", "layer"), [("first state", 0), ("values of the layer before", 1), ("constant", None)]
)
def test_what_depends_on_the_state_beside_the_state_is_refused(what, layer, generator):
    model = made(HandsOn(what))
    x = torch.randn(2, 3, 4, dtype=DTYPE, generator=generator)
    if layer is None:
        assert od.trace(model, x).depth == 3
        return
    with pytest.raises(ValueError, match=f"nothing else that depends on .* at layer {layer}$"):
        od.trace(model, x)


def test_an_additive_mask_of_a_plain_module_is_refused(generator):
    x = torch.randn(2, 3, 4, dtype=DTYPE, generator=generator)
    mask = torch.tensor([[0.0, 0.0, -1e9], [0.0, 0.0, 0.0]])
    with pytest.raises(ValueError, match="attention_mask must be 1 on real tokens"):
        od.trace(made(HandsOn("constant")), {"x": x, "attention_mask": mask})


class OfEach(nn.Module):
    """A number for each example, in a vector that has no row for each."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Scaled(), Scaled()])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, torch.full((len(x),), 0.5, dtype=x.dtype))
        return x


class Scaled(nn.Module):
    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        return x + scale[:, None, None] * torch.tanh(x)


def test_a_layer_whose_cut_would_broadcast_is_not_cut(generator, monkeypatch):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    trajectory = od.trace(OfEach().eval(), torch.randn(3, 2, 4, dtype=DTYPE, generator=generator))
    assert trajectory.fields[0].take(torch.tensor([1])) is None
