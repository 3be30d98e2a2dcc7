"""What every solver of the implicit equation shares: its options, and how it is asked to solve."""

import abc
import dataclasses
import functools
import inspect
import typing
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from jaxtyping import Bool, Float
from torch import Tensor

from odestab.solver.equation import ImplicitEquation
from odestab.solver.iteration import Iterate, iterate
from odestab.solver.mixing import Mixing
from odestab.solver.solution import Solution
from odestab.solver.stopping import Stopping

STARTS = ("state", "explicit")


class _Signature:
    """The options of a class as `inspect.signature` and `help` show them."""

    def __get__(self, instance: object, owner: type) -> inspect.Signature:
        return inspect.Signature(
            [
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
                for name, (_, default) in options_of(owner).items()
            ]
        )


@dataclasses.dataclass(frozen=True, init=False)
class AbstractImplicitSolver(abc.ABC):
    """Solves y = b + h f(y).

    Convergence has one meaning: RMS(r) ≤ atol + rtol·RMS(y) over real tokens (Mathematics, section
    2). The options of `stopping` are given and read flat, `Anderson(rtol=1e-3).rtol`, and likewise
    those of a `mixing`; one that a class does not honour is refused.

    Attributes:
        stopping: when an example ends: rtol, atol, max_iterations, patience, keep_last.
        start: begin at the first guess ("state") or at b + h f of it ("explicit").
        history: keep RMS(r) of every iteration.
        deterministic: refuse a field that draws random numbers. False lets it, at the price that
            nothing need converge.

    Raises:
        TypeError: if an option is unknown or would have no effect.
        ValueError: if an option is outside what it means.

    >>> import odestab as od
    >>> dataclasses.replace(od.Anderson(memory=3), rtol=1e-3).memory
    3
    """

    stopping: Stopping = Stopping()
    start: str = "state"
    history: bool = False
    deterministic: bool = True

    # options of its records that would have no effect
    without: ClassVar[frozenset[str]] = frozenset()
    # options that stand for something in its records: name ↦ type and default
    flat: ClassVar[Mapping[str, tuple[Any, Any]]] = MappingProxyType({})
    __signature__ = _Signature()

    def __init__(self, **options: Any) -> None:
        kind = type(self)
        known = options_of(kind)
        records = _records(kind)
        unknown = [name for name in options if name not in known and name not in records]
        if unknown:
            raise TypeError(
                f"{kind.__name__}() got an unexpected keyword argument {unknown[0]!r}: "
                f"expected options out of {', '.join(known)}"
            )
        for field in dataclasses.fields(self):
            value = options.get(field.name, field.default)
            if field.name in records:
                value = _composed(kind, field.name, value, field.default, options)
            object.__setattr__(self, field.name, value)
        self.__post_init__()

    def __post_init__(self) -> None:
        if self.start not in STARTS:
            raise ValueError(f"start must be one of {', '.join(STARTS)}, got {self.start!r}")

    def __getattr__(self, name: str) -> Any:
        """An option of `stopping` or `mixing`."""
        kind = type(self)
        if name in options_of(kind):
            for record in _records(kind):
                if name in vars(self.__dict__[record]):
                    return getattr(self.__dict__[record], name)
        raise AttributeError(f"{kind.__name__!r} object has no attribute {name!r}")

    @property
    def keeps_last(self) -> bool:
        """Whether the last iterate is returned whatever its residual."""
        return self.stopping.keep_last

    @property
    def mixing(self) -> Mixing | None:
        """How the iteration mixes images of the fixed-point map; None, as here, for one that does
        something else.
        """
        return None

    @abc.abstractmethod
    def advance(
        self, equation: ImplicitEquation, iterate: Iterate, memory: object
    ) -> tuple[Tensor, Tensor, object, int | Tensor]:
        """One iteration: the next y, its residual, the memory (None before the first), and how many
        evaluations of f it took.
        """

    def error_recursion(self, z: Tensor, step_size: float, split: float) -> tuple[Tensor, Tensor]:
        """(c, g) with e ← c·e for the error and g = (1 − c)/(1 − z), on a normal linear field with
        f(x) = λx, z = hλ.

        Raises:
            ValueError: for a solver whose iterates are no polynomial in z that is known beforehand.
        """
        raise ValueError(
            "solver must have a fixed polynomial (FixedPoint, "
            f"GradientDescent), got {type(self).__name__}"
        )

    def solve(
        self,
        equation: ImplicitEquation,
        x: Float[Tensor, "batch *event"],
        open_: Bool[Tensor, " batch"] | None = None,
        image: Float[Tensor, "batch *event"] | None = None,
    ) -> Solution:
        """Solve from x (or the explicit step from x).

        Examples are independent: one that has ended is frozen, whatever happens to its batch mates.

        Args:
            equation: b, h and f.
            x: first guess; the solution of a neighbouring equation is a warm start.
            open_: which examples to solve; the others return x. None is all.
            image: F(x), f without its split, where the caller has evaluated it; it counts among the
                evaluations.

        Raises:
            ValueError: if b, the mask or f do not fit x, or f draws random numbers although the
                solver is told that it is deterministic.
        """
        equation.require_state(x)
        return iterate(self, equation, x, open_, image)


@functools.cache
def options_of(kind: type[AbstractImplicitSolver]) -> dict[str, tuple[Any, Any]]:
    """The options that a class of solvers takes flat: name ↦ its type and its default.

    >>> from odestab.solver import NewtonKrylov
    >>> options_of(NewtonKrylov)["max_iterations"]
    (<class 'int'>, 20)
    """
    hints = typing.get_type_hints(kind)
    options: dict[str, tuple[Any, Any]] = {}
    for field in dataclasses.fields(kind):
        if field.name not in _records(kind):
            options[field.name] = hints[field.name], field.default
            continue
        record: Any = field.default
        of_record = typing.get_type_hints(type(record))
        for part in dataclasses.fields(record):
            if part.name not in kind.without:
                options[part.name] = of_record[part.name], getattr(record, part.name)
    return options | dict(kind.flat)


def _records(kind: type) -> tuple[str, ...]:
    """The fields of a class that are records of options."""
    return tuple(
        field.name
        for field in dataclasses.fields(kind)
        if isinstance(field.default, Stopping | Mixing)
    )


def _composed(
    kind: type[AbstractImplicitSolver],
    name: str,
    record: Any,
    default: Any,
    options: Mapping[str, Any],
) -> Any:
    """A record with those of its options that are given flat.

    Raises:
        TypeError: if it is of another type, or says something to which this class does not listen.
    """
    if type(record) is not type(default):
        raise TypeError(
            f"{kind.__name__}: {name} must be a {type(default).__name__}, "
            f"got {type(record).__name__}"
        )
    parts = [part.name for part in dataclasses.fields(record)]
    # The default of a record may differ in what the class does not honour; a given one may not.
    for part in parts:
        if part in kind.without and getattr(record, part) != getattr(default, part):
            raise TypeError(f"{kind.__name__}() takes no {part}: it would have no effect")
    return dataclasses.replace(record, **{part: options[part] for part in parts if part in options})
