"""Studies of whole encoders on odestab: `open_run(folder)` reads what one measured."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # loads xarray, which the commands do not need to start
    from analysis.run import open_run as open_run

__all__ = ["open_run"]


def __getattr__(name: str) -> Any:
    if name == "open_run":
        from analysis.run import open_run

        return open_run
    raise AttributeError(f"module 'analysis' has no attribute {name!r}")
