"""What is wrong with two texts whose secants are asked for, in one line."""

from torch import Tensor

from odestab.fields.trajectory import Trajectory
from odestab.fields.vector_field import AbstractVectorField
from odestab.propagation.alignment import Alignment


def require_pair(first: Trajectory, second: Trajectory, alignment: Alignment | None) -> None:
    """Raise ValueError unless both texts can stand side by side."""
    if first.depth != second.depth:
        raise ValueError(
            f"perturbed must have {first.depth} fields, as the trajectory has, got {second.depth}"
        )
    x = first.states[0]
    y = second.states[0]
    require_states(first.fields[0], second.fields[0], x, y, alignment)
    if alignment is None:
        return
    for name, columns, mask in (
        ("first", alignment.first, first.mask),
        ("second", alignment.second, second.mask),
    ):
        if (columns >= 0).sum(1).tolist() != mask.sum(1).tolist():
            raise ValueError(
                f"alignment must place {mask.sum(1).tolist()} tokens of the {name} texts, got "
                f"{(columns >= 0).sum(1).tolist()}"
            )


def require_tensors(x: Tensor, y: Tensor) -> None:
    """Raise ValueError unless both are states."""
    for name, state in (("x", x), ("y", y)):
        if not isinstance(state, Tensor) or state.ndim < 2:
            got = f"{tuple(state.shape)}" if isinstance(state, Tensor) else type(state).__name__
            raise ValueError(f"{name} must be a tensor of shape (batch, ...), got {got}")


def require_states(
    field: AbstractVectorField,
    other: AbstractVectorField,
    x: Tensor,
    y: Tensor,
    alignment: Alignment | None,
) -> None:
    """Raise ValueError unless fields and states fit each other and the alignment."""
    if not x.is_floating_point() or x.dtype != y.dtype:
        raise ValueError(f"states must be of one floating-point dtype, got {x.dtype} and {y.dtype}")
    if alignment is None:
        if x.shape != y.shape:
            raise ValueError(
                f"states must have one shape where there is no alignment (see align), got "
                f"{tuple(x.shape)} and {tuple(y.shape)}"
            )
        return
    if (x.shape[0], *x.shape[2:]) != (y.shape[0], *y.shape[2:]):
        raise ValueError(
            f"states must have one batch and hidden size, got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    for name, columns, state in (
        ("first", alignment.first, x),
        ("second", alignment.second, y),
    ):
        rows = len(columns)
        last = int(columns.max()) if columns.numel() else -1
        if rows != state.shape[0] or last >= state.shape[1]:
            raise ValueError(
                f"alignment must be of the {name} states of shape {tuple(state.shape)}, got "
                f"{rows} texts of at least {last + 1} tokens"
            )
