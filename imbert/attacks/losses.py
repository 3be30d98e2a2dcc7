"""What an attack makes large: how far the model is from its right answer."""

from collections.abc import Callable

import torch
from torch import Tensor

from imbert.toml_tables import one_of

Loss = Callable[[Tensor, Tensor], Tensor]

NAMES = ("margin", "cross_entropy", "dlr")


def loss(name: str, labels: int) -> tuple[str, Loss]:
    """A loss by its name, and the name of what is used: of two classes there is no third logit, so
    "dlr" is then the margin.

    Raises:
        ValueError: for an unknown name.
    """
    one_of("loss", name, NAMES)
    used = "margin" if name == "dlr" and labels < 3 else name
    return used, {"margin": margin, "cross_entropy": cross_entropy, "dlr": dlr}[used]


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """max_{j≠y} z_j − z_y per example; positive where the model is wrong.

    Its gradient does not vanish as that of −log p does.
    """
    return _others(logits, labels).amax(dim=1) - _own(logits, labels)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """−log p_y per example."""
    return torch.nn.functional.cross_entropy(logits, labels, reduction="none")


def dlr(logits: Tensor, labels: Tensor) -> Tensor:
    """(max_{j≠y} z_j − z_y)/(z_π1 − z_π3), the difference of logits ratio (Croce and Hein 2020,
    section 4): no scale of z changes it.
    """
    ordered = logits.sort(dim=1, descending=True).values
    return margin(logits, labels) / (ordered[:, 0] - ordered[:, 2]).clamp(
        min=torch.finfo(logits.dtype).tiny
    )


def _own(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.gather(1, labels[:, None])[:, 0]


def _others(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.scatter(1, labels[:, None], -torch.inf)
