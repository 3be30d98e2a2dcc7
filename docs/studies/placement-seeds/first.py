"""Records of attacks on the first sentences of dev, out of records of attacks on more of them:
every sentence is attacked by itself, with a random stream of its own.

    python docs/studies/placement-seeds/first.py docs/studies/conditioning/runs \
        --data DIR --out runs/placement-seeds/runs/sst2-1000/none

The sums are those of the sentences that are kept. What was counted over all, time and the digest
of the changed texts, is left out; `seconds`, which a record must have, is 0.
"""

import argparse
from pathlib import Path

from msgspec import UNSET, structs

from analysis.ground.json_records import finite
from imbert.attack_records import Attack, attack_sums, read_attack, text_statistics
from imbert.records import plain
from imbert.result import write_record
from imbert.study.attack_runs import identity
from imbert.study.plan import read_study
from imbert.training.read_rows import read_split

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
    flipped = [row.edits for row in attacked if not row.right_after]
    budget = record.options["queries"]
    assert isinstance(budget, int)
    return structs.replace(
        record,
        **finite(attack_sums(rows)),
        per_example=rows,
        statistics=text_statistics([row.queries for row in attacked], flipped, budget),
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
    dev = read_split(next(study.cells()).run, options.data, "dev")
    kept = dev.take(range(study.attacks.examples))
    expected = identity(study.attacks)
    for path in sorted(options.runs.glob("seed-*/attacks/*.json")):
        seed = int(path.parent.parent.name.removeprefix("seed-"))
        if path.stem not in study.attacks.kinds or seed not in (study.attacks.seeds or ()):
            continue
        record = read_attack(path)
        assert isinstance(record, Attack)
        found = dev.take(range(min(record.examples, len(dev)))).digest
        if record.of.examples != found:
            raise SystemExit(
                f"{path}: expected an attack on the first {record.examples} sentences of "
                f"{options.data}, whose digest is {found}, got {record.of.examples}"
            )
        cut = first(record, len(kept), kept.digest)
        if cut.of.choice != expected:
            raise SystemExit(f"{path}: expected an attack by {expected}, got {cut.of.choice}")
        to = options.out / path.relative_to(options.runs)
        to.parent.mkdir(parents=True, exist_ok=True)
        write_record(to, plain(cut))


if __name__ == "__main__":
    main()
