"""An image model as a vector field: worst growth of each layer, and the largest stable step.

Run it with `python examples/image_model.py`. The model is a Vision Transformer with random weights
and the images are noise, so nothing is downloaded; put your own model and images in their place.
"""

import torch
import transformers

import odestab as od


def image_model() -> torch.nn.Module:
    """Three layers on images of 16 × 16, in patches of 8 × 8."""
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=48,
        image_size=16,
        patch_size=8,
        initializer_range=0.15,
    )
    return transformers.ViTModel(config).double().eval().requires_grad_(False)


def main() -> None:
    """Print the table."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 3, 16, 16, generator=generator)
    # Tensors stand in for texts: each state is (images, patches + 1, hidden), without padding.
    trajectory = od.trace(image_model(), {"pixel_values": images})
    print(f"{trajectory.depth} layers on {len(images)} images, {trajectory.tokens[0]} tokens each")
    print(f"{'layer':<6}{'image':<6}{'worst growth':>13}{'max Re eig':>12}{'stable':>8}")
    for layer, (field, x) in enumerate(zip(trajectory.fields, trajectory.states, strict=False)):
        jacobian = od.Jacobian(field, x)
        growth = od.worst_growth(od.ExplicitEuler(1.0), field, x).values[:, 0]
        # The states are small enough for every eigenvalue: 5 tokens of 24 numbers.
        points = od.full_spectrum(jacobian).values
        # The step is stable where |1 + z| <= 1 for every eigenvalue z.
        stable = (1 + points).abs().amax(1) <= 1
        for image in range(len(images)):
            rightmost = points[image].real.max()
            verdict = "yes" if stable[image] else "no"
            print(f"{layer:<6}{image:<6}{growth[image]:>13.3f}{rightmost:>12.3f}{verdict:>8}")


if __name__ == "__main__":
    main()
