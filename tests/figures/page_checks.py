"""What every page of figures holds to."""

import base64
import hashlib
import re
from collections import Counter


def check_closed(page: str) -> None:
    """Nothing of a page leads outside, and its policy lets its own script run alone."""
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 1
    assert page.count("<script") == 1 + page.count('<script type="application/json"')
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None and page.index("<meta charset") < policy.start()
    assert policy[1].startswith(f"default-src 'none'; script-src 'sha256-{digest}'; ")
    assert page.index("<style") > policy.end() and page.index("<script") > policy.end()
    outside = r"https?://|<link|<iframe|@import|url\((?!#)|src=\"|href=\"(?!#|data:)"
    assert not re.search(outside, page)


def check_names(page: str) -> None:
    """Every name is given once, and every reference to one finds it."""
    names = Counter(re.findall(r'\sid="([^"]*)"', page))
    assert set(names.values()) == {1}
    asked = set(re.findall(r'(?:href="#|url\(#)([^")]*)', page))
    assert asked <= set(names)
