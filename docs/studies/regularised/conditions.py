"""Did the regularizer do what it says? Margins, gradients and random drafts of plain training, five
seeds, and of the regularized model of seed 0, into conditions.json.

    python docs/studies/regularised/conditions.py
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from analysis.conditioning.records import Input, read_condition
from analysis.ground.json_records import write_json

HERE = Path(__file__).parent
PLAIN = [HERE.parent / "conditioning" / "runs" / f"seed-{seed}" for seed in range(5)]
REGULARIZED = HERE / "runs" / "bert-consistency-0"
FAMILIES = ("characters", "words")


def measures(each: Input) -> dict[str, float | None]:
    """Of an input that is right; None is what it does not have."""
    found = {"margin": each.margin, "gradient": each.gradient, "distance": each.distance}
    for family, drafts in each.drafts.items():
        spread, margin = drafts.spread, each.margin
        found[f"spread_{family}"] = spread
        found[f"relative_spread_{family}"] = (
            spread / margin if spread is not None and margin else None
        )
        found[f"growth_{family}"] = drafts.growth[-1] if drafts.growth else None
    return found


def right(folder: Path) -> list[Input | None]:
    """All inputs of a model's record, None where its answer is wrong."""
    return [
        each if each.right else None for each in read_condition(folder / "condition.json").inputs
    ]


def medians(inputs: Sequence[Input]) -> dict[str, float]:
    """Of every measure, over the inputs that have it."""
    rows = [measures(each) for each in inputs]
    return {name: median(row[name] for row in rows if row[name] is not None) for name in rows[0]}


def ratios(pairs: Sequence[tuple[Input, Input]]) -> dict[str, dict[str, float]]:
    """Of every measure the second model's over the first's, input by input."""
    rows = [(measures(first), measures(second)) for first, second in pairs]
    found = {}
    for name in rows[0][0]:
        both = [(first[name], second[name]) for first, second in rows]
        own = [y / x for x, y in both if x and y is not None]
        found[name] = {"median": median(own), "smaller": sum(one < 1 for one in own) / len(own)}
    return found


def flipped(inputs: Sequence[Input]) -> dict[str, float]:
    """The share of random drafts that flip."""
    drafts = {family: [each.drafts[family] for each in inputs] for family in FAMILIES}
    return {
        f"flipped_{family}": sum(each.flipped for each in own) / sum(each.count for each in own)
        for family, own in drafts.items()
    }


def main() -> None:
    """Read all records and write."""
    plain = [right(folder) for folder in PLAIN]
    regularized = right(REGULARIZED)
    pairs = [
        (first, second)
        for first, second in zip(plain[0], regularized, strict=True)
        if first is not None and second is not None
    ]
    assert all(first.text == second.text for first, second in pairs)
    sides = zip(("bert", "bert-consistency"), zip(*pairs, strict=True), strict=True)
    models = [("bert", seed, own) for seed, own in enumerate(plain)]
    models.append(("bert-consistency", 0, regularized))
    record = {
        "schema": 1,
        "both_right": {
            "seed": 0,
            "sentences": len(pairs),
            "models": [{"name": name, **medians(own)} for name, own in sides],
            "ratio": ratios(pairs),
        },
        "own_right": [
            {"name": name, "seed": seed, "sentences": len(own), **medians(own), **flipped(own)}
            for name, seed, inputs in models
            for own in [[each for each in inputs if each is not None]]
        ],
    }
    write_json(HERE / "conditions.json", record)


if __name__ == "__main__":
    main()
