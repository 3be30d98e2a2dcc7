"""Small layers and models that the tests of a device share, each with its twin on the processor in
float64.
"""

import copy

import torch
from torch import Tensor
from transformers import BertConfig, BertModel

import odestab as od

SHAPE = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "vocab_size": 500,
}


def traced(device: str, dtype: torch.dtype, texts: int = 3, tokens: int = 6) -> od.Trajectory:
    """A random encoder's states and fields on random tokens, the last text padded by two."""
    torch.manual_seed(0)
    config = BertConfig(attn_implementation="eager", **SHAPE)
    encoder = BertModel(config, add_pooling_layer=False).eval().requires_grad_(False)
    for layer in encoder.encoder.layer:
        layer.output.dense.weight.mul_(
            8
        )  # so that perturbations grow and solves take more than a few iterations
    ids = torch.randint(10, 500, (texts, tokens))
    mask = torch.ones_like(ids)
    mask[-1, tokens - 2 :] = 0
    # One precision for the trace on the processor, another for the device: the same weights, exact
    # in both.
    return od.trace(
        encoder.to(device, dtype), {"input_ids": ids.to(device), "attention_mask": mask.to(device)}
    )


def both(
    device: str, dtype: torch.dtype, layer: int = 1
) -> tuple[tuple[od.AbstractVectorField, Tensor], tuple[od.AbstractVectorField, Tensor]]:
    """(f, x) of one layer on the device, and in float64 on the processor at the same x."""
    there, here = traced(device, dtype), traced("cpu", torch.float64)
    x = there.states[layer]
    return (there.fields[layer], x), (here.fields[layer], x.double().cpu())


def copied(model: torch.nn.Module, device: str) -> torch.nn.Module:
    """The same model on the device."""
    return copy.deepcopy(model).to(device)
