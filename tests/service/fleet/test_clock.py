"""Redis's clock is known within bounds that every answer narrows."""

from __future__ import annotations

import pytest

from service.fleet.clock import Clock


def test_quick_answers_tell_more_than_slow_ones() -> None:
    clock = Clock()
    clock.hear(1000.5, sent=10.0, received=11.0)
    assert clock.at(11.0) == pytest.approx(1001.5)
    clock.hear(1001.501, sent=11.5, received=11.502)
    assert clock.at(11.502) == pytest.approx(1001.503, abs=1e-5)
    clock.hear(1002.0, sent=11.6, received=12.4)  # by itself it would leave 0.4 s open
    assert clock.at(12.4) == pytest.approx(1002.401, abs=2e-3)


def test_time_is_never_told_too_early() -> None:
    """Whatever the way there and back take, and with a clock that runs a little faster."""
    clock = Clock()
    for second in range(100):
        sent, there, back = float(second), 0.3 * (second % 3), 0.4 * (second % 2)
        redis_s = 5000 + (sent + there) * 1.0005
        clock.hear(redis_s, sent=sent, received=sent + there + back)
        now = sent + there + back
        assert clock.at(now) >= 5000 + now * 1.0005 - 1e-6


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_jump_of_the_clock_is_believed_at_once(jump: float) -> None:
    clock = Clock()
    clock.hear(1000.0, sent=1.0, received=1.002)
    clock.hear(1001.0 + jump, sent=2.0, received=2.002)
    assert clock.at(2.002) == pytest.approx(1001.0 + jump, abs=0.01)
