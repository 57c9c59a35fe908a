"""JPEG files without the segments that Pillow stumbles over, and those that lack nothing but their end."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from PIL import Image

from service.tokens.directory import orientation_alone

START = b"\xff\xd8"
END = b"\xff\xd9"
COMMENT, FIRST_APP, LAST_APP, EXIF, SCAN = 0xFE, 0xE0, 0xEF, 0xE1, 0xDA
EXIF_NAME = b"Exif\0\0"
WITHOUT_BODY = {0x01, *range(0xD0, 0xD9)}
LEAST_BYTES = {
    (0xE0, b"JFIF"): 14,
    (0xE1, b"http://ns.adobe.com/xap/1.0/\0"): 30,
    (0xE2, b"ICC_PROFILE\0"): 15,
    (0xEE, b"Adobe"): 12,
}
"""Application segments that are of use, by number and first bytes, with the least bytes they need."""
ROWS = 64
RESTARTS = [bytes((0xFF, 0xD0 + i)) for i in range(8)]
NONSENSE = bytes(range(1, 120))
"""Data that no end of a picture looks like."""


def lean(data: bytes) -> bytes:
    """The file with what its colours are made of and what tells which side is up.

    Comments, further pictures' places and segments that are too short are dropped.
    """
    kept = [data[:2]]
    start, changed = 2, False
    while start + 4 <= len(data) and data[start] == 0xFF:
        marker = data[start + 1]
        if marker == SCAN:
            break
        if marker == 0xFF or marker in WITHOUT_BODY:
            start += 1 if marker == 0xFF else 2
            changed = True
            continue
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4])
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
        start = end
    return b"".join((*kept, data[start:])) if changed else data


def without_end(data: bytes, decode: Callable[[bytes], Image.Image]) -> Image.Image:
    """A picture whose file was cut behind its last pixel. Raises `OSError` where pixels are missing.

    A decoder fills in what is missing. So nonsense is put behind the data first, and behind the next restart
    marker, which may be missing, too: where the picture is whole, it is skipped and changes nothing.
    """
    data = data.rstrip(b"\xff")
    scan = data[data.rfind(bytes((0xFF, SCAN))) :]
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
