"""How long a client waits before it tries again."""

from __future__ import annotations

import asyncio

import httpx
from httpx_retries import Retry

BACKOFF_S = 0.25
MAX_WAIT_S = 30


class Patience(Retry):
    """Waits as long as the service says and then a random while that doubles each time.

    A full service tells everybody the same time: those who come back all at once find it full again.
    """

    async def asleep(self, response: httpx.Response | Exception) -> None:
        await super().asleep(response)
        await asyncio.sleep(self.backoff_strategy())


def patience(retries: int) -> Patience:
    """For `retries` more attempts: without an answer, or with 429, 502, 503 or 504."""
    return Patience(
        total=retries,
        allowed_methods=("GET", "POST"),  # the same request has the same answer
        backoff_factor=BACKOFF_S,
        max_backoff_wait=MAX_WAIT_S,
    )
