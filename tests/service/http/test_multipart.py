"""A form is read in slices, however much of it comes at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from service.http.multipart import SLICE_BYTES, read_form

SLICES = 20
CONTENT = b"\r\n--b\r" * (SLICES * SLICE_BYTES // 6)
"""Begins like a boundary again and again."""
FORM = b"--b\r\ncontent-disposition: form-data; name=image\r\n\r\n" + CONTENT + b"\r\n--b--\r\n"


def test_others_have_their_turn_while_a_form_that_came_at_once_is_read() -> None:
    async def at_once() -> AsyncIterator[bytes]:
        yield FORM

    async def main() -> None:
        reading = asyncio.create_task(read_form("multipart/form-data; boundary=b", at_once(), 1))
        turns = 0
        while not reading.done():
            await asyncio.sleep(0)
            turns += 1
        (part,) = await reading
        assert part.content.getvalue() == CONTENT
        assert turns >= SLICES

    asyncio.run(main())
