"""The one door for operators: what is a matrix to its owner becomes an operator here."""

from typing import Any, TypeAlias

from odestab.fields.from_anything import MATRICES, MatrixLike, is_matrix, matrix_field
from odestab.fields.linear_map import LinearMapField
from odestab.fields.vector_field import AbstractVectorField, LinearVectorField
from odestab.operators.jacobian import Jacobian
from odestab.operators.linear_operator import AbstractOperator

# What `as_operator` makes an operator of.
OperatorLike: TypeAlias = AbstractOperator | LinearVectorField | LinearMapField | MatrixLike
OPERATORS = f"an AbstractOperator, {MATRICES}"


def as_operator(operator: Any) -> AbstractOperator:
    """An operator, from a matrix of any kind or the field of one.

    A matrix `(n, n)` is a batch of one example, `(batch, n, n)` one for each; what is no tensor is
    computed in float64. An operator stays itself.

    Raises:
        ValueError: if a matrix is not real and square.
        TypeError: if it is neither; a nonlinear field has a Jacobian at each state.

    >>> as_operator([[0.0, 2.0], [0.0, 0.0]]).dense()[0].tolist()
    [[0.0, 2.0], [0.0, 0.0]]
    """
    if isinstance(operator, AbstractOperator):
        return operator
    field = matrix_field(operator) if is_matrix(operator) else operator
    # A linear map is its own derivative everywhere, at zero as well.
    if isinstance(field, LinearVectorField) and field.mask is None:
        matrix = field.matrix
        examples = matrix.shape[0] if matrix.ndim == 3 else 1
        return Jacobian(field, matrix.new_zeros(examples, matrix.shape[-1]))
    if isinstance(field, LinearMapField):
        return Jacobian(field, field.like.new_zeros(1, field.n))
    is_field = isinstance(field, AbstractVectorField) or callable(field)
    remedy = ": of a field take od.Jacobian(field, x) at a state x" if is_field else ""
    raise TypeError(f"operator must be {OPERATORS}, got {type(operator).__name__}{remedy}")
