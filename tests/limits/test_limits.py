"""Every attack, in small: nobody else is harmed, and nothing is answered that a client can't act on."""

from __future__ import annotations

import re
from pathlib import Path

from tests.limits.__main__ import goals_missed
from tests.limits.attacks import attacks
from tests.limits.victim import victim

SIZE = 0.02
SLOW = re.compile("stall")
"""Waits for the service's own time limits, which test_connection.py has shorter."""
UNDERSTOOD = re.compile(
    r"2\d\d|4\d\d|/healthz/ready 200|503 too_busy"
    r"|OK|INVALID_ARGUMENT|NOT_FOUND|RESOURCE_EXHAUSTED|UNAVAILABLE too_busy|DEADLINE_EXCEEDED"
)


def test_attacks_harm_nobody_but_their_sender(tmp_path: Path) -> None:
    with victim(tmp_path) as server:
        for attack in attacks(SIZE):
            if SLOW.search(attack.name):
                continue
            harm, answers = server.suffer(attack.run)
            assert all(UNDERSTOOD.match(answer) for answer in answers), (attack.name, answers)
            missed = goals_missed(attack, harm, longest_stop_s=2.0, longest_wait_s=20.0)
            assert not missed, (attack.name, missed, harm)
