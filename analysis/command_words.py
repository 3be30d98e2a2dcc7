"""What `--help` says of each `odestab` command."""

from types import MappingProxyType

from analysis.ground.commands import Words

DESCRIPTION = (
    "Is this transformer layer a stable step of a differential equation, and does an implicit "
    "step make it more robust?"
)
EPILOG = """\
examples:
  odestab analyze --limit 1 --layers 3
  odestab edits --text "The film is good." --edited "The film is bad."
  odestab COMMAND --help"""

WORDS = MappingProxyType(
    {
        "analyze": Words(
            "spectra, stability and propagation of every layer, with a report",
            "Measures spectra, stability and propagation of every layer of a model on texts, into "
            "a run folder with figures and a report. A run that was stopped continues.",
            (
                "odestab analyze --limit 1 --layers 3",
                "odestab analyze MODEL --texts FILE --step-size 0.5 1",
            ),
        ),
        "predict": Words(
            "which layers should take an implicit step, with a run that tests it",
            "Says which layers should take an implicit step, from single steps on texts without "
            "labels, and writes the plans of runs that test it.",
            (
                "odestab predict --layers 2,3,4 --limit 2 --out runs/ahead",
                "odestab predict MODEL --texts FILE",
            ),
        ),
        "confirm": Words(
            "hold a prediction against its test, or conditions against attacks",
            "Holds a prediction against the models that were trained to test it, or the "
            "conditions of a classifier's inputs against attacks on it. The first file says which.",
            (
                "odestab confirm runs/ahead/prediction.json runs/placements",
                "odestab confirm runs/condition/condition.json runs/attacks/characters.json",
            ),
        ),
        "calibrate": Words(
            "predicted against measured growth through a fine-tuned model",
            "Measures growth through the steps of a fine-tuned model, and holds it against the "
            "growth predicted from its linearisation and from that of the model it came from.",
            (
                "odestab calibrate runs/im-bert/checkpoint --texts FILE",
                "odestab calibrate CHECKPOINT --pretrained MODEL --texts FILE",
            ),
        ),
        "recalibrate": Words(
            "a calibration again from its record, without its models",
            "Makes the fits, tests and figure of a calibration again from the growth that its "
            "record holds, without its models.",
            ("odestab recalibrate runs/calibration/calibration.json --out runs/again",),
        ),
        "propagate": Words(
            "growth of a perturbation through depth: one figure",
            "Draws how a perturbation of one text grows through depth, and an edit of the text if "
            "one is given.",
            (
                'odestab propagate --text "Good morning"',
                'odestab propagate MODEL --text "Good morning" --edited "Good evening"',
            ),
        ),
        "edits": Words(
            "what every step does to real edits: a page and tables",
            "Says what every step does to real edits of any size, without linearisation: a page, "
            "a record and tables.",
            (
                'odestab edits --text "The film is good." --edited "The film is bad."',
                "odestab edits MODEL --texts PAIRS.tsv",
            ),
        ),
        "regions": Words(
            "each layer's spectrum over the stability regions: one figure",
            "Draws each layer's spectrum on one text over the stability regions, with the secants "
            "of an edit of the text if one is given.",
            (
                'odestab regions --text "Good morning"',
                'odestab regions MODEL --text "Good morning" --layers 0,3 --out regions.pdf',
            ),
        ),
        "condition": Words(
            "which of a classifier's inputs flip easily: a ranked table",
            "Ranks the inputs of a classifier by how easily an edit flips them: margins, their "
            "conditioning, and what random drafts of each input do.",
            ("odestab condition runs/im-bert/checkpoint --data FILE",),
        ),
        "report": Words(
            "figures and report again from a run folder",
            "Draws the figures and the report of a run folder again, without its model.",
            (
                "odestab report runs/analysis",
                "odestab report runs/ahead --prediction runs/ahead/prediction.json",
            ),
        ),
        "export": Words(
            "every table of a run folder, as CSV or Parquet",
            "Writes every table of a run folder as a file of its own.",
            ("odestab export runs/analysis --format parquet",),
        ),
        "info": Words(
            "versions, devices, usable kernels",
            "Shows versions, devices, and which kernels are usable.",
            ("odestab info",),
        ),
    }
)
