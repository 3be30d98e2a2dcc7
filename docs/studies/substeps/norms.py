"""Does the theory's assumption hold? hμ₂ at states along the steps of 1/8, before and after
training, into norms.json.

    python docs/studies/substeps/norms.py --runs runs/substeps --sentences DIR/glue/sst2/dev.tsv.gz

Before: the pretrained weights under the implicit steps of seed 0. After: every trained model under
its own steps. States are the start of a layer's first and fifth step, and the end of its last: a
sample, where the theory asks for a ball about each.
"""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import odestab as od
from analysis.ground.json_records import write_json
from analysis.ground.versions import versions

STEPS, H, LAYERS = 8, 1 / 8, (3, 4, 5)
SENTENCES, BATCH, EVERY = 32, 8, 4
RTOL = 1e-3
MODELS = ("implicit-8", "explicit-8")
SEEDS = range(5)


def norms(model: Path | None, steps_of: Path | None, sentences: list[str]) -> list[dict[str, Any]]:
    """By layer: hμ₂ over sentences and states, and how many values are below 1."""
    encoder, tokenizer = od.load_encoder(model, dtype=torch.float32, steps_of=steps_of)
    found: dict[int, list[torch.Tensor]] = {layer: [] for layer in LAYERS}
    unsettled = dict.fromkeys(LAYERS, 0)
    for first_of_batch in range(0, len(sentences), BATCH):
        texts = sentences[first_of_batch : first_of_batch + BATCH]
        trajectory = od.trace(encoder, tokenizer(texts, padding=True, return_tensors="pt"))
        assert len(trajectory.fields) == LAYERS[0] + len(LAYERS) * STEPS
        for place, layer in enumerate(LAYERS):
            first = LAYERS[0] + place * STEPS
            for state in trajectory.states[first : first + STEPS + 1 : EVERY]:
                jacobian = od.Jacobian(trajectory.fields[first], state)
                spectrum = od.logarithmic_norm(jacobian, rtol=RTOL)
                # what did not converge is a lower bound: counted, and known neither way
                settled = spectrum.converged.flatten()
                found[layer].append(H * spectrum.values.flatten()[settled])
                unsettled[layer] += int((~settled).sum())
    rows = []
    for layer in LAYERS:
        values = torch.cat(found[layer])
        rows.append(
            {
                "layer": layer,
                "states": len(values) + unsettled[layer],
                "median": values.median().item(),
                "largest": values.max().item(),
                "below_one": int((values < 1).sum()),
                "not_converged": unsettled[layer],
            }
        )
    return rows


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, required=True, help="what imbert study wrote")
    parser.add_argument("--sentences", type=Path, required=True, help="SST-2's dev file")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "norms.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sentences = pd.read_csv(options.sentences, sep="\t")["sentence"].tolist()[:SENTENCES]

    def checkpoint(name: str, seed: int) -> Path:
        return options.runs / "runs" / "sst2-1000" / name / f"seed-{seed}" / "checkpoint"

    before = norms(None, checkpoint("implicit-8", 0), sentences)
    after = [
        {"name": name, "seed": seed, "layers": norms(checkpoint(name, seed), None, sentences)}
        for name in MODELS
        for seed in SEEDS
    ]
    record = {
        "schema": 1,
        "step_size": H,
        "sentences": len(sentences),
        "dtype": "float32",
        "rtol": RTOL,
        "before": before,
        "after": after,
        "versions": versions(("odestab", "torch", "transformers")),
    }
    write_json(options.out, record)


if __name__ == "__main__":
    main()
