"""What a report tells beyond its own run: what was predicted, what fine-tuning and attacks showed,
which inputs flip, and the controls, from typed records. Its words without numbers stand in
story.html.j2.
"""

import dataclasses
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from analysis.flips.records import Flips
from analysis.ground.json_records import read_json
from analysis.ground.typed_records import read_typed
from figures import calibration, confirmation, controls, flips_page, prediction, records, robustness

KEYS = {  # of each record: an entry that no other has
    "prediction": "recommendation",
    "confirmation": "correlations",
    "study": "groups",
    "calibration": "linearity",
    "flips": "rankings",
}


@dataclasses.dataclass(frozen=True)
class Story:
    """The records that a report goes on to tell of; None where there is none.

    Attributes:
        prediction: of `odestab predict`.
        confirmation: of `odestab confirm`.
        study: of `imbert study`.
        calibration: of `odestab calibrate`.
        flips: of `odestab confirm`, of conditions and attacks.
    """

    prediction: records.Prediction | None = None
    confirmation: records.Confirmation | None = None
    study: records.Study | None = None
    calibration: records.Calibration | None = None
    flips: Flips | None = None


@dataclasses.dataclass(frozen=True)
class Told:
    """What story.html.j2 shows; None where there is no such record."""

    predicted: prediction.Predicted | None
    trained: robustness.Trained | None
    confirmed: confirmation.Confirmed | None
    calibrated: calibration.Calibrated | None
    flipped: flips_page.Flipped | None
    controls: controls.Controls | None


def read_story(
    prediction: Path | None = None,
    confirmation: Path | None = None,
    study: Path | None = None,
    calibration: Path | None = None,
    flips: Path | None = None,
) -> Story:
    """The records in some files.

    Raises:
        ValueError: if a file is not JSON, or not the record that its name promises.
        OSError: if it cannot be read.
    """
    story = Story(
        prediction=_read(prediction, "prediction", records.Prediction),
        confirmation=_read(confirmation, "confirmation", records.Confirmation),
        study=_read(study, "study", records.Study),
        calibration=_read(calibration, "calibration", records.Calibration),
        flips=_read(flips, "flips", Flips),
    )
    if story.study is not None:
        _require_plans(story.study, study)
    return story


R = TypeVar("R", bound=Struct)


def _read(path: Path | None, name: str, kind: type[R]) -> R | None:
    if path is None:
        return None
    values = read_json(path)
    # a calibration given as a study should be told so, not of its first missing entry
    if not isinstance(values, dict) or KEYS[name] not in values or values.get("schema", 1) != 1:
        raise ValueError(
            f"{path}: expected the record of a {name}, with {KEYS[name]!r}, of schema 1"
        )
    return read_typed(path, kind)


def _require_plans(study: records.Study, path: Path | None) -> None:
    for group in study.groups:
        for model in group.models:
            if model.name not in study.study.models:
                raise ValueError(
                    f"{path}: expected the plan of every model in study.models, "
                    f"got none of {model.name!r}"
                )


def tell(story: Story, folder: Path, refinement: str = "") -> Told:
    """What the page says of the records that are there.

    Args:
        story: the records.
        folder: where their figures go.
        refinement: what refining the steps of the pretrained model showed; empty where it was not
            measured.

    Raises:
        OSError: if a figure cannot be written.
    """
    study = story.study
    return Told(
        predicted=prediction.tell(story.prediction, folder) if story.prediction else None,
        trained=robustness.tell(study, folder) if study else None,
        confirmed=confirmation.tell(story.confirmation, folder) if story.confirmation else None,
        calibrated=calibration.tell(story.calibration, folder) if story.calibration else None,
        flipped=flips_page.tell(story.flips, folder) if story.flips else None,
        controls=controls.tell(study, refinement) if study else None,
    )
