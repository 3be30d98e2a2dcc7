"""The JSON schemas of what `imbert` writes and of its plans.

`python -m imbert.schemas [FOLDER]` writes them, into docs/schemas by default; a test holds
that they are those of the types.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from analysis.ground.json_records import DIGEST
from imbert.attack_records import Attack, Masking, Transfers
from imbert.records import Failure, Measured, Result, Trained
from imbert.result import write_text
from imbert.study.plan_file import PlanRecord
from imbert.study.strengths import Strengths
from imbert.study.study_record import Study
from imbert.training.run_config import RunConfig

KINDS: Mapping[str, type] = {
    "run": RunConfig,
    "train": Trained,
    "result": Result,
    "evaluation": Measured,
    "attack": Attack,
    "masking": Masking,
    "transfer": Transfers,
    "failed": Failure,
    "study": Study,
    "plan": PlanRecord,
    "strengths": Strengths,
}


UNSEALED = ("run", "failed")  # written without the digest of their entries


def schema(name: str) -> str:
    """The schema of a kind of file, as JSON."""
    described = msgspec.json.schema(KINDS[name])
    if name not in UNSEALED:
        own = described["$defs"][KINDS[name].__name__]
        own["properties"][DIGEST] = {
            "type": "string",
            "description": "sha256 of the other entries, as JSON with sorted keys",
        }
    return json.dumps(described, indent=1, ensure_ascii=False) + "\n"


def write_schemas(folder: Path) -> list[Path]:
    """Write every schema as NAME.schema.json.

    Raises:
        OSError: if one cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.schema.json" for name in KINDS}
    for name, path in paths.items():
        write_text(path, schema(name))
    return list(paths.values())


if __name__ == "__main__":
    for written in write_schemas(Path((sys.argv[1:] or ["docs/schemas"])[0])):
        print(written)
