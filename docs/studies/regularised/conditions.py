"""Did the regularizer do what it says? Margin, gradient and random drafts of the sentences that
plain training and the regularized model of seed 0 both have right, into conditions.json.

    python docs/studies/regularised/conditions.py
"""

import json
from pathlib import Path
from statistics import median

from analysis.conditioning.records import Input, read_condition

HERE = Path(__file__).parent
RECORDS = {
    "bert": HERE.parent / "conditioning" / "runs" / "seed-0" / "condition.json",
    "bert-consistency": HERE / "runs" / "bert-consistency-0" / "condition.json",
}
FAMILIES = ("characters", "words")


def medians(inputs: list[Input]) -> dict[str, float]:
    """Of m, g, m/g and the spread of the margin under random drafts of each family."""
    values = {
        "margin": [each.margin for each in inputs],
        "gradient": [each.gradient for each in inputs],
        "distance": [each.distance for each in inputs],
    } | {f"spread_{family}": [each.drafts[family].spread for each in inputs] for family in FAMILIES}
    # a text with fewer than two drafts has no spread
    return {
        name: median(value for value in own if value is not None) for name, own in values.items()
    }


def main() -> None:
    """Read both records and write."""
    inputs = {name: read_condition(path).inputs for name, path in RECORDS.items()}
    pairs = [
        pair for pair in zip(*inputs.values(), strict=True) if all(each.right for each in pair)
    ]
    assert all(len({each.text for each in pair}) == 1 for pair in pairs)
    record = {
        "schema": 1,
        "sentences": len(pairs),
        "models": [
            {"name": name, **medians(list(own))}
            for name, own in zip(inputs, zip(*pairs, strict=True), strict=True)
        ],
    }
    text = json.dumps(record, indent=1) + "\n"
    (HERE / "conditions.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
