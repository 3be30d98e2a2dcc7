"""Which scores of an input foretell that an attack flips it, and when an edit's fate is decided."""

from analysis.flips.reading import Files, read_files
from analysis.flips.verdict import judge

__all__ = ["Files", "judge", "read_files"]
