"""JPEG files without the segments that Pillow stumbles over, and those that lack nothing but their end."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from PIL import Image

from service.errors import CorruptImage
from service.tokens.directory import orientation_alone

START, MAGIC = b"\xff\xd8", b"\xff\xd8\xff"
END = b"\xff\xd9"
COMMENT, FIRST_APP, LAST_APP, EXIF, SCAN, FILL = 0xFE, 0xE0, 0xEF, 0xE1, 0xDA, 0xFF
NO_FILL = re.compile(rb"[^\xff]")
EXIF_NAME = b"Exif\0\0"
WITHOUT_BODY = {0x01, *range(0xD0, 0xD9)}
LEAST_BYTES = {
    (0xE0, b"JFIF"): 14,
    (0xE1, b"http://ns.adobe.com/xap/1.0/\0"): 30,
    (0xE2, b"ICC_PROFILE\0"): 15,
    (0xEE, b"Adobe"): 12,
}
"""Application segments that are of use, by number and first bytes, with the least bytes they need."""
FRAMES = {marker for marker in range(0xC0, 0xD0) if marker not in (0xC4, 0xC8, 0xCC)}
PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
MAX_SEGMENTS = 4096
"""Before the pixels: 255 of a profile, and some hundreds of a depth map."""
NEXT_SCAN = b"\xff\xda"
MAX_SCANS = 128
"""Of a picture that is decoded scan by scan, each as long as the whole; programs write about ten."""
SCALES = (8, 4, 2, 1)
COEFFICIENT_BYTES = 2
ROWS = 64
RESTARTS = [bytes((0xFF, 0xD0 + i)) for i in range(8)]
NONSENSE = bytes(range(1, 120))
"""Data that no end of a picture looks like."""


class Frame(NamedTuple):
    """What a picture's header says (ITU T.81, B.2.2)."""

    width: int
    height: int
    factors: list[tuple[int, int]]
    """How densely each component is sampled, across and down."""
    buffered: bool
    """Whether its coefficients are all held until the last scan: it has more than one."""

    def decoded_bytes(self, short_side: int | None) -> int:
        """What decoding takes, at the scale that Pillow chooses for a picture with this short side."""
        room = min(self.width, self.height) // short_side if short_side else 1
        scale = next((scale for scale in SCALES if scale <= room), 1)
        pixels = -(-self.width // scale) * -(-self.height // scale)
        held = 0
        if self.buffered:
            across, down = (max(1, *factors) for factors in zip(*self.factors, strict=True))
            blocks = -(-self.width // (8 * across)) * -(-self.height // (8 * down))
            held = blocks * 64 * COEFFICIENT_BYTES * sum(h * v for h, v in self.factors)
        return pixels * (1 if len(self.factors) == 1 else 4) + held


def read_frame(data: bytes) -> Frame | None:
    """The picture's header, None where there is none; raises `CorruptImage` where there are two."""
    frame: Frame | None = None
    for marker, start, _ in _segments(data):
        if marker in FRAMES:
            if frame is not None:
                raise CorruptImage("The JPEG has more than one header.")
            height, width, count = struct.unpack_from(">HHB", data, start + 5)
            factors = [divmod(data[start + 11 + 3 * i], 16) for i in range(count)]
            frame = Frame(width, height, factors, marker in PROGRESSIVE)
        elif marker == SCAN and frame is not None:
            return frame._replace(buffered=frame.buffered or data[start + 4] < len(frame.factors))
    return None


def lean(data: bytes) -> bytes:
    """The file with what its colours are made of and what tells which side is up.

    Comments, further pictures' places and segments that are too short are dropped. Raises `CorruptImage`
    where there are more than `MAX_SEGMENTS` or `MAX_SCANS`.
    """
    kept = [data[:2]]
    rest, changed = 2, False
    components, buffered = 0, False
    for marker, start, end in _segments(data):
        if marker in FRAMES:
            components, buffered = data[start + 9], marker in PROGRESSIVE
        elif marker == SCAN:
            if (buffered or data[start + 4] < components) and data.count(NEXT_SCAN) > MAX_SCANS:
                raise CorruptImage(f"The JPEG has more than {MAX_SCANS} scans: save it anew.")
            break
        rest = end
        if marker == FILL or marker in WITHOUT_BODY:
            changed = True
            continue
        body = data[start + 4 : end]
        if marker == EXIF and body.startswith(EXIF_NAME):
            exif = orientation_alone(body[len(EXIF_NAME) :])
            if exif is not None:
                length = (2 + len(EXIF_NAME) + len(exif)).to_bytes(2)
                kept.append(b"".join((data[start : start + 2], length, EXIF_NAME, exif)))
            changed = True
        elif _useful(marker, body):
            kept.append(data[start:end])
        else:
            changed = True
    return b"".join((*kept, memoryview(data)[rest:])) if changed else data


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, beginning and end of what stands before the first scan's data."""
    start = 2
    for _ in range(MAX_SEGMENTS):
        if start + 4 > len(data):
            return
        marker = data[start + 1]
        if data[start] != 0xFF:  # junk, up to the next marker
            marker, end = FILL, data.find(b"\xff", start)
            if end < 0:
                return
        elif marker == FILL:  # any number of them may stand before a marker (B.1.1.2)
            found = NO_FILL.search(data, start)
            if found is None:
                return
            end = found.start() - 1
        elif marker in WITHOUT_BODY:
            end = start + 2
        else:
            end = start + 2 + int.from_bytes(data[start + 2 : start + 4])
        yield marker, start, end
        if marker == SCAN:
            return
        start = end
    raise CorruptImage(f"The JPEG has more than {MAX_SEGMENTS} segments before its pixels: save it anew.")


def without_end(data: bytes, decode: Callable[[bytes], Image.Image]) -> Image.Image:
    """A picture whose file was cut behind its last pixel. Raises `OSError` where pixels are missing.

    A decoder fills in what is missing. So nonsense is put behind the data first, and behind the next restart
    marker, which may be missing, too: where the picture is whole, it is skipped and changes nothing.
    """
    data = data.rstrip(b"\xff")
    scan = data[data.rfind(NEXT_SCAN) :]
    last = max(range(8), key=lambda i: scan.rfind(RESTARTS[i]))
    following = RESTARTS[(last + 1) % 8 if RESTARTS[last] in scan else 0]
    with decode(data + NONSENSE + following + NONSENSE + END) as other:
        expected = _digest(other)
    image = decode(data + END)
    if _digest(image) != expected:
        raise OSError("the image is truncated")
    return image


def _useful(marker: int, body: bytes) -> bool:
    if marker == COMMENT:
        return False
    if not FIRST_APP <= marker <= LAST_APP:
        return True
    return any(
        marker == number and body.startswith(name) and len(body) >= least
        for (number, name), least in LEAST_BYTES.items()
    )


def _digest(image: Image.Image) -> int:
    """Of the pixels, some rows at a time."""
    digest = 0
    for top in range(0, image.height, ROWS):
        rows = image.crop((0, top, image.width, min(top + ROWS, image.height)))
        digest = zlib.crc32(rows.tobytes(), digest)
    return digest
