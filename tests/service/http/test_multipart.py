"""A form is read in slices, however much of it comes at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from service.errors import BadRequest
from service.http.multipart import PREAMBLE_BYTES, SLICE_BYTES, read_form

SLICES = 20
CONTENT = b"\r\n--b\r" * (SLICES * SLICE_BYTES // 6)
"""Begins like a boundary again and again."""
KIND = "multipart/form-data; boundary=b"
FORM = b"--b\r\ncontent-disposition: form-data; name=image\r\n\r\n" + CONTENT + b"\r\n--b--\r\n"


def test_others_have_their_turn_while_a_form_that_came_at_once_is_read() -> None:
    async def at_once() -> AsyncIterator[bytes]:
        yield FORM

    async def main() -> None:
        reading = asyncio.create_task(read_form(KIND, at_once(), 1))
        turns = 0
        while not reading.done():
            await asyncio.sleep(0)
            turns += 1
        (part,) = await reading
        assert part.content.getvalue() == CONTENT
        assert turns >= SLICES

    asyncio.run(main())


PREAMBLE = b"This is a form of several parts.\r\n"
"""RFC 2046, 5.1.1."""
SHORT = b"--b\r\ncontent-disposition: form-data; name=image\r\n\r\nx\r\n--b--\r\n"


async def in_pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(body), size):
        yield body[at : at + size]


@pytest.mark.parametrize("size", [1, 7, 36, 1000])
@pytest.mark.parametrize("before", [b"", b"\r\n", PREAMBLE, 40 * PREAMBLE])
def test_what_stands_before_a_form_means_nothing_however_it_comes(before: bytes, size: int) -> None:
    (part,) = asyncio.run(read_form(KIND, in_pieces(before + SHORT, size), 1))
    assert (part.name, part.content.getvalue()) == ("image", b"x")


@pytest.mark.parametrize("size", [1, 1000, 100_000])
@pytest.mark.parametrize("before", [b"x", b"--a\r\n", 200 * PREAMBLE])
def test_what_is_no_form_is_refused_however_it_comes(before: bytes, size: int) -> None:
    after = SHORT if len(before) > PREAMBLE_BYTES else b""
    with pytest.raises(BadRequest, match="none of its first lines begins with"):
        asyncio.run(read_form(KIND, in_pieces(before + after, size), 1))
