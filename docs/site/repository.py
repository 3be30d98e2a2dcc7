"""The repository inside the site: links that work on a code host work here too.

A page of docs/ links to files by their place in the repository. README, CONTRIBUTING and what else
stands at the root become pages. A linked script becomes a page with its source, a linked folder a
page with its contents, any other linked file is copied.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
ROOT_PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "CODE_OF_CONDUCT.md": "code-of-conduct.md",
}
FENCE = re.compile(r"^( *)(```+|~~~+).*?^\1\2 *$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<=\]\()([^)\s#]+)((?:#[^)\s]*)?)(?=\))")
WIDE = re.compile(r"^studies/(README|.*/table)\.md$")  # tables that need the contents' column too
HEADER = "---\nsearch:\n  exclude: true\nhide: [navigation, toc]\n---\n"


def address(path: str) -> str:
    """The site's source file for a file or folder of the repository, both with `/` and relative."""
    if path in ROOT_PAGES:
        return ROOT_PAGES[path]
    of_docs = path.removeprefix("docs/")
    if path == "docs":
        return "index.md"
    if (ROOT / path).is_dir():
        readme = (ROOT / path / "README.md").is_file() and of_docs != path
        return f"{of_docs}/README.md" if readme else f"source/{path}/index.md"
    if of_docs != path and "/runs/" not in path:
        return of_docs
    return f"source/{path}.md" if path.endswith(".py") else f"source/{path}"


def origin(address_of_page: str) -> str:
    """The file of the repository that a page of the site was made from."""
    of_root = {page: path for path, page in ROOT_PAGES.items()}
    return of_root.get(address_of_page, f"docs/{address_of_page}")


def pieces(markdown: str) -> Iterator[tuple[str, bool]]:
    """The text in its order, and whether each piece is code, in which no link is one."""
    end = 0
    for fence in FENCE.finditer(markdown):
        yield markdown[end : fence.start()], False
        yield fence.group(), True
        end = fence.end()
    yield markdown[end:], False


def target(link: str, path: str) -> str | None:
    """What of the repository a link in the file at `path` leads to; None if nothing of it."""
    if ":" in link or link.startswith("/"):
        return None
    place = posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
    return place if not place.startswith("..") and (ROOT / place).exists() else None


def targets(markdown: str, path: str) -> set[str]:
    """All files and folders of the repository that a text links to."""
    texts = (piece for piece, is_code in pieces(markdown) if not is_code)
    links = (target(link[0], path) for text in texts for link in LINK.findall(text))
    return {link for link in links if link is not None}


def relinked(markdown: str, path: str) -> str:
    """The text of the file at `path` with its links as the site has them."""
    page = posixpath.dirname(address(path))

    def of_site(link: re.Match[str]) -> str:
        leads_to = target(link[1], path)
        if leads_to is None:
            return link[0]  # not of this repository, or dead: mkdocs says so
        return posixpath.relpath(address(leads_to), page or ".") + link[2]

    return "".join(
        piece if is_code else LINK.sub(of_site, piece) for piece, is_code in pieces(markdown)
    )


def first_sentence(path: Path) -> str:
    """What the docstring of a script or of a package begins with."""
    script = path / "__init__.py" if path.is_dir() else path
    if script.suffix != ".py" or not script.is_file():
        return ""
    docstring = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.split("\n\n")[0].split())


def source_page(path: str) -> str:
    """A script as it stands."""
    text = (ROOT / path).read_text(encoding="utf-8")
    return f"{HEADER}# {path}\n\n`````python\n{text}\n`````\n"


def folder_page(path: str, linked: set[str]) -> str:
    """What a folder holds; entries that have a page link to it."""
    lines = []
    for entry in sorted((ROOT / path).iterdir(), key=lambda entry: (entry.is_file(), entry.name)):
        name = entry.relative_to(ROOT).as_posix()
        if entry.name.startswith(("__", ".")):
            continue
        label = f"`{entry.name}{'/' if entry.is_dir() else ''}`"
        in_site = name in linked or (name.startswith("docs/") and entry.is_file())
        if in_site and "/runs/" not in name:
            label = f"[{label}]({posixpath.relpath(address(name), f'source/{path}')})"
        sentence = first_sentence(entry)
        lines.append(f"- {label}" + (f": {sentence}" if sentence else ""))
    return f"{HEADER}# {path}/\n\n{first_sentence(ROOT / path)}\n\n" + "\n".join(lines) + "\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the repository's root, and what any page links to outside docs/."""
    from mkdocs.structure.files import File

    for path, page in ROOT_PAGES.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        header = "---\nhide: [navigation]\n---\n" if page == "index.md" else ""
        files.append(File.generated(config, page, content=header + text))
    linked = {
        path
        for file in files.documentation_pages()
        for path in targets(file.content_string, origin(file.src_uri))
    }
    for path in sorted(linked):
        place = address(path)
        if not place.startswith("source/"):
            continue
        if place.endswith("/index.md"):
            file = File.generated(config, place, content=folder_page(path, linked))
        elif place.endswith(".py.md"):
            file = File.generated(config, place, content=source_page(path))
        else:
            file = File.generated(config, place, abs_src_path=str(ROOT / path))
        files.append(file)
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Turn links between files of the repository into links between pages."""
    if page.file.src_uri.startswith("source/"):
        return markdown
    if WIDE.search(page.file.src_uri):
        page.meta["hide"] = ["toc"]
    return relinked(markdown, origin(page.file.src_uri))
