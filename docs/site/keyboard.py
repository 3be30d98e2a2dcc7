"""Code that scrolls sideways can be reached with the keyboard."""

from typing import Any


def on_page_content(html: str, **_: Any) -> str:
    """Put every block of code into the order of the Tab key."""
    return html.replace("<pre><span></span><code>", '<pre><span></span><code tabindex="0">')
