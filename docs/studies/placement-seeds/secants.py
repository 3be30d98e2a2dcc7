"""What placements do to real edits: growth of AdvGLUE's edits through the fine-tuned explicit model
of seed 0, with some of its steps taken implicitly and without training, beside what was predicted
for random perturbations, into secants.json.

    python docs/studies/placement-seeds/secants.py --checkpoint CHECKPOINT --data DIR

All placements start from the same states. A layer is also measured alone: the steps before it are
explicit, so that it takes the states that the prediction was made at.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

import odestab as od
from analysis.edits.damping import RESAMPLES, weighted_medians
from analysis.ground.json_records import read_json, write_json
from analysis.ground.resampling import cluster_weights, percentile_interval
from analysis.ground.versions import versions
from imbert.data.advglue import read_advglue

HERE = Path(__file__).parent
Layers = tuple[int, ...]  # that take an implicit step
PLACEMENTS: tuple[Layers, ...] = ((), (2,), (0, 1, 2), (3, 4, 5))
LAYERS = 6
BATCH, STEP_SIZE, SEED = 8, 1.0, 0


def walked(checkpoint: Path, texts: list[str], edited: list[str]) -> dict[Layers, np.ndarray]:
    """ln of growth `(edits, layers)`, with no layer implicit, each alone, and all placements."""
    alone = [(layer,) for layer in range(LAYERS)]
    paths: dict[Layers, list[od.SecantPath]] = {chosen: [] for chosen in (*PLACEMENTS, *alone)}
    encoder, tokenizer = od.load_encoder(checkpoint, dtype=torch.float64)
    for first in range(0, len(texts), BATCH):
        x, y = (
            tokenizer(side[first : first + BATCH], padding=True, return_tensors="pt")
            for side in (texts, edited)
        )
        alignment = od.align(
            x["input_ids"], y["input_ids"], x["attention_mask"], y["attention_mask"]
        )
        of_x, of_y = od.trace(encoder, x), od.trace(encoder, y)
        for chosen, own in paths.items():
            methods: list[od.AbstractOneStepMethod] = [
                od.ImplicitEuler(STEP_SIZE) if layer in chosen else od.ExplicitEuler(STEP_SIZE)
                for layer in range(LAYERS)
            ]
            own.append(od.secants(of_x, of_y, methods, alignment=alignment))
    return {chosen: log_growth(own) for chosen, own in paths.items()}


def log_growth(pairs: Sequence[od.SecantPath]) -> np.ndarray:
    """ln of growth `(edits, layers)`, NaN from the first step on that did not converge."""
    growth = torch.cat([path.growth for path in pairs]).numpy()
    converged = torch.cat([path.converged for path in pairs]).cumprod(1).bool().numpy()
    with np.errstate(divide="ignore", invalid="ignore"):  # an edit that the tokenizer takes back
        return np.where(converged, np.log(growth), np.nan)


def damped(difference: np.ndarray, clusters: np.ndarray) -> dict[str, float | int]:
    """The median over edits with its 95 % interval, by resampling the originals."""
    known = np.isfinite(difference)
    weights = cluster_weights(clusters[known], RESAMPLES, SEED)
    medians = weighted_medians(difference[known], weights)
    low, high = percentile_interval(medians[1:])
    return {
        "edits": int(known.sum()),
        "originals": len(np.unique(clusters[known])),
        "value": float(medians[0]),
        "low": low,
        "high": high,
        "share": float((difference[known] > 0).mean()),
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="of bert, seed 0")
    parser.add_argument("--data", type=Path, required=True, help="with advglue_dev.json")
    parser.add_argument("--out", type=Path, default=HERE / "secants.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    prediction = read_json(HERE / "prediction.json")
    predicted = [layer["advantage"]["value"] for layer in prediction["layers"]]
    items = read_advglue(options.data / "advglue_dev.json", "sst2")
    texts, edited = (
        [text for (text,) in side.texts] for side in (items.original, items.adversarial)
    )
    clusters = np.array([texts.index(text) for text in texts])
    found = walked(options.checkpoint, texts, edited)
    explicit = found[()]
    record = {
        "schema": 1,
        "weights": prediction["config"]["checkpoint"],
        "step_size": STEP_SIZE,
        "dtype": "float64",
        "layers": [
            {
                "layer": layer,
                "predicted": predicted[layer],
                **damped(explicit[:, layer] - found[layer,][:, layer], clusters),
            }
            for layer in range(LAYERS)
        ],
        "placements": [
            {
                "layers": list(placement),
                "predicted": sum(predicted[layer] for layer in placement),
                **damped((explicit - found[placement]).sum(1), clusters),
            }
            for placement in PLACEMENTS[1:]
        ],
        "versions": versions(("odestab", "torch", "transformers")),
    }
    write_json(options.out, record)


if __name__ == "__main__":
    main()
