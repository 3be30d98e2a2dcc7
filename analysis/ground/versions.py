"""What a record says of the code and the packages that its numbers come from."""

import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

MEASURING = ("odestab", "torch", "transformers", "numpy", "scipy")
TRAINING = (*MEASURING, "accelerate", "tokenizers", "safetensors")
CODE = Path(__file__).resolve().parents[2]


def versions(packages: Iterable[str] = MEASURING) -> dict[str, str]:
    """Version of Python and of each package that changes numbers; "not installed" of what is
    not.
    """
    recorded = {"python": platform.python_version()}
    for name in packages:
        try:
            recorded[name] = version(name)
        except PackageNotFoundError:
            recorded[name] = "not installed"
    return recorded


def git_commit() -> str | None:
    """The commit of the code, with "+" if files of it have changed since; None outside a repository
    or without git.
    """
    packages = ("analysis", "imbert", "odestab")
    try:
        commit = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", *packages)
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changed else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(CODE), *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
