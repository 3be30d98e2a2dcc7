"""Tables as CSV or Parquet, each file whole or not at all."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.ground.files import write_bytes

if TYPE_CHECKING:
    import pandas as pd


def write_table(frame: "pd.DataFrame", out: Path, name: str, form: str) -> Path:
    """Write one table, "csv" or "parquet", and give its path.

    Raises:
        OSError: if it cannot be written.
    """
    content = io.BytesIO()
    if form == "csv":
        frame.to_csv(content, index=False)
    else:
        frame.to_parquet(content, index=False)
    path = out / f"{name}.{form}"
    write_bytes(path, content.getvalue())
    return path
