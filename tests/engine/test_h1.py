"""The binding plays the vectors of HTTP/1 in tests/vectors/h1."""

import pytest
import vectors


@pytest.mark.parametrize("case", vectors.load("h1"))
def test_vector(case: vectors.Case) -> None:
    vectors.run(case)
