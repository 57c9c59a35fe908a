"""Endless tasks end when they are told to."""

from __future__ import annotations

import asyncio

from service.fleet.tasks import end


def test_a_cancellation_that_a_library_forgets_is_said_again() -> None:
    answers: list[asyncio.Future[None]] = []

    async def work() -> None:
        while True:
            answers.append(asyncio.get_running_loop().create_future())
            await asyncio.wait_for(answers[-1], 60)

    async def main() -> bool:
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        answers[0].set_result(None)  # in the same moment: Python 3.11 forgets the cancellation then
        await asyncio.wait_for(end([task]), 30)
        return task.cancelled()

    assert asyncio.run(main())
