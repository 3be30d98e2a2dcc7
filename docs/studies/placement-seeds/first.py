"""Records of attacks on the first sentences of dev, out of records of attacks on more of them:
every sentence is attacked by itself, with a random stream of its own.

    python docs/studies/placement-seeds/first.py docs/studies/conditioning/runs \
        --data DIR --out runs/placement-seeds/runs/sst2-1000/none

The sums are those of the sentences that are kept. What was counted over all, time and the digest
of the changed texts, is left out; `seconds`, which a record must have, is 0.
"""

import argparse
from pathlib import Path

import numpy as np
from msgspec import UNSET, structs

from imbert.attack_records import Attack, AttackStatistics, read_attack
from imbert.records import plain
from imbert.result import write_record
from imbert.study.attack_runs import attacked_examples, identity
from imbert.study.plan import read_study

PLAN = Path(__file__).parent / "study.toml"


def first(record: Attack, count: int, digest: str) -> Attack:
    """The record of the first sentences alone.

    Args:
        record: of more sentences, under an attack on texts.
        count: how many are kept.
        digest: of these sentences.
    """
    rows = record.per_example[:count]
    attacked = [row for row in rows if row.right_before]
    flipped = [row for row in attacked if not row.right_after]
    queries = [row.queries for row in attacked]
    budget = record.options["queries"]
    assert isinstance(budget, int)
    return structs.replace(
        record,
        examples=len(rows),
        clean_accuracy=len(attacked) / len(rows),
        robust_accuracy=(len(attacked) - len(flipped)) / len(rows),
        success_rate=len(flipped) / len(attacked) if attacked else None,
        queries=float(np.mean(queries)) if queries else 0.0,
        queries_max=max(queries, default=0),
        changed=[row.index for row in flipped],
        per_example=rows,
        statistics=AttackStatistics(
            seconds=0.0,
            edits_of_flipped=float(np.mean([row.edits for row in flipped])) if flipped else None,
            budget_used_up=sum(count >= budget for count in queries),
        ),
        texts_digest=UNSET,
        of=structs.replace(
            record.of, examples=digest, choice={**record.of.choice, "examples": count}
        ),
        spent=None,
    )


def main() -> None:
    """Cut every attack of every run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, help="folders seed-N with attacks/")
    parser.add_argument("--data", type=Path, required=True, help="folder of the plan's paths")
    parser.add_argument("--out", type=Path, required=True, help="likewise, written")
    options = parser.parse_args()
    study = read_study(PLAN)
    assert study.attacks is not None
    run = next(study.cells()).run
    kept = attacked_examples(run, study.attacks, options.data)
    for path in sorted(options.runs.glob("seed-*/attacks/*.json")):
        seed = int(path.parent.parent.name.removeprefix("seed-"))
        if path.stem not in study.attacks.kinds or seed not in (study.attacks.seeds or ()):
            continue
        record = read_attack(path)
        assert isinstance(record, Attack)
        more = structs.replace(study.attacks, examples=record.examples)
        found = attacked_examples(run, more, options.data).digest
        if record.of.examples != found:
            raise SystemExit(
                f"{path}: expected an attack on the first {record.examples} sentences of "
                f"{options.data}, whose digest is {found}, got {record.of.examples}"
            )
        cut = first(record, len(kept), kept.digest)
        expected = identity(study.attacks)
        if cut.of.choice != expected:
            raise SystemExit(f"{path}: expected an attack by {expected}, got {cut.of.choice}")
        to = options.out / path.relative_to(options.runs)
        to.parent.mkdir(parents=True, exist_ok=True)
        write_record(to, plain(cut))


if __name__ == "__main__":
    main()
