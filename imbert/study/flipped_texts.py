"""What an attack flipped, for people: a table of original and edited texts beside the JSON of all
texts, in the form that `odestab edits --texts` and `odestab analyze --texts` read.

It holds sentences of the data and stays where these are; no record names a text of it.
"""

from pathlib import Path

from analysis.ground.files import write_text
from analysis.ground.identity import file_digest
from analysis.ground.labelled_tables import EDITS
from imbert.attack_records import Attack
from imbert.data.tasks import Examples
from imbert.records import read

TEXTS = "texts"  # the folder, in that of the records
ONE_LINE = str.maketrans("\t\r\n", "   ")  # a table of tabs has no quoting


def texts_file(out: Path, name: str) -> Path:
    """All texts after an attack, a list of texts for each example, by the folder of its record."""
    return out / TEXTS / f"{name}.json"


def flipped_table(out: Path, name: str) -> Path:
    """The texts that it flipped, beside their originals."""
    return out / TEXTS / f"{name}.tsv"


def write_flipped(out: Path, name: str, record: Attack, examples: Examples) -> None:
    """Write the table of an attack; where nothing was flipped there is none.

    Args:
        out: the folder of the records.
        name: of the record.
        record: of the attack.
        examples: that were attacked.

    Raises:
        ValueError: if the texts are damaged.
        OSError: if a file cannot be read or written.
    """
    path = flipped_table(out, name)
    texts = texts_file(out, name)
    # other texts than the attack's, or none, as in a folder that was copied without them
    is_there = texts.is_file() and file_digest(texts) == record.texts_digest
    after = read(texts, list[list[str]]) if is_there else []
    pairs = [_pair(examples.texts[i], tuple(after[i])) for i in record.changed if i < len(after)]
    lines = ["\t".join(pair) for pair in (EDITS, *filter(None, pairs))]
    if len(lines) > 1:
        write_text(path, "".join(f"{line}\n" for line in lines))
    else:
        path.unlink(missing_ok=True)


def _pair(before: tuple[str, ...], after: tuple[str, ...]) -> tuple[str, str] | None:
    """Of an example the text that was edited, before and after, each on one line; None where these
    are no pair: the same, or nothing left.
    """
    for original, edited in zip(before, after, strict=True):
        pair = original.translate(ONE_LINE), edited.translate(ONE_LINE)
        if pair[0] != pair[1]:
            return pair if pair[1].strip() else None
    return None
