"""Tables as CSV or Parquet, each file whole or not at all."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.ground.files import write_bytes

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("csv", "parquet")


def require_format(form: str) -> None:
    """Raise ValueError unless tables are written in a format."""
    if form not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {form!r}")


def write_table(frame: "pd.DataFrame", out: Path, name: str, form: str) -> Path:
    """Write one table, "csv" or "parquet", and give its path.

    Raises:
        ValueError: if the format is another one.
        OSError: if it cannot be written.
    """
    require_format(form)
    content = io.BytesIO()
    if form == "csv":
        frame.to_csv(content, index=False)
    else:
        frame.to_parquet(content, index=False)
    path = out / f"{name}.{form}"
    write_bytes(path, content.getvalue())
    return path
