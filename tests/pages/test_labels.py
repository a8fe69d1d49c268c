"""Each defect of the first libcno's engine has a test that carries its label."""

import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent

# The defects. The labels from N4 on are new, in the order of the list of defects.
DEFECTS = {
    "N1": "late frames on a stream that had ended killed the connection",
    "N2": "a head that came octet by octet cost the square of its size",
    "N3": "header blocks above two frames were corrupted on their way out",
    "N4": "GOAWAY with last id 0 or 2^31-1 was an error; with a code it ended what was processed",
    "N5": "one octet above content-length was taken, and told before the reset",
    "N6": "a client could not enable push, and died of one",
    "N7": "settings acted before their acknowledgement, wrapped a window, or were not checked",
    "N8": "nothing limited resets, cheap frames or the size of a field list",
    "N9": "fields of a connection, empty names, another host and any trailers passed",
    "N10": "TAB in a value was refused; a table size update that was missing was not noticed",
    "N11": "each piece of DATA cost a WINDOW_UPDATE",
    "N12": "a field too many ended the connection",
    "N13": "stream ids of 2^30 and above were lost, and could run out",
    "N14": "HTTP/1 messages that two servers could frame differently passed",
    "N15": "Connection: close was not kept to, nor what HTTP/1.0 and 204 cannot have",
    "N16": "a client's request that had to wait leaked a stream and blocked for good; no Host",
    "N17": "buffers never shrank",
}


@cache
def labelled() -> set[str]:
    """Returns the labels in titles of vectors and in names of tests in C or Python."""
    found = set()
    for path in TESTS.glob("vectors/*/*.txt"):
        found |= set(re.findall(r"^== (N\d+): .*\S", path.read_text(), re.MULTILINE))
    for path in [*TESTS.glob("c/test_*.c"), *TESTS.glob("*/test_*.py")]:
        names = re.findall(r"^(?:static void|def|async def) test_(n\d+)_", path.read_text(), re.M)
        found |= {name.upper() for name in names}
    return found


@pytest.mark.parametrize("label", DEFECTS)
def test_defect_has_a_test(label: str) -> None:
    assert label in labelled(), f"nothing tests that {DEFECTS[label]}"


def test_labels_are_known() -> None:
    assert labelled() <= set(DEFECTS)
