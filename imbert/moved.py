"""Modules of `imbert` that stood beside each other before there were rooms: the old paths lead to
the new ones, with a warning.
"""

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import MappingProxyType, ModuleType

ROOMS = MappingProxyType(
    {
        "checks": "attack_gain gradient_agreement masking solver_sweep stronger_attacks",
        "data": "advglue label_order subsets tasks",
        "model": "classifier configuration_imbert frozen_dropout implicit_layer modeling_imbert "
        "modeling_imkin solver_log step_choice stepping_model",
        "study": "comparison perturbations",
        "training": "evaluate finetune inputs metrics optimizer run_config saved_states trainer",
    }
)
RENAMED = MappingProxyType(
    {
        "imbert.attack_stage": "imbert.study.attack_runs",
        "imbert.attacks.base": "imbert.attacks.attack",
        "imbert.attacks.synonyms": "analysis.ground.synonyms",
        "imbert.attacks.transfer": "imbert.attacks.transferring",
        "imbert.data.table_files": "analysis.ground.table_files",
        "imbert.models": "imbert.model.loading",
        "imbert.study_config": "imbert.study.plan",
        "imbert.study_summary": "imbert.study.summary",
        "imbert.table_files": "analysis.ground.table_files",
    }
)
MOVED = MappingProxyType(
    {
        f"imbert.{module}": f"imbert.{room}.{module}"
        for room, modules in ROOMS.items()
        for module in modules.split()
    }
    | RENAMED
)


class _OldPaths(MetaPathFinder, Loader):
    """Finds a module of an old path, whose names are those of the new one."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        new = MOVED[module.__name__]
        warnings.warn(f"{module.__name__} is now {new}", DeprecationWarning, stacklevel=2)
        names = importlib.import_module(new)
        module.__getattr__ = lambda name: getattr(names, name)  # type: ignore[method-assign]


def keep_old_paths() -> None:
    """Let the old paths be imported; asked last, after every module that there is."""
    sys.meta_path.append(_OldPaths())
