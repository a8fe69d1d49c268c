"""docs/glossary.md: the words are in order, and the files beside them exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
TEXT = (ROOT / "docs" / "glossary.md").read_text()
ROWS = re.findall(r"^\| ([\w -]+) \| (.+) \| (`.+`) \|$", TEXT, re.MULTILINE)


def test_the_words_are_in_order() -> None:
    words = [word for word, _, _ in ROWS]
    assert len(words) >= 20
    assert words == sorted(set(words))


@pytest.mark.parametrize(("word", "meaning", "files"), ROWS, ids=[row[0] for row in ROWS])
def test_each_word_has_a_sentence_and_a_file(word: str, meaning: str, files: str) -> None:
    assert meaning.endswith(".")
    for name in re.findall(r"`([^`]+)`", files):
        assert (ROOT / name).is_file(), name
