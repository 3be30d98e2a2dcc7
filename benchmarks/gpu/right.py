"""Is it right on the device? Runs `pytest -m gpu` and keeps every result as it comes."""

import os
from pathlib import Path

import pytest

from benchmarks.gpu.part import Choices, Record, choices

TESTS = Path(__file__).parents[2] / "tests"
PLACES = (  # where tests with the marker are; those that compile much come last
    *("gpu/test_gpu_solves.py", "gpu/test_gpu_spectra.py"),
    *("odestab/solver/test_fused.py", "gpu/test_gpu_gradients.py"),
)
MESSAGE = 1500  # characters of a failure that are kept


class Keeper:
    """A plugin of pytest's: counts what passed, failed and was skipped, with the end of what
    failures say.

    Args:
        record: of the part.
    """

    def __init__(self, record: Record) -> None:
        self.record, self.counts = record, {"passed": 0, "failed": 0, "skipped": 0}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Every phase of a test is a report; one that passes counts when the test itself has
        run.
        """
        if report.when != "call" and report.passed:
            return
        self.counts[report.outcome] += 1
        if report.failed:
            self.record.add(
                "failures", {"what": report.nodeid, "error": report.longreprtext[-MESSAGE:]}
            )
        for kind, count in self.counts.items():
            self.record.keep(kind, count)


def main(options: Choices) -> None:
    """Run the tests on the device."""
    os.environ["ODESTAB_TEST_DEVICE"] = options.device
    os.chdir(TESTS.parent)
    record = Record(options.record, options.end)
    arguments = [
        "-m",
        "gpu",
        "-v",
        "-p",
        "no:cacheprovider",
        "-o",
        "addopts=",
    ]  # shapes were checked on a processor
    arguments += ["-W", "ignore"]  # other versions than the pinned ones warn of other things
    code = pytest.main(
        [*arguments, *(str(TESTS / place) for place in PLACES)], plugins=[Keeper(record)]
    )
    if code:
        raise SystemExit(f"pytest ended with {code!r}")


if __name__ == "__main__":
    main(choices())
