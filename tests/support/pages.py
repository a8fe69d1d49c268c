"""The programs in pages of docs/."""

import re


def chapter(text: str, title: str) -> str:
    """What is below a heading."""
    found = text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert found, title
    return found


def blocks(text: str) -> list[tuple[str, str]]:
    """What is fenced, and as what."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
