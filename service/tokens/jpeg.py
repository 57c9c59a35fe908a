"""JPEG files without the segments that Pillow stumbles over, and those that lack nothing but their end."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from PIL import Image

START = b"\xff\xd8"
END = b"\xff\xd9"
COMMENT, FIRST_APP, LAST_APP, SCAN = 0xFE, 0xE0, 0xEF, 0xDA
WITHOUT_BODY = {0x01, *range(0xD0, 0xD9)}
LEAST_BYTES = {
    (0xE0, b"JFIF"): 14,
    (0xE1, b"Exif\0\0"): 14,
    (0xE1, b"http://ns.adobe.com/xap/1.0/\0"): 30,
    (0xE2, b"ICC_PROFILE\0"): 15,
    (0xEE, b"Adobe"): 12,
}
"""Application segments that are of use, by number and first bytes, with the least bytes they need."""
ROWS = 64

# Data that no end of a picture looks like: whatever restart marker a decoder waits for comes, too.
NONSENSE = bytes(range(1, 120))
CONTINUED = NONSENSE + b"".join(bytes((0xFF, 0xD0 + i)) + NONSENSE for i in range(8))


def lean(data: bytes) -> bytes:
    """The file without comments, thumbnails' lists and segments too short to say anything."""
    kept = [data[:2]]
    start, dropped = 2, False
    while start + 4 <= len(data) and data[start] == 0xFF:
        marker = data[start + 1]
        if marker == SCAN:
            break
        if marker == 0xFF or marker in WITHOUT_BODY:
            start += 1 if marker == 0xFF else 2
            dropped = True
            continue
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4])
        if _useful(marker, data[start + 4 : end]):
            kept.append(data[start:end])
        else:
            dropped = True
        start = end
    return b"".join((*kept, data[start:])) if dropped else data


def without_end(data: bytes, decode: Callable[[bytes], Image.Image]) -> Image.Image:
    """A picture whose file was cut behind its last pixel. Raises `OSError` where pixels are missing.

    A decoder fills in what is missing. So nonsense is put behind the data first: where the picture is whole,
    it is skipped and changes nothing.
    """
    data = data.rstrip(b"\xff")
    with decode(data + CONTINUED + END) as other:
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
