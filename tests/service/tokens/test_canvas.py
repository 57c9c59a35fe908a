"""Edits of small tokens whose answers are worked out by hand, and what is said where one can't be done."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.errors import BadEdit
from service.tokens.canvas import apply_edits
from service.tokens.edits import parse_edits
from service.tokens.types import Floats

GRID = (2, 2)
# Three tokens of two numbers, four places: (x, y) = (0, 0), (1, 0), (0, 1), (1, 1).
S = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
L = np.array([[0.5, 0.25, 0.25], [0.2, 0.2, 0.6], [0.1, 0.8, 0.1], [0.4, 0.4, 0.2]], np.float32)
DONOR = np.array([[10, 20], [30, 40], [50, 60]], np.float32)


def edit(
    *edits: dict[str, Any], places: Floats = L, donors: tuple[Floats, ...] = ()
) -> tuple[Floats, Floats]:
    return apply_edits(S, places, GRID, parse_edits(list(edits), 64), donors)


def assert_places(got: Floats, expected: Any) -> None:
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert got.dtype == np.float32


def test_no_edits_change_nothing() -> None:
    semantics, places = edit()
    np.testing.assert_array_equal(semantics, S)
    assert_places(places, L)


def test_drop_gives_its_places_to_the_others() -> None:
    semantics, places = edit({"op": "drop", "token": 1})
    np.testing.assert_array_equal(semantics, S)
    assert_places(places, [[2 / 3, 0, 1 / 3], [0.25, 0, 0.75], [0.5, 0, 0.5], [2 / 3, 0, 1 / 3]])


def test_keep_drops_the_others() -> None:
    _, places = edit({"op": "keep", "tokens": [0, 2]})
    assert_places(places, edit({"op": "drop", "token": 1})[1])


def test_scale_gives_more_of_every_place() -> None:
    _, places = edit({"op": "scale", "token": 0, "factor": 2})
    assert_places(
        places,
        [
            [2 / 3, 1 / 6, 1 / 6],
            [1 / 3, 1 / 6, 1 / 2],
            [2 / 11, 8 / 11, 1 / 11],
            [4 / 7, 2 / 7, 1 / 7],
        ],
    )


def test_scale_by_zero_is_drop() -> None:
    assert_places(edit({"op": "scale", "token": 1, "factor": 0})[1], edit({"op": "drop", "token": 1})[1])


def test_scale_by_one_changes_nothing() -> None:
    assert_places(edit({"op": "scale", "token": 1, "factor": 1})[1], L)


def test_swap_exchanges_what_is_shown() -> None:
    semantics, places = edit({"op": "swap", "tokens": [0, 2]})
    np.testing.assert_array_equal(semantics, [[5, 6], [3, 4], [1, 2]])
    assert_places(places, L)


def test_replace_takes_a_token_of_a_donor() -> None:
    semantics, places = edit({"op": "replace", "token": 1, "with": {"donor": 0, "token": 2}}, donors=(DONOR,))
    np.testing.assert_array_equal(semantics, [[1, 2], [50, 60], [5, 6]])
    assert_places(places, L)


def test_replace_takes_numbers() -> None:
    semantics, _ = edit({"op": "replace", "token": 0, "with": {"semantics": [7, 8]}})
    np.testing.assert_array_equal(semantics, [[7, 8], [3, 4], [5, 6]])


@pytest.mark.parametrize(("alpha", "row"), [(0, [1, 2]), (0.25, [8.25, 11.5]), (1, [30, 40])])
def test_blend_moves_towards_a_token(alpha: float, row: list[float]) -> None:
    toward = {"donor": 0, "token": 1}
    semantics, _ = edit({"op": "blend", "token": 0, "toward": toward, "alpha": alpha}, donors=(DONOR,))
    np.testing.assert_array_equal(semantics, [row, S[1], S[2]])


def test_move_shifts_a_token_s_places() -> None:
    """Token 0 moves one cell right: its column (0.5, 0.2, 0.1, 0.4) becomes (0, 0.5, 0, 0.1)."""
    _, places = edit({"op": "move", "token": 0, "dx": 1, "dy": 0})
    assert_places(
        places,
        [
            [0, 0.5, 0.5],
            [0.5 / 1.3, 0.2 / 1.3, 0.6 / 1.3],
            [0, 8 / 9, 1 / 9],
            [0.1 / 0.7, 0.4 / 0.7, 0.2 / 0.7],
        ],
    )


def test_move_up_shifts_rows() -> None:
    """One cell up: the column becomes (0.1, 0.4, 0, 0)."""
    _, places = edit({"op": "move", "token": 0, "dx": 0, "dy": -1})
    column = np.array([0.1, 0.4, 0, 0])
    rest = L[:, 1:].sum(1)
    assert_places(places[:, 0], column / (column + rest))


@pytest.mark.parametrize("shift", [(2, 0), (0, -2), (-10, 10), (10**30, 0)])
def test_move_out_of_the_picture_leaves_nothing(shift: tuple[int, int]) -> None:
    _, places = edit({"op": "move", "token": 1, "dx": shift[0], "dy": shift[1]})
    assert_places(places, edit({"op": "drop", "token": 1})[1])


def test_paint_gives_a_rectangle_whole() -> None:
    _, places = edit({"op": "paint", "token": 2, "rectangle": [1, 0, 2, 2]})
    assert_places(places, [L[0], [0, 0, 1], L[2], [0, 0, 1]])


def test_paint_gives_cells_whole() -> None:
    _, places = edit({"op": "paint", "token": 0, "cells": [[0, 1], [1, 0], [0, 1]]})
    assert_places(places, [L[0], [1, 0, 0], [1, 0, 0], L[3]])


def test_edits_are_applied_in_their_order() -> None:
    """Paint and then drop is not drop and then paint; a swap before a replacement moves what it replaces."""
    semantics, places = edit(
        {"op": "swap", "tokens": [0, 1]},
        {"op": "replace", "token": 0, "with": {"semantics": [7, 8]}},
        {"op": "drop", "token": 2},
        {"op": "scale", "token": 1, "factor": 3},
        {"op": "paint", "token": 1, "cells": [[0, 0]]},
    )
    np.testing.assert_array_equal(semantics, [[7, 8], [1, 2], [5, 6]])
    assert_places(places, [[0, 1, 0], [0.25, 0.75, 0], [1 / 25, 24 / 25, 0], [0.25, 0.75, 0]])


def test_row_that_lost_all_mass_takes_the_softmax_of_the_others() -> None:
    """A place painted with token 2 goes back to tokens 0 and 1, as 0.5 to 0.25, when token 2 is dropped."""
    _, places = edit({"op": "paint", "token": 2, "cells": [[0, 0]]}, {"op": "drop", "token": 2})
    assert_places(places[0], [2 / 3, 1 / 3, 0])


def test_row_that_only_the_moved_token_held_goes_to_the_others() -> None:
    _, places = edit(
        {"op": "paint", "token": 0, "cells": [[0, 0]]}, {"op": "move", "token": 0, "dx": 1, "dy": 0}
    )
    assert_places(places[0], [0, 0.5, 0.5])


def test_row_that_one_token_held_wholly_is_shared_when_it_goes() -> None:
    places = np.tile(np.array([[1, 0, 0]], np.float32), (4, 1))
    assert_places(edit({"op": "drop", "token": 0}, places=places)[1], [[0, 0.5, 0.5]] * 4)


def test_lone_token_keeps_its_places_however_little_it_is_scaled() -> None:
    """A factor above 0 takes nothing away where nobody else is."""
    _, places = edit(
        {"op": "paint", "token": 0, "cells": [[0, 0]]}, {"op": "scale", "token": 0, "factor": 1e-30}
    )
    assert_places(places[0], [1, 0, 0])


def test_arguments_are_not_changed() -> None:
    semantics, places = S.copy(), L.copy()
    edits: list[dict[str, Any]] = [
        {"op": "drop", "token": 0},
        {"op": "swap", "tokens": [1, 2]},
        {"op": "paint", "token": 1, "cells": [[0, 0]]},
    ]
    apply_edits(semantics, places, GRID, parse_edits(edits, 3))
    np.testing.assert_array_equal(semantics, S)
    np.testing.assert_array_equal(places, L)


def random_edit(source: np.random.Generator, alive: list[int], side: int) -> dict[str, Any]:
    token = int(source.choice(alive))
    other = int(source.choice(alive))
    x, y = (int(v) for v in source.integers(0, side, 2))
    choices: list[dict[str, Any]] = [
        {"op": "scale", "token": token, "factor": float(10 ** source.uniform(-300, 300))},
        {"op": "swap", "tokens": [token, other]},
        {"op": "blend", "token": token, "toward": {"donor": 0, "token": 0}, "alpha": 0.3},
        {"op": "replace", "token": token, "with": {"donor": 0, "token": 1}},
        {"op": "move", "token": token, "dx": int(source.integers(-3, 4)), "dy": int(source.integers(-3, 4))},
        {"op": "paint", "token": token, "rectangle": [x, y, side, side]},
    ]
    if len(alive) > 1:
        choices.append({"op": "drop", "token": token})
    return choices[int(source.integers(len(choices)))]


def test_rows_sum_to_1_after_any_sequence() -> None:
    source = np.random.default_rng(0)
    side, tokens = 5, 6
    for _ in range(150):
        logits = source.normal(0, source.choice([1, 10, 60]), (side * side, tokens))
        places = np.exp(logits - logits.max(1, keepdims=True))
        places = (places / places.sum(1, keepdims=True)).astype(np.float32)
        semantics = source.normal(size=(tokens, 2)).astype(np.float32)
        alive, edits = list(range(tokens)), []
        for _ in range(12):
            edits.append(random_edit(source, alive, side))
            if edits[-1]["op"] == "drop":
                alive.remove(edits[-1]["token"])
        edited, moved = apply_edits(semantics, places, (side, side), parse_edits(edits, 64), [DONOR])
        np.testing.assert_allclose(moved.sum(1), 1, atol=1e-5, err_msg=str(edits))
        assert (moved >= 0).all()
        assert np.isfinite(edited).all()
        gone = [k for k in range(tokens) if k not in alive]
        assert (moved[:, gone] == 0).all()


def test_largest_numbers_and_factors_give_finite_tokens() -> None:
    largest = {"semantics": [65_504, -65_504]}
    semantics, places = edit(
        {"op": "replace", "token": 0, "with": largest},
        {"op": "blend", "token": 1, "toward": largest, "alpha": 0.5},
        {"op": "scale", "token": 2, "factor": 1.7e308},
        {"op": "scale", "token": 2, "factor": 1.7e308},
    )
    assert np.isfinite(semantics).all()
    np.testing.assert_allclose(places.sum(1), 1, atol=1e-6)


IMPOSSIBLE: list[tuple[list[dict[str, Any]], str]] = [
    ([{"op": "drop", "token": 3}], "edits[0] (drop): there are tokens 0 to 2, got 3."),
    (
        [{"op": "drop", "token": 0}, {"op": "drop", "token": 0}],
        "edits[1] (drop): token 0 was dropped before.",
    ),
    (
        [{"op": "drop", "token": 0}, {"op": "swap", "tokens": [1, 0]}],
        "edits[1] (swap): token 0 was dropped before.",
    ),
    (
        [{"op": "drop", "token": 0}, {"op": "paint", "token": 0, "cells": [[0, 0]]}],
        "edits[1] (paint): token 0 was dropped before.",
    ),
    ([{"op": "swap", "tokens": [7, 0]}], "edits[0] (swap): there are tokens 0 to 2, got 7."),
    ([{"op": "move", "token": 7, "dx": 0, "dy": 0}], "edits[0] (move): there are tokens 0 to 2, got 7."),
    ([{"op": "keep", "tokens": [0, 7]}], "edits[0] (keep): there are tokens 0 to 2, got 7."),
    (
        [{"op": "keep", "tokens": [2]}, {"op": "drop", "token": 2}],
        "edits[1] (drop): no token would be left.",
    ),
    (
        [{"op": "replace", "token": 0, "with": {"semantics": [1, 2, 3]}}],
        "edits[0] (replace): semantics: expected 2 numbers, got 3.",
    ),
    (
        [{"op": "blend", "token": 0, "toward": {"donor": 1, "token": 0}, "alpha": 0.5}],
        "edits[0] (blend): donor 1 was not sent: there are 1 donor images.",
    ),
    (
        [{"op": "replace", "token": 0, "with": {"donor": 0, "token": 3}}],
        "edits[0] (replace): the donor has tokens 0 to 2, got 3.",
    ),
    (
        [{"op": "paint", "token": 0, "rectangle": [0, 0, 3, 1]}],
        "edits[0] (paint): rectangle: expected left < right ≤ 2 and top < bottom ≤ 2, got [0, 0, 3, 1].",
    ),
    ([{"op": "paint", "token": 0, "rectangle": [1, 0, 1, 1]}], "edits[0] (paint): rectangle: expected"),
    (
        [{"op": "paint", "token": 0, "cells": [[0, 0], [2, 0]]}],
        "edits[0] (paint): cells: the grid has 2 × 2 cells, got [2, 0].",
    ),
]


@pytest.mark.parametrize(("edits", "message"), IMPOSSIBLE)
def test_impossible_edit_is_named(edits: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(BadEdit) as caught:
        edit(*edits, donors=(DONOR,))
    assert caught.value.detail.startswith(message)
