"""A Trainer of one's own: transformers trains a model whose last layers are implicit steps.

Question: do the solves stay cheap while the model learns? The log says, beside the loss. The
sentences are made up; the weights are those of the embedded model, all-MiniLM-L6-v2.

    python examples/own_trainer.py --out runs/own-trainer
"""

import argparse
import itertools
from pathlib import Path

import torch
import transformers

import imbert
import odestab as od

SUBJECTS = ("The ferry", "The concert", "Her speech", "This soup", "Our guide")
WORDS = {1: ("superb", "lovely", "a joy", "brilliant"), 0: ("awful", "dull", "a mess", "dreadful")}
SHOWN = ("loss", "solver_evaluations", "solver_unsolved", "adjoint_evaluations")


def sentences(subjects: tuple[str, ...]) -> list[tuple[str, int]]:
    """Sentences that praise, labelled 1, and sentences that complain, labelled 0."""
    return [
        (f"{subject} was {word}.", label)
        for label, words in WORDS.items()
        for subject, word in itertools.product(subjects, words)
    ]


def main(out: Path, steps: int) -> float:
    """Train, print the log, and return the accuracy on subjects that training has not seen."""
    torch.manual_seed(0)
    folder = od.embedded_model_folder()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = imbert.ImBertForSequenceClassification.from_pretrained(
        folder, num_labels=2, implicit_layers=[4, 5]
    )

    def collate(rows: list[tuple[str, int]]) -> dict[str, torch.Tensor]:
        texts, labels = zip(*rows, strict=True)
        batch = tokenizer(list(texts), padding=True, return_tensors="pt")
        return {**batch, "labels": torch.tensor(labels)}

    trainer = transformers.Trainer(
        model=model,
        args=transformers.TrainingArguments(
            output_dir=str(out),
            max_steps=steps,
            per_device_train_batch_size=8,
            learning_rate=2e-4,
            logging_steps=2,
            save_strategy="no",
            remove_unused_columns=False,  # rows are texts, which `collate` turns into tokens
            disable_tqdm=True,
            use_cpu=True,
        ),
        train_dataset=sentences(SUBJECTS[:3]),
        eval_dataset=sentences(SUBJECTS[3:]),
        data_collator=collate,
        compute_metrics=lambda seen: {
            "accuracy": float((seen.predictions.argmax(-1) == seen.label_ids).mean())
        },
    )
    trainer.remove_callback(transformers.PrinterCallback)
    imbert.SolverStatistics().attach(trainer)
    trainer.train()
    for entry in trainer.state.log_history:
        if "loss" in entry:
            shown = "  ".join(f"{name} {entry[name]:.3g}" for name in SHOWN)
            print(f"step {entry['step']:3d}  {shown}")
    measured = trainer.evaluate()
    print(f"accuracy on unseen subjects {measured['eval_accuracy']:.3f}")
    trainer.save_model(str(out))  # `import imbert`, and AutoModel… loads it
    tokenizer.save_pretrained(out)
    return measured["eval_accuracy"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/own-trainer"))
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    main(options.out, options.steps)
