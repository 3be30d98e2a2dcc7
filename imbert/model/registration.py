"""Other libraries know these models, also where they are imported later: transformers' Auto classes
find them, and PEFT adapts the modules that it adapts of the plain ones.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from imbert.model.choice import FAMILIES

AUTO = "transformers.models.auto.configuration_auto"  # where Auto classes learn of configurations
CONFIGURATIONS = "imbert.model.configuration_imbert"  # registers itself, at its end
TARGETS = "peft.utils.constants"  # of each model type, the modules that an adapter takes by default


def register_with_transformers() -> None:
    """Register the configurations now where transformers' Auto classes are loaded, else as soon as
    they are; the first configuration registers the models.

    Registering means loading torch and transformers, seconds that `imbert --help` need not pay.
    """
    _once_loaded(AUTO, lambda: importlib.import_module(CONFIGURATIONS))


def register_with_peft() -> None:
    """Let an adapter without `target_modules` take those of the plain model, where PEFT has a
    default; PEFT looks them up by model type and has no call for adding one.
    """
    _once_loaded(TARGETS, _take_targets_of_plain_models)


def _take_targets_of_plain_models() -> None:
    for name, targets in vars(sys.modules[TARGETS]).items():
        if name.endswith("_MODULES_MAPPING"):
            for plain, stepping in FAMILIES.items():
                if plain in targets:
                    targets.setdefault(stepping, targets[plain])


def _once_loaded(module: str, act: Callable[[], object]) -> None:
    """Act now if a module is loaded, else as soon as it is."""
    if module in sys.modules:
        act()
    else:
        sys.meta_path.insert(0, _After(module, act))


class _After(MetaPathFinder):
    """Finds the modules of a package as Python does, and acts once a certain one is there and none
    of the package is half loaded: they import each other, and who is imported among them finds one
    that is still empty.
    """

    def __init__(self, module: str, act: Callable[[], object]) -> None:
        self.module = module
        self.package = module.partition(".")[0] + "."
        self.act = act
        self.loading = 0  # modules of the package that are half loaded

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        inside = name.startswith(self.package)
        spec = PathFinder.find_spec(name, path, target) if inside else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_act(module: ModuleType) -> None:
            self.loading += 1
            try:
                execute(module)
            finally:
                self.loading -= 1
            if self.loading == 0 and self.module in sys.modules and self in sys.meta_path:
                sys.meta_path.remove(self)
                self.act()

        spec.loader.exec_module = execute_and_act  # type: ignore[method-assign]
        return spec
