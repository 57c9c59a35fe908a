"""Lists of numbers, against what NumPy makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.http.numbers import flat_numbers


@pytest.mark.parametrize("shape", [(0,), (6,), (2, 3), (1, 2, 3, 4), (1, 1, 1), (3, 70_000)])
def test_lists_are_flattened(shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape)).reshape(shape) / 4
    np.testing.assert_array_equal(flat_numbers(array.tolist()), array.ravel())


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (3, "a list of numbers"),
        ({"a": 1}, "a list of numbers"),
        ("AAAA", "a list of numbers"),
        ([1, [2]], "expected numbers in a flat or an evenly nested list"),
        ([[1], 2], "evenly nested"),
        ([[1], [2, 3]], "evenly nested"),
        ([[1], [[2]]], "evenly nested"),
        ([[1, 2], "ab"], "evenly nested"),
        (["1"], "expected numbers"),
        ([None], "expected numbers"),
        ([True], "expected numbers"),
        ([10**400], "64 bits"),
        ([0] * 150_000 + ["1"], "expected numbers"),
    ],
)
def test_other_things_are_refused(value: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        flat_numbers(value)


def test_whole_numbers_are_told_from_others() -> None:
    assert flat_numbers([1, 2], whole=True).tolist() == [1, 2]
    with pytest.raises(ValueError, match="expected whole numbers"):
        flat_numbers([1, 2.0], whole=True)
