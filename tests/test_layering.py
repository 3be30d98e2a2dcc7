"""Imports point only downhill: the import table of the architecture, held on the source text."""

import ast
import pathlib
import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import pytest

ROOT = pathlib.Path(__file__).parent.parent
MAX_LINES = 400

OURS = {  # which of our packages each package may import, `figures` in command bodies apart
    "odestab": {"odestab"},
    "analysis": {"analysis", "odestab"},
    "figures": {"figures", "analysis"},
    "imbert": {"imbert", "odestab"},
}
THIRD_PARTY = {
    "odestab": {"torch", "numpy", "scipy", "jaxtyping", "triton"},
    "analysis": {
        "torch",
        "numpy",
        "scipy",
        "safetensors",
        "tqdm",
        "huggingface_hub",
        "filelock",
        "msgspec",
        "xarray",
        "pandas",
        "pyarrow",
        "regex",
    },
    "figures": {"numpy", "matplotlib", "xarray", "jinja2", "msgspec"},
    "imbert": {
        "torch",
        "numpy",
        "scipy",
        "jaxtyping",
        "transformers",
        "accelerate",
        "safetensors",
        "datasets",
        "tqdm",
        "msgspec",
    },
}
# of extras, which a user may not have: files of analysis import them in functions
OPTIONAL = {"dask", "distributed", "zarr"}
ENCODER_LAYERS_THIRD_PARTY = {"transformers", "safetensors"}
ENCODER_LAYERS_MAY_IMPORT = {
    "one_thread",
    "fields",
    "solver",
    "adjoint",
    "steps",
    "encoder_layers",
}
ORDER = (  # the rooms of odestab, each of which may import those before it
    "precision",
    "watch",
    "one_thread",
    "outside_graphs",
    "fields",
    "krylov",
    "operators",
    "spectrum",
    "nonnormality",
    "solver",
    "adjoint",
    "steps",
    "propagation",
    "encoder_layers",
)
# likewise of imbert, beside the files of its root
ROOMS_OF_IMBERT = ("data", "model", "training", "attacks", "checks", "study")
SHARED_WITH_IMBERT = {"ground"}  # the room of analysis that imbert may import
# likewise figures, free of torch and odestab
SHARED_WITH_FIGURES = {"ground", "quantities", "record", "run"}
RECORDS = "records"  # the typed records of a room, which figures may import too
MEASURING_LATE = "analysis/quantities/"  # they load torch and odestab where they measure
# It draws an operator of one's own in one call: alone of figures it asks odestab, in a function.
ONE_CALL = "figures/spectral_portrait.py"
HEAVY = {"torch", "transformers", "odestab"}
COMMANDS = {"analysis/__main__.py", "analysis/on_records.py", "imbert/__main__.py"}
# their names load torch and transformers, or xarray, when they are used
LAZY_ROOTS = {"imbert/__init__.py", "imbert/attacks/__init__.py", "analysis/__init__.py"}


class Import(NamedTuple):
    """One imported name; `from a.b import c` is the target `a.b.c`."""

    target: tuple[str, ...]
    line: int
    in_function: bool

    @property
    def top(self) -> str:
        return self.target[0]

    @property
    def second(self) -> str | None:
        return self.target[1] if len(self.target) > 1 else None


def imports(path: str, tree: ast.AST, in_function: bool = False) -> Iterator[Import]:
    """Every import of a file, those inside functions and those by a literal `import_module("...")`
    included.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue  # never executed
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = path.split("/")[: -node.level] if node.level else []
            base = [*package, *([node.module] if node.module else [])]
            targets = [".".join([*base, alias.name]) for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in (
            "import_module",
            "__import__",
        ):
            targets = [
                argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant)
            ]
        yield from (
            Import(tuple(target.split(".")), node.lineno, in_function) for target in targets
        )
        yield from imports(
            path,
            node,
            in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda),
        )


def packages_of_ours(path: str, found: Import) -> Iterator[str]:
    package = path.split("/")[0]
    if package == "imbert" and found.top == "analysis" and found.second in SHARED_WITH_IMBERT:
        return
    if path == ONE_CALL and found.top == "odestab":
        if not found.in_function:
            yield "odestab may be imported only inside a function"
    elif found.top in OURS and found.top not in OURS[package]:
        if not (path in COMMANDS and found.top == "figures"):
            yield f"{package} may not import {found.top}"
        elif not found.in_function:
            yield "figures may be imported only inside a command body"
    is_shared = found.second in SHARED_WITH_FIGURES or found.target[2:3] == (RECORDS,)
    if package == "figures" and found.top == "analysis" and not is_shared:
        yield "figures may import only analysis.ground, quantities, record, run and records"


def third_parties(path: str, found: Import) -> Iterator[str]:
    package = path.split("/")[0]
    allowed = THIRD_PARTY[package] | (
        ENCODER_LAYERS_THIRD_PARTY if path.startswith("odestab/encoder_layers") else set()
    )
    if package == "analysis" and found.in_function:
        allowed = allowed | OPTIONAL
    if found.top not in {*OURS, *sys.stdlib_module_names, *allowed}:
        yield f"{package} may not import {found.top}"
    if package == "analysis" and found.target[:2] == ("safetensors", "torch"):
        yield "analysis may import safetensors.numpy, not safetensors.torch"


def order_inside_odestab(path: str, found: Import) -> Iterator[str]:
    if found.top != "odestab" or path == "odestab/__init__.py":
        return
    if found.second == "encoder_layers" and not path.startswith("odestab/encoder_layers/"):
        yield "encoder_layers may be imported by the package root alone"
    if not path.startswith("odestab/"):
        return
    here = path.split("/")[1].removesuffix(".py")
    if found.second not in ORDER:
        yield (
            f"{'.'.join(found.target)} is the package root or a module without a place in the order"
        )
    elif here == "encoder_layers" and found.second not in ENCODER_LAYERS_MAY_IMPORT:
        yield f"encoder_layers may import only {' and '.join(sorted(ENCODER_LAYERS_MAY_IMPORT))}"
    elif here in ORDER and ORDER.index(found.second) > ORDER.index(here):
        yield f"{here} may not import {found.second}, which stands after it"


def order_inside_imbert(path: str, found: Import) -> Iterator[str]:
    package, _, rest = path.partition("/")
    room = rest.partition("/")[0]
    if package != "imbert" or found.top != "imbert" or room not in ROOMS_OF_IMBERT:
        return
    later = ROOMS_OF_IMBERT[ROOMS_OF_IMBERT.index(room) + 1 :]
    if found.second in later:
        yield f"imbert's {room} may not import {found.second}, which stands after it"


def shape_of_file(path: str, source: str, tree: ast.Module) -> Iterator[str]:
    if (lines := len(source.splitlines())) > MAX_LINES:
        yield f"at most {MAX_LINES} lines, got {lines}"
    if path.startswith("odestab/") and path.split("/")[1].removesuffix(".py") not in {
        "__init__",
        *ORDER,
    }:
        yield "has no place in the order inside odestab"
    if path.endswith("/__init__.py") and path not in LAZY_ROOTS:
        yield from (
            f"line {statement.lineno}: a package root holds only a "
            "docstring, imports, __all__ and __version__"
            for number, statement in enumerate(tree.body)
            if not (
                isinstance(statement, ast.Import | ast.ImportFrom)
                or is_docstring(statement, number)
                or is_root_constant(statement)
            )
        )


def is_docstring(statement: ast.stmt, number: int) -> bool:
    return (
        number == 0
        and isinstance(statement, ast.Expr)
        and isinstance(getattr(statement.value, "value", None), str)
    )


def is_root_constant(statement: ast.stmt) -> bool:
    targets = (
        statement.targets
        if isinstance(statement, ast.Assign)
        else [getattr(statement, "target", None)]
    )
    return all(
        isinstance(target, ast.Name) and target.id in ("__all__", "__version__")
        for target in targets
    )


def loaded_by(path: str, found: Mapping[str, list[Import]]) -> dict[str, str]:
    """Top-level names that importing a file loads, directly or through our own files, each with the
    file that imports it.
    """
    reached, queue, seen = {}, [path], set()
    while queue:
        if (file := queue.pop()) in seen:
            continue
        seen.add(file)
        for at_import in (one for one in found[file] if not one.in_function):
            reached.setdefault(at_import.top, file)
            stems = [
                "/".join(at_import.target[:depth]) for depth in range(1, len(at_import.target) + 1)
            ]
            queue += [
                name
                for stem in stems
                for name in (f"{stem}.py", f"{stem}/__init__.py")
                if name in found
            ]
    return reached


def light_files(found: Mapping[str, list[Import]]) -> Iterator[str]:
    """Records, pictures and the start of the commands must not load torch, transformers or
    odestab.
    """
    for path in sorted(name for name in found if is_light(name)):
        may_be_late = path in {*COMMANDS, ONE_CALL} or path.startswith(
            ("analysis/ground/", MEASURING_LATE)
        )
        # Only the commands, the ground floor, quantities and that picture may import them in a
        # function.
        late = {} if may_be_late else {one.top: path for one in found[path]}
        loaded = {**late, **loaded_by(path, found)}
        yield from (
            f"{path}: may not load {name}, imported by {loaded[name]}"
            for name in sorted(HEAVY & loaded.keys())
        )


def is_light(path: str) -> bool:
    package, _, name = path.partition("/")
    if package == "analysis":
        return (
            path in COMMANDS
            or path in LAZY_ROOTS
            or name.split("/")[0].removesuffix(".py") in SHARED_WITH_FIGURES
        )
    return package == "figures" or path in COMMANDS


def violations(sources: Mapping[str, str]) -> list[str]:
    """What breaks the import table, given the source of every file by its path from the repository
    root.
    """
    trees = {path: ast.parse(source, path) for path, source in sources.items()}
    found = {path: list(imports(path, tree)) for path, tree in trees.items()}
    rules = (packages_of_ours, third_parties, order_inside_odestab, order_inside_imbert)
    each_import = [
        f"{path}:{one.line}: {said}"
        for path in found
        for one in found[path]
        for rule in rules
        for said in rule(path, one)
    ]
    each_file = [
        f"{path}: {said}"
        for path, tree in trees.items()
        for said in shape_of_file(path, sources[path], tree)
    ]
    return [*each_import, *each_file, *light_files(found)]


def test_the_tree_keeps_the_table() -> None:
    missing = [
        package
        for package in OURS
        if package != "imbert" and not (ROOT / package / "__init__.py").is_file()
    ]
    files = [file for package in OURS for file in sorted((ROOT / package).rglob("*.py"))]
    found = violations(
        {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in files}
    )
    assert not missing and not found, "\n".join(
        [f"{package} is missing" for package in missing] + found
    )


GOOD = {
    "odestab/__init__.py": '"""A."""\nfrom odestab.encoder_layers import '
    'trace\n__all__ = ["trace"]\n__version__ = "0"',
    "odestab/encoder_layers.py": "import transformers, safetensors\nfrom "
    "odestab.fields.trajectory import Trajectory",
    "odestab/krylov/lanczos.py": "import torch, triton\nfrom .arnoldi import "
    "arnoldi\nfrom odestab.krylov import unit",
    "odestab/spectrum/eigen.py": "import math, scipy.linalg\nfrom odestab import "
    "krylov\nfrom ..operators import jacobian",
    "analysis/__init__.py": "def __getattr__(name):\n    from analysis.run import open_run",
    "analysis/run.py": "import xarray, pandas\nfrom analysis.quantities import growth",
    "analysis/quantities/growth.py": "if TYPE_CHECKING:\n    import torch\n"
    "def measure():\n    import torch\n    import odestab as od",
    "analysis/record.py": "import numpy\nfrom safetensors.numpy import save",
    "analysis/measure.py": "import torch, tqdm\nimport odestab as "
    "od\nfrom analysis.record import Cell",
    "analysis/__main__.py": "from analysis import record\ndef run():\n    import odestab, "
    "torch, figures\n    from analysis import measure",
    "figures/report.py": "import matplotlib\nfrom analysis.record import Cell\nfrom "
    "analysis.run import Measurements\nfrom figures import style",
    ONE_CALL: "def portrait():\n    import odestab",
    "imbert/__init__.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "
    "import transformers, pandas\ndef __getattr__(name): ...",
    "imbert/__main__.py": "from analysis.ground import commands\nimport imbert.models",
    "imbert/models.py": "from analysis.ground.identity import model_identity",
    "imbert/modeling_imbert.py": "import transformers, odestab\nfrom "
    ".configuration_imbert import C",
}
BAD = [
    ("odestab/spectrum.py", "import transformers", "odestab may not import transformers"),
    ("odestab/spectrum.py", "def f():\n    import pandas", ":2: odestab may not import pandas"),
    (
        "odestab/spectrum.py",
        "m = importlib.import_module('pandas')",
        "odestab may not import pandas",
    ),
    ("odestab/spectrum.py", "from analysis.record import Cell", "odestab may not import analysis"),
    (
        "odestab/spectrum.py",
        "from odestab.steps import one_step",
        "spectrum may not import steps, which stands after it",
    ),
    (
        "odestab/spectrum.py",
        "def f():\n    from . import propagation",
        ":2: spectrum may not import propagation",
    ),
    (
        "odestab/krylov/arnoldi.py",
        "from ..operators.jacobian import Jacobian",
        "krylov may not import operators",
    ),
    (
        "odestab/spectrum.py",
        "import odestab",
        "odestab is the package root or a module without a place",
    ),
    (
        "odestab/spectrum.py",
        "from odestab import Jacobian",
        "odestab.Jacobian is the package root or a module without a place",
    ),
    ("odestab/helpers.py", "", "has no place in the order"),
    (
        "odestab/encoder_layers.py",
        "from odestab.propagation.growth import grow",
        "encoder_layers may import only",
    ),
    (
        "odestab/propagation.py",
        "from odestab.encoder_layers import trace",
        "encoder_layers may be imported by the package root alone",
    ),
    (
        "analysis/measure.py",
        "from odestab.encoder_layers import trace",
        "encoder_layers may be imported by the package root alone",
    ),
    ("odestab/__init__.py", "x = 1", "line 1: a package root holds only"),
    (
        "odestab/solver/__init__.py",
        "import torch\ndef f(): ...",
        "line 2: a package root holds only",
    ),
    ("odestab/spectrum.py", "\n" * 401, "at most 400 lines, got 401"),
    ("analysis/__init__.py", "import torch", "analysis/__init__.py: may not load torch"),
    ("analysis/measure.py", "import sklearn", "analysis may not import sklearn"),
    ("analysis/run.py", "import zarr", "analysis may not import zarr"),
    ("figures/report.py", "def f():\n    import zarr", "figures may not import zarr"),
    ("analysis/quantities/growth.py", "import torch", "growth.py: may not load torch"),
    (
        "analysis/measure.py",
        "from safetensors.torch import save",
        "analysis may import safetensors.numpy",
    ),
    ("analysis/measure.py", "def f():\n    import imbert", "analysis may not import imbert"),
    ("analysis/measure.py", "def f():\n    import figures", "analysis may not import figures"),
    (
        "analysis/__main__.py",
        "from figures import report",
        "figures may be imported only inside a command body",
    ),
    ("analysis/__main__.py", "import torch", "analysis/__main__.py: may not load torch"),
    (
        "analysis/__main__.py",
        "import analysis.measure",
        "may not load odestab, imported by analysis/measure.py",
    ),
    (
        "imbert/__main__.py",
        "from imbert.modeling_imbert import C",
        "imbert/__main__.py: may not load odestab, imported by imbert/modeling_imbert.py",
    ),
    ("analysis/record.py", "def f():\n    import torch", "analysis/record.py: may not load torch"),
    (
        "analysis/run.py",
        "from analysis.measure import measure",
        "analysis/run.py: may not load torch, imported by analysis/measure.py",
    ),
    (
        "figures/report.py",
        "from analysis import measure",
        "figures may import only analysis.ground, quantities, record, run and records",
    ),
    (
        "figures/report.py",
        "import analysis",
        "figures may import only analysis.ground, quantities, record, run and records",
    ),
    ("figures/report.py", "def f():\n    import torch", "figures may not import torch"),
    ("figures/report.py", "import odestab", "figures may not import odestab"),
    ("figures/report.py", "def f():\n    import odestab", "figures may not import odestab"),
    (ONE_CALL, "import odestab", "odestab may be imported only inside a function"),
    (ONE_CALL, "def f():\n    import torch", "figures may not import torch"),
    ("imbert/evaluate.py", "from analysis import record", "imbert may not import analysis"),
    ("imbert/evaluate.py", "import figures", "imbert may not import figures"),
    (
        "imbert/attacks/pgd.py",
        "from imbert.checks.masking import masking_checks",
        "imbert's attacks may not import checks, which stands after it",
    ),
    ("imbert/__main__.py", "import figures", "figures may be imported only inside a command body"),
]


def test_a_good_tree_passes() -> None:
    assert violations(GOOD) == []


@pytest.mark.parametrize(("path", "source", "expected"), BAD)
def test_a_bad_file_is_caught(path: str, source: str, expected: str) -> None:
    found = violations({**GOOD, path: source})
    assert any(path in one and expected in one for one in found), found
