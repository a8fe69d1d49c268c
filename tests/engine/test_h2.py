"""The binding plays the vectors of HTTP/2 in tests/vectors/h2."""

import pytest
import vectors


@pytest.mark.parametrize("case", vectors.load("h2"))
def test_vector(case: vectors.Case) -> None:
    vectors.run(case)
