"""Chapters of the pages, and the code blocks in them."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def chapter(page: str, title: str = "") -> str:
    """The text of a page below a heading, up to the next one of its rank or above; all of it without a title."""
    text = (REPOSITORY / page).read_text()
    if not title:
        return text
    found = re.search(rf"^(#+) {re.escape(title)}\n", text, re.MULTILINE)
    assert found is not None, f"{page} has no chapter {title}"
    below = text[found.end() :]
    plain = re.sub(r"^```.*?^```", lambda block: " " * len(block[0]), below, flags=re.DOTALL | re.MULTILINE)  # has comments
    after = re.search(rf"^#{{1,{len(found[1])}}} ", plain, re.MULTILINE)
    return below if after is None else below[: after.start()]


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def commands_on(block: str) -> list[tuple[str, str]]:
    """The commands of a console block that says where each is typed (`[one]# …`, `[all]$ …`), and where, in their order."""
    return re.findall(r"^\[(\w+)\][#$] ((?:.*\\\n)*.*)$", block, re.MULTILINE)
