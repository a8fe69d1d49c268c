"""Reads the chapters and the programs of pages in docs/."""

import re


def chapter(text: str, title: str) -> str:
    """Returns the text below a heading."""
    found = text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert found, title
    return found


def blocks(text: str) -> list[tuple[str, str]]:
    """Returns the fenced blocks: the language and the text of each."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
