"""The API pages: one for each room of odestab, and one for each other package that is imported.

A page lists the public names, those in `__all__`; mkdocstrings writes their entries from the
source, without importing anything.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[2]
OTHERS = ("imbert", "analysis", "figures")


def module(package: str) -> ast.Module:
    """The root of a package as source."""
    return ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8"))


def public(package: str) -> list[str]:
    """The names in `__all__`."""
    for statement in module(package).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
            return list(ast.literal_eval(statement.value))
    return []


def rooms() -> dict[str, list[str]]:
    """The public names of odestab, by the room that each is imported from."""
    names = set(public("odestab"))
    by_room: dict[str, list[str]] = {}
    for statement in module("odestab").body:
        if isinstance(statement, ast.ImportFrom) and statement.module is not None:
            room = statement.module.split(".")[1]
            imported = [alias.name for alias in statement.names if alias.name in names]
            by_room.setdefault(room, []).extend(imported)
    return {room: sorted(listed) for room, listed in sorted(by_room.items()) if listed}


def entries(title: str, opening: str, package: str, names: list[str]) -> str:
    """A page with an entry for each name."""
    listed = "\n".join(f"::: {package}.{name}\n" for name in names)
    return f"# {title}\n\n{opening}\n\n{listed}"


def opening(package: str) -> str:
    """The docstring of a package."""
    return ast.get_docstring(module(package)) or ""


def pages() -> dict[str, str]:
    """Every API page by its place in the site."""
    written = {
        f"api/{room}.md": entries(f"odestab.{room}", opening(f"odestab/{room}"), "odestab", names)
        for room, names in rooms().items()
    }
    for package in OTHERS:
        names = public(package)
        written[f"api/{package}.md"] = entries(package, opening(package), package, names)
    lines = [
        f"- [odestab.{room}]({room}.md): " + ", ".join(f"`{name}`" for name in names)
        for room, names in rooms().items()
    ]
    lines += [
        f"- [{package}]({package}.md): " + ", ".join(f"`{name}`" for name in public(package))
        for package in OTHERS
    ]
    index = "# Python\n\n`import odestab as od` gives every name of odestab below.\n\n"
    written["api/index.md"] = index + "\n".join(lines) + "\n"
    return written


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the API pages."""
    from mkdocs.structure.files import File

    for place, text in pages().items():
        files.append(File.generated(config, place, content=text))
    return files
