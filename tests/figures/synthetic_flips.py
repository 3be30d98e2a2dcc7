"""A verdict on flips whose numbers a test can read off."""

from msgspec import structs

from analysis.flips.records import (
    Bin,
    Calibration,
    Estimate,
    Fate,
    Fit,
    Flips,
    Model,
    Population,
    Primary,
    Ranking,
    Score,
)
from analysis.flips.study_records import Compared, Transfer

NONE = Estimate(None, None, None)
AUROC = {"confidence": 0.6, "gradient": 0.75, "words growth 1": 0.5, "words growth 2": 0.55}
SENTENCE = "Fixed beforehand: <b>g</b> & confidence."


def around(value: float, half: float = 0.05) -> Estimate:
    return Estimate(value, value - half, value + half)


def score(name: str, auroc: float, few: bool) -> Score:
    value = Estimate(auroc, None, None) if few else around(auroc)
    gain = around(auroc - AUROC["confidence"])
    return Score(
        name=name,
        left_out=3,
        flipped=20,
        held=30,
        sentences=50,
        auroc=value,
        confidence=around(AUROC["confidence"]),
        gain=Estimate(gain.value, None, None) if few else gain,
    )


def fit(name: str) -> Fit:
    return Fit(
        name=name,
        scores=[name],
        auroc=around(0.7),
        intercept=0.0,
        slope=0.9,
        brier=0.2,
        brier_gain=around(0.04),
        log_loss=0.6,
        log_loss_gain=around(0.09),
        bins=[Bin(0.2, around(0.25), 25), Bin(0.6, Estimate(1.0, None, None), 25)],
    )


def ranking(
    attack: str, population: Population, models: list[int], few: bool = False, fitted: bool = True
) -> Ranking:
    shift = 0.0 if population == "right" else -0.1
    calibration = Calibration(
        folds=5,
        inputs=50,
        left_out=0,
        flipped=20,
        brier=0.24,
        log_loss=0.69,
        fits=[fit(name) for name in ("confidence", "gradient", "together")],
    )
    primary = attack == "characters" and population == "right" and len(models) == 2
    return Ranking(
        attack=attack,
        models=models,
        population=population,
        primary=primary,
        inputs=50,
        flipped=20,
        scores=[score(name, value + shift, few) for name, value in AUROC.items()],
        across=None,
        calibration=calibration if fitted and population == "right" else None,
    )


def fate(model: str, models: list[int], rise: float = 0.2) -> Fate:
    by_level = [around(0.5 + rise * level) for level in range(3)]
    return Fate(
        model=model,
        models=models,
        pairs=40,
        left_out=2,
        flipped=15,
        sentences=20,
        margin=around(0.45),
        size=around(0.55),
        whole=by_level,
        first=by_level,
        read=[NONE, *by_level[1:]],
    )


def flips(fates: bool = True, few: bool = False, fitted: bool = True) -> Flips:
    populations: tuple[Population, ...] = ("right", "unflipped")
    return Flips(
        primary=Primary("gradient", ["characters", "words"], "gain", "right", SENTENCE, "Alone."),
        explored=11,
        models=[Model(f"<i>{i}</i>", str(i) * 64, "e" * 64, 60, 50) for i in range(2)],
        definitions={name: f"{name} & more" for name in AUROC},
        rankings=[
            ranking(attack, population, models, few, fitted)
            for attack in ("characters", "pgd")
            for population in populations
            for models in ([0, 1], [0], [1])
        ],
        fates=[fate("all", [0, 1]), fate("<i>0</i>", [0]), fate("1", [1], 0.1)] if fates else [],
        resamples=2000,
        seed=0,
        versions={"numpy": "2"},
    )


def compared(score: str, other: str, gain: float) -> Compared:
    return Compared(
        score=score,
        other=other,
        left_out=0,
        flipped=20,
        held=30,
        sentences=50,
        auroc=around(0.6 + gain),
        of_other=around(0.6),
        gain=around(gain),
    )


def grouped() -> Flips:
    """Two kinds of model of one task, apart and together, and one transfer."""
    record = flips(fates=False)
    rankings = [
        structs.replace(each, task="sst2", kind=kind, primary=bool(kind) and each.primary)
        for each in record.rankings
        if each.attack == "characters" and len(each.models) == 2
        for kind in ("", "bert", "im-bert")
    ]
    transfer = Transfer(
        attack="characters",
        task="sst2",
        explicit="bert",
        implicit="im-bert",
        pairs=[[0, 1]],
        seeds=[0],
        inputs=50,
        flipped=20,
        compared=[
            compared("explicit gradient", "confidence", 0.08),
            compared("explicit gradient", "gradient", -0.03),
        ],
    )
    return structs.replace(record, rankings=rankings, transfers=[transfer])
