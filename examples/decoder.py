"""A decoder as a vector field: spectra and growth of each layer, and what one changed token does.

Run it with `python examples/decoder.py`. The model is GPT-2's architecture with random weights and
its tokens are made up, so nothing is downloaded; put your own model and tokens in their place.
"""

import torch
import transformers

import odestab as od


def decoder() -> torch.nn.Module:
    """Three layers of GPT-2, small enough for seconds."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=100,
        n_positions=32,
        n_embd=24,
        n_layer=3,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
        initializer_range=0.15,
    )
    return transformers.GPT2Model(config).double().eval().requires_grad_(False)


def main() -> None:
    """Print both tables."""
    model = decoder()
    tokens = torch.tensor([[11, 42, 7, 93, 58, 5]])
    # The run without a cache; f_l = F_l − id, with the causal mask fixed.
    trajectory = od.trace(model, {"input_ids": tokens})

    print("each layer at its state, f = F - id, h = 1")
    print(f"{'layer':<6}{'max |eig J|':>13}{'mu_2(J)':>10}{'growth':>9}")
    for layer, (field, x) in enumerate(zip(trajectory.fields, trajectory.states, strict=False)):
        jacobian = od.Jacobian(field, x)
        largest = od.full_spectrum(jacobian).values.abs().max()
        bound = od.logarithmic_norm(jacobian).values.max()
        growth = od.worst_growth(od.ExplicitEuler(1.0), field, x).values.max()
        print(f"{layer:<6}{largest:>13.3f}{bound:>10.3f}{growth:>9.3f}")

    # Token 3 is another one: what comes before it cannot know, what follows does.
    changed = tokens.clone()
    changed[0, 3] = 17
    other = od.trace(model, {"input_ids": changed})
    print("\nthe difference of the states by token, token 3 changed")
    print(f"{'state':<6}" + "".join(f"{token:>8}" for token in range(tokens.shape[1])))
    for level, (x, y) in enumerate(zip(trajectory.states, other.states, strict=True)):
        sizes = (y - x)[0].norm(dim=1)
        print(f"{level:<6}" + "".join(f"{size:>8.3f}" for size in sizes.tolist()))


if __name__ == "__main__":
    main()
