"""Whose turn it is, and how much anybody may have waiting."""

from __future__ import annotations

import pytest

from service.batching.lanes import Admission, Lanes, lane_capacity
from service.errors import QueueFull


def test_small_items_go_first_and_bulk_work_has_every_fourth_turn() -> None:
    lanes: Lanes[str] = Lanes()
    for i in range(8):
        lanes.put(f"bulk {i}", "bulk")
        lanes.put(f"small {i}", "small")
    order = [lanes.pop() for _ in range(len(lanes))]
    assert order[:8] == [
        *("small 0", "small 1", "small 2", "bulk 0"),
        *("small 3", "small 4", "small 5", "bulk 1"),
    ]
    assert sorted(order) == sorted(f"{lane} {i}" for lane in ("small", "bulk") for i in range(8))
    with pytest.raises(IndexError):
        lanes.pop()


def test_a_lane_alone_has_every_turn() -> None:
    lanes: Lanes[int] = Lanes()
    for i in range(5):
        lanes.put(i, "bulk")
    assert [lanes.pop() for _ in range(5)] == [0, 1, 2, 3, 4]


def test_a_quarter_is_kept_for_small_work() -> None:
    assert [lane_capacity("small", n) for n in (1, 4, 100)] == [1, 4, 100]
    assert [lane_capacity("bulk", n) for n in (1, 4, 100)] == [1, 3, 75]


def test_a_client_with_much_at_work_is_bulk_and_others_are_not() -> None:
    admission = Admission(max_admitted=100, small_items=8)
    assert [admission.lane("a", n) for n in (8, 9)] == ["small", "bulk"]
    with admission.admit("a", 6, "small"):
        assert [admission.lane("a", n) for n in (2, 3)] == ["small", "bulk"]
        assert admission.lane("b", 8) == "small"
    assert admission.lane("a", 8) == "small"


def test_images_that_weigh_much_make_a_client_bulk_and_take_no_places() -> None:
    admission = Admission(max_admitted=2, small_items=8)
    with admission.admit("a", 1, "small"), admission.weigh("a", 8):
        assert [admission.lane(client, 1) for client in "ab"] == ["bulk", "small"]
        with admission.admit("b", 1, "small"):
            pass
    assert admission.lane("a", 8) == "small"


def test_a_crowd_of_one_client_leaves_places_for_others() -> None:
    admission = Admission(max_admitted=8, small_items=2)
    with admission.admit("crowd", 6, "bulk"):
        with pytest.raises(QueueFull), admission.admit("crowd", 1, "bulk"):
            pass
        with admission.admit("other", 2, "small"):
            pass


def test_work_without_images_leaves_the_count_right() -> None:
    admission = Admission(max_admitted=8, small_items=2)
    one, other = admission.admit("a", 0, "small"), admission.admit("a", 0, "small")
    with one, other:
        assert admission.lane("a", 2) == "small"
    with admission.admit("a", 2, "small"):
        assert admission.lane("a", 1) == "bulk"
