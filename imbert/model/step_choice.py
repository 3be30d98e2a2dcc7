"""Which one-step method a layer takes: from the plain values of a configuration to odestab's
objects.
"""

import odestab as od
from imbert.model.choice import MODEL_OPTIONS
from imbert.model.transformers_types import Config
from odestab.steps.declared import declared_method, require_declared

STEP_KEYS = tuple(name for name in MODEL_OPTIONS if name != "implicit_layers")


def build_method(config: Config) -> od.ExplicitEuler | od.ImplicitEuler:
    """One of the `substeps` steps of a layer, with an adjoint of its own, whose record is that of
    this layer alone; ImplicitAdjoint records a failed solve unless it is told to raise.
    """
    return declared_method(
        config.method,
        config.step_size / config.substeps,
        config.solver,
        config.adjoint,
        on_failure="record",
    )


def require_steps(config: Config) -> None:
    """Raise ValueError unless the choice of implicit steps in a configuration makes sense; all of
    it is built once.
    """
    layers = config.implicit_layers
    depth = config.num_hidden_layers
    if layers is not None:
        indices = isinstance(layers, list | tuple) and all(
            type(index) is int and 0 <= index < depth for index in layers
        )
        if not indices or len(set(layers)) != len(layers):
            raise ValueError(
                "implicit_layers must be None or different indices from 0 to "
                f"{depth - 1} of the {depth} layers, got {layers!r}"
            )
    require_declared({key: getattr(config, key) for key in STEP_KEYS})
