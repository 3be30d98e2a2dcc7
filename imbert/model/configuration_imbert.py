"""The configurations of IM-BERT and its kin: those of the plain models, and which layers take which
step.
"""

import dataclasses
import os
from typing import ClassVar

from transformers import (
    AutoConfig,
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    MPNetConfig,
    RobertaConfig,
)

from imbert.model.choice import FAMILIES as FAMILIES
from imbert.model.choice import MODEL_OPTIONS
from imbert.model.step_choice import require_steps
from imbert.model.transformers_types import Config

DEFAULT_SOLVER = {"name": "Anderson", "rtol": 1e-3, "max_iterations": 100, "compaction": True}
DEFAULT_ADJOINT = {"name": "ImplicitAdjoint", "rtol": 1e-2, "restart": 12}


@dataclasses.dataclass
class StepsConfig:
    """Mixin before a transformers configuration: the layers are vector fields, and some of them
    take a step.

    Loads from any checkpoint of the plain architecture; keyword arguments of `from_pretrained` set
    what is not its own.

    Attributes:
        implicit_layers: indices of the layers that take `method`; None is all, an empty list none.
            The others are plain BERT layers.
        method: "implicit_euler" or "explicit_euler".
        field: "increment", f = F − id, whose explicit step with h = 1 is the layer F; or "outer", f
            = F.
        step_size: h of a layer, taken in `substeps` steps of h / substeps.
        substeps: how many.
        learn_step_size: train h of each such layer, from `step_size`; it adds one parameter, log h,
            per layer.
        solver: name and options of an odestab solver.
        adjoint: name and options of an odestab adjoint. ImplicitAdjoint records failures here
            unless `on_failure` says "raise".

    Raises:
        ValueError: if one of these is not as said, or the checkpoint is of another architecture.
    """

    model_type: ClassVar[str]
    plain_type: ClassVar[str]  # model_type of the architecture whose checkpoints are taken

    implicit_layers: Config = None
    method: Config = "implicit_euler"
    field: Config = "increment"
    step_size: Config = 1.0
    substeps: Config = 1
    learn_step_size: Config = False
    solver: Config = None
    adjoint: Config = None

    def __new__(cls, *arguments: Config, **options: Config) -> Config:
        """Who has a configuration, unpickled or copied too, may ask transformers for its model: the
        models are registered by then.
        """
        from imbert.model import modeling_imbert, modeling_imkin  # noqa: F401 -- late: of those

        return super().__new__(cls)

    def __post_init__(self, **kwargs: Config) -> None:
        super().__post_init__(**kwargs)  # type: ignore[misc]
        self.solver = dict(DEFAULT_SOLVER) if self.solver is None else self.solver
        self.adjoint = dict(DEFAULT_ADJOINT) if self.adjoint is None else self.adjoint
        require_steps(self)
        if self.implicit_layers is not None:
            self.implicit_layers = sorted(self.implicit_layers)

    @property
    def stepping_layers(self) -> list[int]:
        """`implicit_layers` with None spelt out."""
        every = range(self.num_hidden_layers)  # type: ignore[attr-defined]
        return list(every if self.implicit_layers is None else self.implicit_layers)

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Config
    ) -> tuple[dict[str, Config], dict[str, Config]]:
        """As transformers does, and a BERT checkpoint's is that of an IM-BERT."""
        settings, unused = super().get_config_dict(pretrained_model_name_or_path, **kwargs)  # type: ignore[misc]
        kind = settings.get("model_type", cls.plain_type)
        if kind not in (cls.plain_type, cls.model_type):
            expected = f"{cls.plain_type!r} or {cls.model_type!r}"
            raise ValueError(
                f"checkpoint {str(pretrained_model_name_or_path)!r} must "
                f"be of model_type {expected}, got {kind!r}"
            )
        return {**settings, "model_type": cls.model_type}, unused

    @classmethod
    def from_dict(cls, config_dict: dict[str, Config], **kwargs: Config) -> Config:
        """As transformers does, with the step's keys set before the configuration is checked."""
        steps = {key: kwargs.pop(key) for key in MODEL_OPTIONS if key in kwargs}
        return super().from_dict({**config_dict, **steps}, **kwargs)  # type: ignore[misc]


class ImBertConfig(StepsConfig, BertConfig):
    """BERT's configuration with steps; see `StepsConfig`.

    >>> config = ImBertConfig(num_hidden_layers=6, implicit_layers=[3, 4, 5])
    >>> config.method, config.field, config.step_size
    ('implicit_euler', 'increment', 1.0)
    """

    model_type = "imbert"
    plain_type = BertConfig.model_type


class ImRobertaConfig(StepsConfig, RobertaConfig):
    """RoBERTa's configuration with steps; see `StepsConfig`.

    >>> ImRobertaConfig(method="explicit_euler", step_size=0.5).model_type
    'imroberta'
    """

    model_type = "imroberta"
    plain_type = RobertaConfig.model_type


class ImElectraConfig(StepsConfig, ElectraConfig):
    """ELECTRA's configuration with steps; see `StepsConfig`.

    >>> ImElectraConfig(implicit_layers=[0], substeps=2).substeps
    2
    """

    model_type = "imelectra"
    plain_type = ElectraConfig.model_type


class ImMPNetConfig(StepsConfig, MPNetConfig):
    """MPNet's configuration with steps; see `StepsConfig`.

    >>> ImMPNetConfig(implicit_layers=[11, 10]).stepping_layers
    [10, 11]
    """

    model_type = "immpnet"
    plain_type = MPNetConfig.model_type


class ImDistilBertConfig(StepsConfig, DistilBertConfig):
    """DistilBERT's configuration with steps; see `StepsConfig`.

    >>> ImDistilBertConfig(n_layers=2).stepping_layers
    [0, 1]
    """

    model_type = "imdistilbert"
    plain_type = DistilBertConfig.model_type


_CONFIGURATIONS = (
    ImBertConfig,
    ImRobertaConfig,
    ImElectraConfig,
    ImMPNetConfig,
    ImDistilBertConfig,
)


def steps_config(model_type: str) -> type[StepsConfig] | None:
    """The configuration with steps of a plain model type, or of one that has steps already; None
    where it is of no family whose layers can take steps.

    >>> steps_config("roberta").__name__
    'ImRobertaConfig'
    """
    for config in _CONFIGURATIONS:
        if model_type in (config.plain_type, config.model_type):
            return config
    return None


for _config in _CONFIGURATIONS:
    AutoConfig.register(_config.model_type, _config)
