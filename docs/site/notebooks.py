"""Tutorials as executed notebooks: a page shows what its blocks print and draw.

A tutorial is Markdown that a code host shows as it is. jupytext reads it as a notebook, a kernel
runs it, nbconvert writes the page; the notebook lies beside it. A block that fails ends the build.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page
    from nbformat import NotebookNode

ROOT = Path(__file__).parents[2]
SEEN = ("docs", "examples")  # folders that the blocks of a tutorial may read
PAGES: dict[str, str] = {}  # what on_files wrote, by place


def executed(tutorial: Path) -> NotebookNode:
    """The notebook with its outputs; progress and warnings on stderr are left out."""
    import jupytext
    from nbclient import NotebookClient

    notebook = jupytext.read(tutorial)
    path = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    modules = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    changed = {"PATH": os.pathsep.join(path), "PYTHONPATH": os.pathsep.join(filter(None, modules))}
    with TemporaryDirectory() as folder:
        for name in SEEN:
            (Path(folder) / name).symlink_to(ROOT / name)
        where = {"metadata": {"path": folder}}
        client = NotebookClient(notebook, timeout=300, resources=where, coalesce_streams=True)
        client.extra_arguments = ["--log-level=ERROR"]
        client.execute(env={**os.environ, **changed})
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


def page_and_pictures(notebook: NotebookNode, name: str) -> tuple[str, dict[str, bytes]]:
    """The notebook as Markdown, and its pictures by their place beside the page."""
    from nbconvert import MarkdownExporter

    kept = {"output_files_dir": name, "unique_key": name}
    text, resources = MarkdownExporter().from_notebook_node(notebook, resources=kept)
    text = text.replace("```sh\n%%sh\n", "```sh\n")
    text = text.replace("![png](", "![What the block above draws](")
    return f"{text}\n[This page as a notebook]({name}.ipynb)\n", resources["outputs"]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Run every tutorial, and add its pictures and its notebook."""
    import nbformat
    from mkdocs.structure.files import File

    for tutorial in sorted((ROOT / "docs" / "tutorials").glob("*.md")):
        name = tutorial.stem
        notebook = executed(tutorial)
        PAGES[f"tutorials/{name}.md"], pictures = page_and_pictures(notebook, name)
        for place, content in pictures.items():
            files.append(File.generated(config, f"tutorials/{place}", content=content))
        content = nbformat.writes(notebook)
        files.append(File.generated(config, f"tutorials/{name}.ipynb", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """The tutorial with its outputs."""
    return PAGES.get(page.file.src_uri, markdown)
