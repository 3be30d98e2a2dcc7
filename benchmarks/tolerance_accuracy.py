"""What does the solver's tolerance do to the accuracy of a trained IM-BERT?

Every IM-BERT checkpoint of a study with a converging solver is asked for the dev split at other
tolerances than it was trained with: accuracy, how many answers change, the largest change of a
logit, and evaluations per layer. It needs a study's folder and its data:

    python benchmarks/tolerance_accuracy.py --study runs/sst2-1000 --data DIR
"""

from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import arguments, publish, table

from imbert.attacks.gradients import at_tolerance, own_solver
from imbert.model.solver_log import solver_log
from imbert.model.stepping_model import stepping
from imbert.records import read_result
from imbert.training.evaluate import is_right, load_classifier, logits, read_split


def main() -> None:
    """Measure every checkpoint, print the table, write the JSON file."""
    options = arguments(
        __doc__.split("\n")[0],
        study="runs/sst2-1000",
        data=".",
        rtol=[1e-1, 1e-2, 1e-3, 1e-4],
        limit=1000,
    )
    rows = [
        row
        for path in sorted(Path(options.study).rglob("result.json"))
        if read_result(path).meta.solver.training
        for row in rows_of(path.parent, Path(options.data), options.rtol, options.limit)
    ]
    if not rows:
        print(f"left out: no trained IM-BERT in {options.study}; --study names a study's folder")
        return
    print(table(rows))
    print(publish("tolerance_accuracy", {"rows": rows}, options))


def rows_of(folder: Path, data: Path, tolerances: list[float], limit: int) -> list[dict[str, Any]]:
    """One run at every tolerance, its own first; nothing for a solver with a given number of
    steps.
    """
    run = read_result(folder / "result.json").run
    classifier = load_classifier(folder / "checkpoint", run)
    own = own_solver(classifier)
    if own.keeps_last or hasattr(own, "steps"):
        return []
    examples = read_split(run, data, "dev")
    examples = examples.take(range(min(limit, len(examples))))
    rows: list[dict[str, Any]] = []
    before: np.ndarray | None = None
    for rtol in [own.rtol, *(one for one in tolerances if one != own.rtol)]:
        log = solver_log(classifier.model)
        with stepping(classifier.model, solver=at_tolerance(own, rtol)):
            found = logits(classifier, examples, 32, log)
        before = found if before is None else before
        layers = log.summary()
        rows.append(
            {
                "": "/".join(folder.parts[-2:]),
                "rtol": rtol,
                "own": rtol == own.rtol,
                "examples": len(examples),
                "accuracy": float(is_right(examples.task, found, examples.labels).mean()),
                "changed": int((found.argmax(axis=1) != before.argmax(axis=1)).sum()),
                "largest": float(np.abs(found - before).max()),
                "evaluations": [round(float(one.evaluations_mean), 2) for one in layers],
                "failed": max(one.failed_share for one in layers),
            }
        )
    return rows


if __name__ == "__main__":
    main()
