"""Text stands out from what is behind it in light and dark: WCAG 2.2, success criteria 1.4.3 and
1.4.11, from the colours of the style sheet.
"""

import re
from pathlib import Path

import pytest

from figures import style, template

SHEET = (Path(template.__file__).parent / "page" / "style.css").read_text(encoding="utf-8")
TEXT, GRAPHIC = 4.5, 3.0
ROOTS = re.findall(r":root \{(.*?)\}", SHEET, re.DOTALL)


def variables(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z]+): (#[0-9a-f]{3,6});", block))


SCHEMES = dict(zip(("light", "dark", "print"), map(variables, ROOTS), strict=True))


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    pairs = [2 * digit for digit in digits] if len(digits) == 3 else re.findall("..", digits)
    parts = [int(pair, 16) / 255 for pair in pairs]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


def test_every_scheme_has_the_same_colours() -> None:
    assert len({frozenset(scheme) for scheme in SCHEMES.values()}) == 1
    assert set(re.findall(r"var\(--([a-z]+)\)", SHEET)) == set(SCHEMES["light"])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_can_be_read(scheme: str) -> None:
    colours = SCHEMES[scheme]
    for text in ("ink", "soft", "accent"):
        for ground in ("page", "on", "code"):
            assert contrast(colours[text], colours[ground]) >= TEXT, (text, ground)
    # borders of fields and buttons
    assert contrast(colours["strong"], colours["page"]) >= GRAPHIC


def test_text_on_the_card_of_a_figure_can_be_read_in_both_schemes() -> None:
    fixed = set(re.findall(r"[^-]color: (#[0-9a-f]{3,6})", SHEET)) - {"#fff"}
    for colour in fixed:
        assert contrast(colour, "#ffffff") >= TEXT, colour
    assert contrast("#fff", "#1a1a1a") >= TEXT  # what is read out
    for colour in (*style.COLOURS.values(), style.INK):
        assert contrast(colour, "#ffffff") >= GRAPHIC, colour
