"""Did the regularizer do what it says? By layer μ₂ at real states and Re ζ of AdvGLUE's edits, of
models without implicit steps, into layers.json.

    python docs/studies/regularised/layers.py --runs runs/regularised --data DIR

μ₂ bounds what the layer's equation does to small perturbations, Re ζ is what it does to one edit;
both are taken at the states that enter a layer.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import odestab as od
from analysis.ground.json_records import write_json
from analysis.ground.versions import versions
from imbert.data.advglue import read_advglue

SENTENCES, BATCH, RTOL = 32, 8, 1e-3
MODELS, SEED = ("bert", "bert-consistency"), 0


def norms(model: Path, sentences: list[str]) -> list[dict[str, Any]]:
    """By layer: μ₂ over sentences. What did not converge is a lower bound, and left out."""
    encoder, tokenizer = od.load_encoder(model, dtype=torch.float32)
    found: list[list[torch.Tensor]] = []
    for first in range(0, len(sentences), BATCH):
        texts = sentences[first : first + BATCH]
        path = od.trace(encoder, tokenizer(texts, padding=True, return_tensors="pt"))
        spectra = [
            od.logarithmic_norm(od.Jacobian(field, state), rtol=RTOL)
            for field, state in zip(path.fields, path.states, strict=False)
        ]
        found.append([each.values.flatten()[each.converged.flatten()] for each in spectra])
    by_layer = [torch.cat(own).numpy() for own in zip(*found, strict=True)]
    return [
        {"layer": layer, "converged": len(own), **quartiles(own)}
        for layer, own in enumerate(by_layer)
    ]


def secants(model: Path, texts: list[str], edited: list[str]) -> list[dict[str, Any]]:
    """By layer: Re ζ and growth over edits, and how many have Re ζ ≤ 0."""
    encoder, tokenizer = od.load_encoder(model, dtype=torch.float32)
    re, growth = [], []
    for first in range(0, len(texts), BATCH):
        both = [
            tokenizer(side[first : first + BATCH], padding=True, return_tensors="pt")
            for side in (texts, edited)
        ]
        ids = [each["input_ids"] for each in both]
        alignment = od.align(*ids, *(each["attention_mask"] for each in both))
        path = od.secants(*(od.trace(encoder, each) for each in both), alignment=alignment)
        re.append(path.start.real)
        growth.append(path.growth)
    of_edits = torch.cat(re)
    changed = of_edits[:, 0].isfinite()  # an edit that the tokenizer takes back has no secant
    by_layer = zip(of_edits[changed].T.numpy(), torch.cat(growth)[changed].T.numpy(), strict=True)
    return [
        {
            "layer": layer,
            "edits": len(own),
            "contracting": int((own <= 0).sum()),
            **quartiles(own),
            "growth": float(np.median(grown)),
        }
        for layer, (own, grown) in enumerate(by_layer)
    ]


def quartiles(values: np.ndarray) -> dict[str, float]:
    """The median and the two beside it."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    return {"lower": low, "median": middle, "upper": high}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, required=True, help="what imbert study wrote")
    parser.add_argument("--data", type=Path, required=True, help="glue/ and advglue_dev.json")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "layers.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    dev = pd.read_csv(options.data / "glue" / "sst2" / "dev.tsv.gz", sep="\t")
    pairs = read_advglue(options.data / "advglue_dev.json", "sst2")
    texts, edited = (
        [text for (text,) in side.texts] for side in (pairs.original, pairs.adversarial)
    )
    rows = []
    for name in MODELS:
        model = options.runs / "runs" / "sst2-1000" / name / f"seed-{SEED}" / "checkpoint"
        of_norms = norms(model, dev["sentence"].tolist()[:SENTENCES])
        of_secants = secants(model, texts, edited)
        rows.append({"name": name, "seed": SEED, "norms": of_norms, "secants": of_secants})
    record = {
        "schema": 1,
        "sentences": SENTENCES,
        "dtype": "float32",
        "rtol": RTOL,
        "models": rows,
        "versions": versions(("odestab", "torch", "transformers")),
    }
    write_json(options.out, record)


if __name__ == "__main__":
    main()
