"""A multipart form (RFC 7578), read whole: its parts, and whether each is a file or the value of a field."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass, field

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from service.errors import BadRequest, IncompleteForm, TooManyImages, shown

TEXT_TYPES = (b"", b"text/plain", b"application/json")
"""Content types of parts that are values, unless they have a file name."""
MAX_PARAMETERS = 32
"""Most semicolons of a header that is taken apart, which is slow."""
SLICE_BYTES = 2**15
"""What is parsed in one go, between which others have their turn: what begins like a boundary takes long."""
PREAMBLE_BYTES = 2**12
"""Most bytes before the first boundary."""


@dataclass
class Part:
    """A file or a field."""

    name: str = ""
    content: io.BytesIO = field(default_factory=io.BytesIO)
    has_file_name: bool = False
    content_type: bytes = b""

    @property
    def is_file(self) -> bool:
        """Whether it is told to be one: by a file name, or by the type of what it holds."""
        return self.has_file_name or self.content_type not in TEXT_TYPES

    @property
    def size(self) -> int:
        """Bytes of its content."""
        return self.content.tell()


class _Form:
    """What the parser tells of a form."""

    def __init__(self, max_parts: int) -> None:
        self.parts: list[Part] = []
        self.complete = False
        self._max_parts = max_parts
        self._header, self._value = bytearray(), bytearray()

    def on_part_begin(self) -> None:
        if len(self.parts) == self._max_parts:
            raise TooManyImages(
                f"A form may have {self._max_parts} parts, images and options together: send fewer at once."
            )
        self.parts.append(Part())

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        part, header, value = self.parts[-1], bytes(self._header).lower(), bytes(self._value)
        self._header.clear()
        self._value.clear()
        if header == b"content-type":
            part.content_type = value.partition(b";")[0].strip().lower()
        elif header == b"content-disposition" and not part.name:
            options = _parameters(value)
            part.has_file_name = b"filename" in options or b"filename*=" in value.lower()
            name = options.get(b"name", b"")
            part.name = name.decode("utf-8", "replace")

    def on_headers_finished(self) -> None:
        if not self.parts[-1].name:
            raise BadRequest(
                "A part of the form has no name: expected Content-Disposition: form-data; name=image."
            )

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].content.write(memoryview(data)[start:end])

    def on_end(self) -> None:
        self.complete = True


def _parameters(header: bytes) -> dict[bytes, bytes]:
    """What stands behind a header's value. Raises `BadRequest` for more than anybody has."""
    if header.count(b";") > MAX_PARAMETERS:
        raise BadRequest(f"A header of the form may have {MAX_PARAMETERS} parameters: send fewer.")
    return parse_options_header(header)[1]


async def read_form(content_type: str, stream: AsyncIterable[bytes], max_parts: int) -> list[Part]:
    """The parts of a form, of which there are `max_parts` at most; none where there is no body at all.

    Raises `BadRequest`, `IncompleteForm` and `TooManyImages`.
    """
    boundary = _parameters(content_type.encode("latin-1")).get(b"boundary")
    if not boundary:
        raise BadRequest(
            "multipart/form-data: the boundary is missing; let the client write the Content-Type itself."
        )
    form, empty = _Form(max_parts), True
    callbacks = {name: getattr(form, name) for name in dir(form) if name.startswith("on_")}
    try:
        parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]
        async for chunk in _from_first(b"--" + boundary, stream):
            empty = empty and not chunk
            for at in range(0, len(chunk), SLICE_BYTES):
                parser.write(chunk[at : at + SLICE_BYTES])
                await asyncio.sleep(0)
    except FormParserError as error:
        raise BadRequest(f"The body is no form: {error}") from None
    if not form.complete and not empty:
        raise IncompleteForm(
            "The form ends before its last boundary, so that something may be missing: "
            "send it whole, with --BOUNDARY-- at its end."
        )
    return form.parts


async def _from_first(delimiter: bytes, stream: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """A form from its first delimiter: what stands before says nothing (RFC 2046, 5.1.1).

    The parser skips it only where both come at once. Raises `BadRequest` where it is long, or all there is.
    """
    before, begun, most = b"", False, PREAMBLE_BYTES + len(delimiter)
    async for chunk in stream:
        if begun:
            yield chunk
            continue
        before += chunk
        start = 0 if before.startswith(delimiter) else before.find(b"\n" + delimiter, 0, most) + 1
        begun = start > 0 or before.startswith(delimiter)
        if begun:
            yield before[start:]
        elif len(before) >= most:
            break
    if before and not begun:
        raise BadRequest(
            f"The body is no form: none of its first lines begins with {shown(delimiter.decode('latin-1'))}, "
            "the boundary that Content-Type names."
        )
