"""What importing costs and where it works: each question in a process of its own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(script: str) -> str:
    """What a script prints in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_library_loads_no_more_than_it_needs() -> None:
    heavy = ("torch._dynamo", "transformers", "matplotlib", "pandas", "analysis", "figures")
    script = f"import sys, odestab; print([one for one in {heavy} if one in sys.modules])"
    assert run(script) == "[]\n"
