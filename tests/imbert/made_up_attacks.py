"""Records of attacks that no model was needed for, and the study that they are of."""

from typing import Any

from imbert.attack_records import Attack, AttackRecord, AttackStatistics, ExampleOutcome, OfAttack
from imbert.study.plan import Cell, StudyConfig, study_config

Attacked = dict[str, dict[int, Attack]]  # of each model by seed
CHARACTERS = {"max_edits": 3, "order": "greedy"}
QUESTION = {
    "name": "Does b help?",
    "primary": "b minus a under characters",
    "reading": {"above": "It helps.", "below": "It harms.", "between": "Not told apart."},
}


def made_up_attack(
    before: str,
    after: str,
    edits: str | None = None,
    *,
    options: dict[str, Any] | None = None,
    words: float | None = None,
    clusters: list[int] | None = None,
    examples: str = "e",
) -> Attack:
    """The record of an attack on so many examples as `before` has digits: 1 is right."""
    rows = [
        ExampleOutcome(
            index=i,
            cluster=None if clusters is None else clusters[i],
            right_before=before[i] == "1",
            right_after=after[i] == "1",
            queries=1,
            edits=0 if edits is None else int(edits[i]),
            words=words,
        )
        for i in range(len(before))
    ]
    return Attack(
        attack="characters",
        options=CHARACTERS if options is None else options,
        examples=len(rows),
        clean_accuracy=before.count("1") / len(rows),
        robust_accuracy=after.count("1") / len(rows),
        success_rate=0.0,
        queries=1.0,
        queries_max=1,
        changed=[],
        per_example=rows,
        statistics=AttackStatistics(seconds=0.0),
        of=OfAttack(checkpoint=None, examples=examples, choice={}),
    )


def asked(
    difference: dict[str, Any] | None,
    models: str = "ab",
    seeds: int = 2,
    attacks: dict[str, Any] | None = None,
    **question: Any,
) -> StudyConfig:
    """A study whose question is about a difference of its models."""
    table = {**QUESTION, **question}
    return study_config(
        {
            "study": {"name": "s", "baseline": "a", "seeds": [*range(seeds)], "sizes": [32]},
            "models": {name: {} for name in models},
            "attacks": {"kinds": ["characters", "words", "pgd"], **(attacks or {})},
            "question": table if difference is None else {**table, "difference": difference},
        }
    )


def of_group(
    study: StudyConfig, attacked: Attacked, attack: str = "characters"
) -> tuple[dict[str, dict[int, Cell]], dict[Cell, dict[str, AttackRecord]]]:
    """The cells of a study by model and seed, and the records of those that ran."""
    by_model: dict[str, dict[int, Cell]] = {}
    for cell in study.cells():
        by_model.setdefault(cell.model, {})[cell.seed] = cell
    records: dict[Cell, dict[str, AttackRecord]] = {
        by_model[name][seed]: {attack: record}
        for name, by_seed in attacked.items()
        for seed, record in by_seed.items()
    }
    return by_model, records
