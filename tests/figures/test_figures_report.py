"""The report is one self-contained page that repeats byte for byte."""

import ast
import html
import html.parser
import json
import re
from pathlib import Path

import jinja2
import numpy as np
import pytest
import synthetic
import synthetic_full
from markupsafe import escape
from page_checks import check_closed, check_names

from analysis.record import Cell, write_cell
from analysis.run import Measurements
from figures import slider, style, template
from figures.__main__ import main
from figures.answers import answers
from figures.pictures import PICTURES, pictures_of
from figures.report import write_report

pytestmark = pytest.mark.slow

HOSTILE = (
    "<script>alert(1)</script>",
    "\"double\" and 'single'",
    "a lone & and &lt; and &amp;",
    "right \u200fto\u200e left",
    "{{ 7*7 }}{% raw %}{# c",
)
QUICK = pictures_of(synthetic.summary(layers=1, kinds={"typo": 3}))


class Outline(html.parser.HTMLParser):
    """Tags of a page, checked to be nested and closed."""

    VOID = frozenset({"meta", "input", "br", "wbr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts[self.open[-1]][-1] += data

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_report(
        synthetic.summary(layers=3, texts=4, converged=False, kinds={"gaussian": 4, "typo": 3}),
        folder,
    )
    return folder


@pytest.fixture
def svg_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the formats that the page does not show: they take two thirds of the time."""
    monkeypatch.setattr(style, "_WITHOUT_DATES", {"svg": style._WITHOUT_DATES["svg"]})


def visible(page: str) -> str:
    """A page without what no reader sees of it."""
    return re.sub(r"base64,[^\"]*|<style>.*?</style>|<script.*?</script>", "", page, flags=re.S)


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_every_figure_is_written_and_shown_with_a_text(folder: Path) -> None:
    outline = Outline(text_of(folder / "report.html"))
    assert sorted(path.name for path in (folder / "figures").iterdir()) == sorted(
        f"{picture.name}.{kind}" for picture in QUICK for kind in ("svg", "pdf", "png")
    )
    images = [svg for svg in outline.all("svg") if svg["class"] == "drawn"]
    assert len(images) == len(QUICK) == len(outline.all("figure")) == len(outline.all("figcaption"))
    assert all(image["aria-label"] and image["role"] == "img" for image in images)


def test_the_page_needs_nothing_else(folder: Path) -> None:
    text = text_of(folder / "report.html")
    check_closed(text)
    check_names(text)
    for path in (folder / "figures").glob(
        "*.svg"
    ):  # in the pictures only names of XML vocabularies and links inside the picture
        svg = text_of(path)
        assert not re.search(r"<script|@import|url\((?!#)|href=\"(?!#|data:)", svg)
        assert not re.sub(r'(xmlns(:\w+)?|rdf:resource)="[^"]*"|"-//W3C//[^>]*>', "", svg).count(
            "://"
        )


def test_the_page_answers_in_the_words_of_the_terminal(folder: Path) -> None:
    page = text_of(folder / "report.html")
    run = synthetic.summary(layers=3, texts=4, converged=False, kinds={"gaussian": 4, "typo": 3})
    (answered,) = re.findall(r'<dl class="answers">(.*?)</dl>', page, re.S)
    answered = re.sub(r"<summary>.*?</summary>", "", answered).replace("<li>", "- ")
    words = html.unescape(re.sub(r"<[^>]*>", " ", answered)).replace("\u00a0", " ")
    assert words.split() == " ".join(line for each in answers(run) for line in each.lines).split()


def test_the_outline_is_semantic(folder: Path) -> None:
    outline = Outline(text_of(folder / "report.html"))
    assert (
        len(outline.all("h1")) == len(outline.all("main")) == 1
        and outline.all("html")[0]["lang"] == "en"
    )
    names = {heading["id"] for heading in outline.all("h2")}
    assert names == {section["aria-labelledby"] for section in outline.all("section")}
    assert all(cell.get("scope") for cell in outline.all("th"))
    assert "width=device-width" in str(outline.all("meta"))


@pytest.mark.usefixtures("svg_only")
@pytest.mark.parametrize("hostile", HOSTILE)
def test_texts_and_names_are_escaped(hostile: str, tmp_path: Path) -> None:
    summary = synthetic.with_config(
        synthetic.summary(layers=1, texts=2, kinds={hostile: 2}, dense=False),
        texts=[hostile, 'a "quoted" & b'],
        tokens=[7, 4],
        model=hostile,
        field=hostile,
        warnings=[hostile],
        pairs=[[hostile, hostile, "b"]],
        skipped_pairs=[[0, hostile]],
        status_names=[hostile],
        versions={hostile: hostile},
    )
    text = text_of(write_report(summary, tmp_path))
    check_closed(text)
    assert text.count(str(escape(hostile))) >= 10
    assert "a &#34;quoted&#34; &amp; b (4 tokens)" in text
    outline = Outline(text)
    assert outline.texts["h1"] == [f"Numerical stability of {hostile}"]
    assert outline.texts["li"][-3:] == [
        f"{hostile} (7 tokens)",
        'a "quoted" & b (4 tokens)',
        f"{hostile}: “{hostile}” → “b” (left out of propagation: {hostile})",
    ]


@pytest.mark.parametrize("hostile", ["</script><script>alert(1)</script>", "<!--", "a & 'b'"])
def test_no_text_ends_the_data_of_a_script(hostile: str) -> None:
    plane = slider.Plane(0, None, [slider.Dots(hostile, "M0 0h0")], "", [], [], "", [hostile])
    marker = slider.Marker(hostile, "edit-0", "#123456", "M0 0")
    frame = slider.Frame(-2, 2, -2, 2)
    shown = slider.Slider(
        [1.0], ["1"], 0, [plane], [hostile], [["M0 0"]], "M0 0", [marker], hostile, frame
    )
    text = template.render("slider.html.j2", slider=shown, colours=slider.COLOURS)
    data = re.search(r'<script type="application/json" id="slider-data">(.*?)</script>', text)
    assert data is not None and "<" not in data[1]
    assert json.loads(data[1])["captions"] == [[hostile]]
    assert text.count("<script") == 1 and "<!--" not in text


def test_a_template_that_asks_for_what_is_not_given_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="told"):
        template.render("story.html.j2")


def test_no_html_stands_in_python() -> None:
    for path in sorted(Path(template.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(text_of(path))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found = re.search(r"</?[a-zA-Z!][^ ]*", node.value)
                assert found is None, f"{path.name}:{node.lineno}: {found}"


def test_the_same_summary_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_report(
        synthetic.summary(layers=3, texts=4, converged=False, kinds={"gaussian": 4, "typo": 3}),
        tmp_path,
    )
    names = sorted(path.relative_to(folder) for path in folder.rglob("*.*"))
    assert len(names) == 1 + 3 * len(QUICK)
    assert [
        name for name in names if (folder / name).read_bytes() != (tmp_path / name).read_bytes()
    ] == []


def test_the_table_says_none_and_never_zero_for_no_stable_step(folder: Path) -> None:
    table = re.search(r"<table>.*?</table>", text_of(folder / "report.html"), re.S)
    assert table is not None
    first = re.findall(r"<td>(.*?)</td>", table[0])[:14]
    assert first[8:10] == ["none", "none"]


@pytest.mark.usefixtures("svg_only")
def test_what_did_not_converge_is_listed(folder: Path, tmp_path: Path) -> None:
    text = text_of(folder / "report.html")
    assert (
        "Not everything converged." in text
        and "MAX_ITERATIONS" in text
        and "Everything converged" not in text
    )
    settled = text_of(write_report(synthetic.summary(layers=1, texts=2, kinds={}), tmp_path))
    assert "Everything converged" in settled and "Not everything converged" not in settled


@pytest.mark.usefixtures("svg_only")
@pytest.mark.parametrize(
    "summary",
    [
        synthetic.empty(),
        synthetic.summary(layers=1, texts=1, kinds={}, dense=False, steps=[0.5], map_steps=[0.5]),
        synthetic.not_a_number(synthetic.summary(layers=2, texts=3)),
    ],
    ids=["empty", "one layer", "not a number"],
)
def test_odd_runs_have_a_report(summary: Measurements, tmp_path: Path) -> None:
    text = text_of(write_report(summary, tmp_path))
    Outline(text)
    assert not re.search(r"\bnan\b|\binf\b", visible(text))


def test_a_run_of_quick_depth_has_no_picture_of_full_depth() -> None:
    assert pictures_of(synthetic.summary(layers=1)) == QUICK
    always = [picture for picture in PICTURES if picture.always]
    assert pictures_of(synthetic.empty()) == always and len(always) == len(QUICK) - 1
    assert pictures_of(synthetic_full.summary(layers=1, texts=2)) == list(PICTURES) and len(
        PICTURES
    ) > len(QUICK)


@pytest.mark.usefixtures("svg_only")
def test_the_report_of_full_depth(tmp_path: Path) -> None:
    summary = synthetic_full.summary(
        layers=1, texts=2, converged=False, kinds={"typo": 2}, dense=False
    )
    text = text_of(write_report(summary, tmp_path))
    assert text.count('<svg class="drawn" role="img"') == len(PICTURES)
    for expected in (
        "Non-normality layer by layer",
        "<dt>ε-pseudospectrum</dt>",
        "numerical range, longer texts",
        "Kreiss constant",
    ):
        assert expected in text
    quick = text_of(
        write_report(
            synthetic.summary(layers=1, texts=2, kinds={}, dense=False), tmp_path / "quick"
        )
    )
    assert "Non-normality" not in quick and "<dt>ε-pseudospectrum</dt>" not in quick


@pytest.mark.usefixtures("svg_only")
def test_a_report_of_full_depth_without_one_number(tmp_path: Path) -> None:
    text = text_of(
        write_report(
            synthetic_full.not_a_number(
                synthetic_full.summary(layers=1, texts=2, kinds={}, dense=False)
            ),
            tmp_path,
        )
    )
    seen = visible(text)
    assert not re.search(r"\bnan\b|\binf\b", seen) and "Everything converged" not in seen


@pytest.mark.usefixtures("svg_only")
def test_another_step_size_can_be_chosen(tmp_path: Path) -> None:
    summary = synthetic.summary(layers=1, texts=2, kinds={"typo": 2})
    assert "figures at h = 0.5" in text_of(write_report(summary, tmp_path, step_size=0.5))
    with pytest.raises(ValueError, match="step_size must be one of"):
        write_report(summary, tmp_path, step_size=7)


@pytest.mark.usefixtures("svg_only")
def test_the_command_reads_a_run_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = {"model": "m", "field": "outer", "step_sizes": [1.0], "map_step_sizes": [1.0]}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "cells").mkdir()
    paths = np.ones((2, 1, 3, 4))
    arrays = {
        "measured": paths,
        "predicted": paths,
        "converged": np.ones((2, 1, 3, 3), dtype=np.uint8),
        "sizes": np.array([1e-3]),
    }
    header = {
        "kind": "propagation",
        "perturbation": "gaussian",
        "step_size": 1.0,
        "texts": [0, 1, 2],
    }
    write_cell(tmp_path / "cells", Cell("propagation-0", header, arrays))
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "report.html")
    assert "Gaussian noise 1× against 1×" in text_of(tmp_path / "report.html")


def test_the_command_refuses_a_folder_that_is_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, expected in (
        ([str(tmp_path)], "is no run folder"),
        ([str(tmp_path), "--step-size", "nan"], "--step-size"),
        ([str(tmp_path), "--step", "1"], "unrecognized arguments"),
        ([], "RUN"),
    ):
        assert main(arguments) == 2
        line = capsys.readouterr().err
        assert line.startswith("python -m figures: error: ") and line.count("\n") == 1
        assert expected in line
