"""What is said of bad edits."""

from __future__ import annotations

from typing import Any

import pytest

from service.errors import BadEdit
from service.tokens.edits import MOST, Keep, Paint, parse_edits

BAD_FORMS: list[tuple[Any, str]] = [
    ("drop", "edits: expected a list of edits."),
    ({"op": "drop", "token": 0}, "edits: expected a list of edits."),
    ([3], "edits[0]: "),
    ([{}], "edits[0]: "),
    ([{"op": "erase", "token": 0}], "edits[0]: Input tag 'erase' found using 'op' does not match"),
    ([{"op": "drop"}], "edits[0].token: Field required"),
    ([{"op": "drop", "token": -1}], "edits[0].token: Input should be greater than or equal to 0, got -1"),
    ([{"op": "drop", "token": "1"}], "edits[0].token: Input should be a valid integer, got '1'"),
    ([{"op": "drop", "token": 1.5}], "edits[0].token: Input should be a valid integer, got 1.5"),
    ([{"op": "drop", "token": True}], "edits[0].token: Input should be a valid integer"),
    ([{"op": "drop", "token": 0, "by": 2}], "edits[0].by: Extra inputs are not permitted, got 2"),
    ([{"op": "drop", "token": 0}, {"op": "keep", "tokens": []}], "edits[1].tokens: "),
    ([{"op": "scale", "token": 0, "factor": -1}], "edits[0].factor: "),
    ([{"op": "scale", "token": 0, "factor": float("nan")}], "edits[0].factor: "),
    ([{"op": "scale", "token": 0, "factor": float("inf")}], "edits[0].factor: "),
    ([{"op": "swap", "tokens": [0]}], "edits[0].tokens.1: Field required"),
    ([{"op": "swap", "tokens": [0, 1, 2]}], "edits[0].tokens: "),
    ([{"op": "replace", "token": 0}], "edits[0].with: Field required"),
    ([{"op": "replace", "token": 0, "with": {"donor": 0}}], "expected either donor and token, or semantics"),
    ([{"op": "replace", "token": 0, "with": {"token": 0}}], "expected either donor and token, or semantics"),
    ([{"op": "replace", "token": 0, "with": {}}], "expected either donor and token, or semantics"),
    (
        [{"op": "replace", "token": 0, "with": {"donor": 0, "token": 0, "semantics": [1, 2]}}],
        "expected either donor and token, or semantics",
    ),
    (
        [{"op": "replace", "token": 0, "with": {"semantics": [1, float("inf")]}}],
        "edits[0].with.semantics.1: ",
    ),
    ([{"op": "replace", "token": 0, "with": {"semantics": [1, 1e300]}}], "edits[0].with.semantics.1: "),
    ([{"op": "replace", "token": 0, "with": {"semantics": [1, -65_505]}}], "edits[0].with.semantics.1: "),
    ([{"op": "replace", "token": 0, "with": {"semantics": [0] * (MOST + 1)}}], "at most 16384 items"),
    ([{"op": "keep", "tokens": [0] * (MOST + 1)}], "edits[0].tokens: List should have at most 16384 items"),
    ([{"op": "paint", "token": 0, "cells": [[0, 0]] * (MOST + 1)}], "edits[0].cells: List should have"),
    ([{"op": "drop", "token": 0, "x" * 1000: 1}], f"edits[0].{'x' * 80}: Extra inputs"),
    ([{"op": "blend", "token": 0, "toward": {"semantics": [1, 2]}, "alpha": 1.1}], "edits[0].alpha: "),
    ([{"op": "move", "token": 0, "dx": 1}], "edits[0].dy: Field required"),
    ([{"op": "move", "token": 0, "dx": 0.5, "dy": 0}], "edits[0].dx: "),
    ([{"op": "paint", "token": 0}], "expected either rectangle or cells"),
    (
        [{"op": "paint", "token": 0, "rectangle": [0, 0, 1, 1], "cells": [[0, 0]]}],
        "expected either rectangle or cells",
    ),
    ([{"op": "paint", "token": 0, "cells": []}], "edits[0].cells: "),
    ([{"op": "paint", "token": 0, "rectangle": [0, 0, -1, 1]}], "edits[0].rectangle.2: "),
    ([{"op": "drop", "token": 0}] * 65, "edits: expected at most 64, got 65."),
]


@pytest.mark.parametrize(("edits", "message"), BAD_FORMS)
def test_malformed_edit_is_named(edits: Any, message: str) -> None:
    with pytest.raises(BadEdit) as caught:
        parse_edits(edits, 64)
    assert message in caught.value.detail
    assert caught.value.code == "bad_edit"
    assert caught.value.status == 400


def test_tokens_and_cells_are_kept_once_each_however_often_they_are_named() -> None:
    keep, paint = parse_edits(
        [
            {"op": "keep", "tokens": [2, 0, 2] * 1000},
            {"op": "paint", "token": 0, "cells": [[1, 0], [0, 0], [1, 0]]},
        ],
        2,
    )
    assert isinstance(keep, Keep)
    assert isinstance(paint, Paint)
    assert (keep.tokens, paint.cells) == ([2, 0], [(1, 0), (0, 0)])


def test_long_input_is_not_echoed() -> None:
    with pytest.raises(BadEdit) as caught:
        parse_edits([{"op": "drop", "token": "x" * 10_000}], 64)
    assert len(caught.value.detail) < 200
