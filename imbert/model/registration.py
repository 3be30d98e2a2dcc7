"""transformers' Auto classes know these models, also where transformers is imported later."""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

AUTO = "transformers.models.auto.configuration_auto"  # where Auto classes learn of configurations
CONFIGURATIONS = "imbert.model.configuration_imbert"  # registers itself, at its end


def register_with_transformers() -> None:
    """Register the configurations now where transformers' Auto classes are loaded, else as soon as
    they are; the first configuration registers the models.

    Registering means loading torch and transformers, seconds that `imbert --help` need not pay.
    """
    if AUTO in sys.modules:
        importlib.import_module(CONFIGURATIONS)
    else:
        sys.meta_path.insert(0, _AfterAutoClasses())


class _AfterAutoClasses(MetaPathFinder):
    """Finds transformers' modules as Python does, and has the configurations imported once the Auto
    classes are there and no module of transformers is half loaded: they import each other, and a
    configuration that is imported among them finds one that is still empty.
    """

    def __init__(self) -> None:
        self.loading = 0  # modules of transformers that are half loaded

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        inside = name.startswith("transformers.")
        spec = PathFinder.find_spec(name, path, target) if inside else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            self.loading += 1
            try:
                execute(module)
            finally:
                self.loading -= 1
            if self.loading == 0 and AUTO in sys.modules and self in sys.meta_path:
                sys.meta_path.remove(self)
                importlib.import_module(CONFIGURATIONS)

        spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec
