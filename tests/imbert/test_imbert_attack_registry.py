"""Adding an attack is a class in one file and a line of the registry: everything else follows."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import ClassVar, Self

import pytest
import transformers
from tiny import save_tiny, tiny_config
from tiny_runs import tiny_run, write_data

from imbert import __main__ as command
from imbert import attacks
from imbert.attack_records import Attack
from imbert.attacks import registry
from imbert.attacks.choice import AttackChoice
from imbert.attacks.embedding_ascent import AbstractEmbeddingAscent
from imbert.attacks.embedding_attack import AbstractEmbeddingAttack
from imbert.attacks.text_attack import AbstractTextAttack, Search, Victim
from imbert.study.attack_runs import attack_checkpoint
from imbert.study.plan import study_config

DOCS = Path(__file__).parents[2] / "docs"


@dataclasses.dataclass(frozen=True)
class Shouting(AbstractTextAttack):
    """The first words in capitals.

    Attributes:
        most: how many.
        queries: at most so many for an example.
        part: which text is edited.
    """

    name: ClassVar[str] = "shouting"
    most: int = 2
    queries: int = 3
    part: int = -1

    @classmethod
    def chosen(cls, choice: AttackChoice, radius: float, data: Path) -> Self:
        return cls()

    def look(self, victim: Victim) -> Search:
        draft = victim.draft
        words = range(min(self.most, len(draft.words)))
        texts = draft.changed({i: draft.word(i).upper() for i in words})
        yield [texts]
        return texts


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line of the registry; the class stands in this file."""
    kind = registry.AttackKind("shouting", "Shouting", "texts", "answers")
    monkeypatch.setitem(registry.ATTACKS, Shouting.name, kind)
    monkeypatch.setitem(sys.modules, "imbert.attacks.shouting", sys.modules[__name__])


def test_a_plan_takes_it(registered: None) -> None:
    tables = {"study": {}, "models": {"bert": {}}, "attacks": {"kinds": ["shouting", "pgd"]}}
    study = study_config(tables)
    assert study.attacks is not None
    assert list(study.attacks.records) == ["shouting", "pgd", "pgd-0.3", "pgd-1"]
    assert study.attacks.records["shouting"] == ("shouting", None)


def test_without_the_line_a_plan_names_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"attacks\.kinds must be one of pgd, apgd, .*'shouting'"):
        AttackChoice(kinds=("shouting",))


def test_the_command_and_the_records_take_it(
    registered: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_data(tmp_path / "data")
    model = save_tiny(tmp_path / "bert")
    transformers.BertForSequenceClassification(tiny_config()).save_pretrained(model)
    choice = AttackChoice(kinds=("shouting",), examples=3, masking=False)
    out = tmp_path / "attacks"
    records = attack_checkpoint(model, tiny_run(model), choice, data, out, print)
    record = records["shouting"]
    assert isinstance(record, Attack) and record.options == {
        "most": 2,
        "queries": 3,
        "part": -1,
        "seed": 0,
    }
    assert all(row.edits <= 2 and row.queries <= 1 for row in record.per_example)
    texts = json.loads((out / "texts" / "shouting.json").read_text())
    assert len(texts) == 3
    arguments = ["attack", str(model), "--data", str(data), "--source", "glue"]
    assert (
        command.main(
            [*arguments, "--kind", "shouting", "--examples", "2", "--no-masking", "--out", str(out)]
        )
        == 0
    )
    assert "shouting: clean" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        command.main(["attack", "--help"])
    assert "shouting" in capsys.readouterr().out


def test_records_are_ordered_as_the_registry_is(registered: None) -> None:
    names = ["shouting", "words", "pgd-1", "pgd", "unknown"]
    assert sorted(names, key=registry.order_of) == ["pgd", "pgd-1", "words", "shouting", "unknown"]
    assert "| `shouting` | texts | answers | The first words in capitals. |" in (
        registry.markdown()
    )


@pytest.mark.parametrize("name", registry.ATTACKS)
def test_a_line_of_the_registry_says_what_its_class_is(name: str) -> None:
    kind = registry.ATTACKS[name]
    attack = kind.load()
    assert attack.name == name and getattr(attacks, kind.class_name) is attack
    assert issubclass(attack, AbstractTextAttack) == (kind.changes == "texts")
    assert issubclass(attack, AbstractEmbeddingAttack) == (kind.changes == "word embeddings")
    assert issubclass(attack, AbstractEmbeddingAscent) == (kind.uses == "gradients")
    choice = AttackChoice(synonyms="a.json", antonyms="b.txt")
    assert tuple(attack.tables(choice)) == kind.tables


def test_a_table_that_is_named_and_not_there_is_told_of_with_its_layout(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    AttackChoice(kinds=("words",), synonyms="a.json").require_tables(tmp_path)
    AttackChoice(kinds=("pgd",), synonyms="none.json").require_tables(tmp_path)
    choice = AttackChoice(kinds=("pgd", "words"), synonyms="a.json", antonyms="b.txt")
    said = r"attack words: expected antonyms \(--antonyms FILE\) as a text file of two words a line"
    with pytest.raises(FileNotFoundError, match=f"^{said}, .*got no file .*b\\.txt; "):
        choice.require_tables(tmp_path)


def test_a_plan_is_read_without_torch() -> None:
    code = (
        "import sys, types\n"
        "root = types.ModuleType('imbert')\n"
        "root.__path__ = ['imbert']\n"
        "sys.modules['imbert'] = root\n"
        "import imbert.study.plan, imbert.attacks.registry\n"
        "print(sorted({'torch', 'transformers', 'odestab'} & {*sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=DOCS.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_of_the_attacks_is_none() -> None:
    with pytest.raises(AttributeError, match=r"'imbert\.attacks' has no attribute 'Magic'"):
        attacks.Magic  # noqa: B018
    assert set(attacks.__all__) == {*attacks.MODULES, *attacks.SHARED}
    assert all(callable(getattr(attacks, name)) for name in attacks.SHARED)


def test_the_documentation_has_the_table_of_the_registry() -> None:
    text = (DOCS / "how-to" / "fine-tuning.md").read_text(encoding="utf-8")
    assert registry.markdown() in text
