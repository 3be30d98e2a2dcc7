"""The SVG file of a figure as an element of the page: smaller, with names of its own, and with the
points that can be read out.
"""

import dataclasses
import itertools
import re
from collections.abc import Iterator
from xml.etree import ElementTree

import numpy as np

from figures.readings import Placed, Row, panel_name

SVG = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"
LONG = re.compile(r"-?\d+\.\d{3,}")
SHIFT = re.compile(r"translate\([^)]*\)")
REFERENCE = re.compile(r"url\(#([^)]*)\)")
FEW = 8  # equal marks, from which on they are one path
KEPT = ("patch_", "matplotlib.axis", "text_", "legend")  # of a panel, when its data are faded


@dataclasses.dataclass(frozen=True)
class MarkedRow:
    """Points of one text, edit or summary.

    Attributes:
        who: as in `readings.Row`.
        path: of dots without length.
        values: separated by bars, one for each place; empty where there is no point.
    """

    who: str
    path: str
    values: str


@dataclasses.dataclass(frozen=True)
class MarkedGroup:
    """The points of one quantity.

    Attributes:
        name: of the quantity.
        places: separated by bars.
        colour: of its dots.
        quiet: as in `readings.Readings`.
        summary: likewise.
        points: path of the points of all rows, where they have the same ones but not the same dots;
            else empty.
        rows: of points.
    """

    name: str
    places: str
    colour: str
    quiet: bool
    summary: str
    points: str
    rows: list[MarkedRow]


@dataclasses.dataclass(frozen=True)
class Inlined:
    """A figure as the page shows it.

    Attributes:
        content: of the svg element.
        width: of its box, points.
        height: likewise.
        groups: of points that can be read out.
    """

    content: str
    width: float
    height: float
    groups: list[MarkedGroup]


def inlined(svg: bytes, prefix: str, left: list[Placed]) -> Inlined:
    """A figure that matplotlib wrote, with all names behind a prefix."""
    root = ElementTree.fromstring(svg)
    width, height = (float(number) for number in root.attrib["viewBox"].split()[2:])
    boxes = {each.panel: _box(root, each.panel) for each in left}
    groups = [_group(each, boxes[each.panel]) for each in left]
    for panel in list(root.iter(f"{SVG}g")):
        _class_data(panel)
    for child in root.findall(f"{SVG}metadata"):
        root.remove(child)
    # the page has its style: inside a page it would hold for all of it
    for definitions in root.findall(f"{SVG}defs"):
        for rule in definitions.findall(f"{SVG}style"):
            definitions.remove(rule)
    _gather_marks(root)
    used = set(_references(root))
    for element in root.iter():
        _shrink(element, prefix, used)
    content = "".join(ElementTree.tostring(child, encoding="unicode") for child in root)
    return Inlined(content, width, height, [group for group in groups if group.rows])


def _class_data(panel: ElementTree.Element) -> None:
    """Mark what of a panel is data, so that it can fade behind one text."""
    if panel.get("id", "").startswith("axes_"):
        for child in panel:
            if not child.get("id", "").startswith((*KEPT, "panel-")):
                child.set("class", "data")


def _gather_marks(root: ElementTree.Element) -> None:
    """Make one path of equal marks in a row, which takes a tenth of the bytes: its line is not
    drawn, and a mark stands at every corner.
    """
    count = itertools.count()
    for group in list(root.iter(f"{SVG}g")):
        gathered = []
        for look, run in itertools.groupby(group, _look):
            marks = list(run)
            if look is None or len(marks) < FEW:
                gathered += marks
            else:
                gathered += _one_path(marks, *look, name=f"marks-{next(count)}")
        group[:] = gathered


def _look(element: ElementTree.Element) -> tuple[str, str] | None:
    """Shape and style of a mark that has nothing else than its place; None for all else."""
    if element.tag != f"{SVG}use" or set(element.keys()) != {LINK, "x", "y", "style"}:
        return None
    return element.attrib[LINK], element.attrib["style"]


def _one_path(
    marks: list[ElementTree.Element], shape: str, style: str, name: str
) -> list[ElementTree.Element]:
    visible = f"overflow: visible; {style}"  # else it is cut at its box, which is small
    marker = ElementTree.Element(
        f"{SVG}marker", {"id": name, "markerUnits": "userSpaceOnUse", "style": visible}
    )
    ElementTree.SubElement(marker, f"{SVG}use", {LINK: shape})
    places = np.array([[float(mark.attrib[axis]) for axis in "xy"] for mark in marks])
    path = {"fill": "none", "style": f"marker: url(#{name})", "d": f"m{joined(places, 1)}"}
    return [marker, ElementTree.Element(f"{SVG}path", path)]


def joined(places: np.ndarray, digits: int, between: str = " ") -> str:
    """Places in order of their abscissa, each relative to the one before, as short as paths allow.

    Args:
        places: `(n, 2)`.
        digits: decimals that are kept; the places are rounded, not the steps, so that no error
            adds up.
        between: what a path has between two places.
    """
    rounded = np.round(places * 10**digits).astype(int)
    rounded = rounded[np.lexsort(rounded.T[::-1])]
    steps = np.diff(rounded, axis=0, prepend=0) / 10**digits
    return between.join(_pair(x, y, digits) for x, y in steps.tolist())


def _pair(x: float, y: float, digits: int) -> str:
    """Two numbers without leading zeros, and without a space where a sign parts them."""
    first, second = (
        f"{value:.{digits}f}".replace("-0.", "-.").removeprefix("0").rstrip("0").rstrip(".") or "0"
        if digits
        else f"{value:.0f}"
        for value in (x, y)
    )
    return f"{first}{second}" if second.startswith("-") else f"{first} {second}"


def _references(root: ElementTree.Element) -> Iterator[str]:
    for element in root.iter():
        if LINK in element.attrib:
            yield element.attrib[LINK].removeprefix("#")
        for value in element.attrib.values():
            yield from REFERENCE.findall(value)


def _shrink(element: ElementTree.Element, prefix: str, used: set[str]) -> None:
    """Two decimals of a point are enough; names that nothing refers to go."""
    element.tag = element.tag.removeprefix(SVG)
    element.text = (element.text or "").strip()
    element.tail = ""
    name = element.attrib.pop("id", "")
    if name in used:
        element.set("id", f"{prefix}-{name}")
    target = element.attrib.pop(LINK, None)
    if target is not None:
        # a raster image is no reference
        element.set("href", f"#{prefix}-{target[1:]}" if target.startswith("#") else target)
    for key, value in element.attrib.items():
        element.set(key, REFERENCE.sub(rf"url(#{prefix}-\1)", value))
    if "d" in element.attrib:
        steps = " ".join(LONG.sub(_short, element.attrib["d"]).split())
        element.set("d", re.sub(r" ?([A-Za-z]) ?", r"\1", steps))
    for key in {"x", "y", "width", "height"} & set(element.keys()):
        element.set(key, LONG.sub(_short, element.attrib[key]))
    if "transform" in element.attrib:
        moved = SHIFT.sub(lambda shift: LONG.sub(_short, shift[0]), element.attrib["transform"])
        element.set("transform", moved)
    if "style" in element.attrib:
        element.set("style", element.attrib["style"].replace(": ", ":").replace("; ", ";"))


def _short(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".").replace("-0.", "-.") or "0"


def _box(root: ElementTree.Element, panel: int) -> np.ndarray:
    """Left, right, bottom and top of a panel in the coordinates of the figure."""
    background = root.find(f".//*[@id='{panel_name(panel)}']/{SVG}path")
    assert background is not None
    corners = np.array(re.findall(r"-?[\d.]+", background.attrib["d"]), dtype=float).reshape(-1, 2)
    x, y = corners.T
    return np.array([x.min(), x.max(), y.max(), y.min()])


def _group(left: Placed, box: np.ndarray) -> MarkedGroup:
    points = [box[[0, 2]] + each * (box[[1, 3]] - box[[0, 2]]) for each in left.points]
    every = zip(left.rows, points, left.beyond, strict=True)
    rows = [_row(*each) for each in every]
    share_points = any(row.seen is not None for row in left.rows)
    return MarkedGroup(
        left.readings.name,
        "|".join(left.readings.places),
        left.readings.colour,
        left.readings.quiet,
        left.readings.summary,
        _dots(points[0]) if share_points else "",
        [row for row in rows if row.values.strip("|")],
    )


def _row(row: Row, points: np.ndarray, beyond: np.ndarray) -> MarkedRow:
    known = np.isfinite(points).all(1)
    values = [
        (f"{word}, beyond the frame" if is_beyond else word) if is_known else ""
        for word, is_known, is_beyond in zip(row.words, known, beyond, strict=True)
    ]
    drawn = known if row.seen is None else known & row.seen
    return MarkedRow(row.who, _dots(points[drawn]), "|".join(values))


def _dots(points: np.ndarray) -> str:
    return "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)
