"""Pictures of eight megapixels of every kind, plain, so that they are written quickly and small.

As a program: what decoding each file of a folder takes at its peak, as JSON.
"""

from __future__ import annotations

import json
import os
import re
import struct
import sys
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from service.tokens.pictures import Pictures
from tests.service.photos import encoded
from tests.service.tokens.files import chunk, written

WIDTH, HEIGHT = SIZE = 3264, 2448
PIXELS = WIDTH * HEIGHT
SIDE = 224
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def plain(mode: str, kind: str = "PNG", **options: Any) -> bytes:
    image = Image.new(mode, SIZE)
    return encoded(image, kind, **({"compress_level": 1} if kind == "PNG" else {}), **options)


def turned(mode: str, kind: str) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return plain(mode, kind, exif=exif)


def png(depth: int, colour: int, row_bytes: int, *chunks: bytes) -> bytes:
    """A black one, in the kinds that Pillow does not write."""
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour, 0, 0, 0)
    rows = zlib.compress(bytes(HEIGHT * (1 + row_bytes)), 1)
    body = chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(kind: str, samples: int, **options: Any) -> bytes:
    """One that Pillow does not read."""
    values = np.zeros((HEIGHT, WIDTH, samples), kind)
    return written(values, compression="zlib", rowsperstrip=64, **options)


LARGE: dict[str, Callable[[], bytes]] = {
    **{f"png-{mode}": partial(plain, mode) for mode in ("L", "P", "RGB", "RGBA", "I;16")},
    "png-rgb-16": lambda: png(16, 2, 6 * WIDTH),
    "png-rgba-16": lambda: png(16, 6, 8 * WIDTH),
    "png-clear-colour": lambda: png(8, 2, 3 * WIDTH, chunk(b"tRNS", bytes(6))),
    "png-turned": lambda: turned("RGBA", "PNG"),
    "jpeg": lambda: plain("RGB", "JPEG"),
    "jpeg-cmyk": lambda: plain("CMYK", "JPEG"),
    "jpeg-progressive": lambda: plain("RGB", "JPEG", progressive=True),
    "jpeg-turned": lambda: turned("RGB", "JPEG"),
    "jpeg-without-its-end": lambda: plain("RGB", "JPEG")[:-2],
    "gif": lambda: plain("P", "GIF"),
    "bmp": lambda: plain("RGB", "BMP"),
    "tiff": lambda: plain("RGB", "TIFF"),
    "tiff-turned": lambda: turned("RGB", "TIFF"),
    "tiff-rgba": lambda: plain("RGBA", "TIFF", compression="tiff_lzw"),
    "tiff-cmyk": lambda: plain("CMYK", "TIFF", compression="tiff_lzw"),
    "tiff-lab": lambda: plain("LAB", "TIFF", compression="tiff_lzw"),
    "tiff-grey-16": lambda: tiff("u2", 1),
    "tiff-float": lambda: tiff("f4", 1),
    "tiff-rgba-16": lambda: tiff("u2", 4, photometric="rgb", extrasamples=["unassalpha"]),
}
"""What takes four bytes a pixel at most."""
COSTLY: dict[str, Callable[[], bytes]] = {
    "jpeg-progressive-444": lambda: plain("RGB", "JPEG", progressive=True, subsampling=0),
    "tiff-one-strip": lambda: plain("RGB", "TIFF", compression="tiff_lzw", tiffinfo={278: HEIGHT}),
    "webp": lambda: plain("RGB", "WEBP", method=0),
    "webp-lossless": lambda: plain("RGBA", "WEBP", lossless=True, method=0, quality=0),
    "avif-rgba": lambda: plain("RGBA", "AVIF", speed=10),
    "jpeg-2000": lambda: plain("RGB", "JPEG2000"),
    "jpeg-2000-tiles": lambda: plain("RGB", "JPEG2000", tile_size=(512, 512)),
}
"""What takes more, which its header tells."""


def memory(which: str) -> int:
    """Bytes: VmRSS now, VmHWM at the most."""
    return 1024 * int(re.findall(rf"{which}:\s+(\d+)", STATUS.read_text())[0])


def peak(path: Path) -> tuple[int, int]:
    """Bytes that decoding takes at its peak, and what its header says."""
    data = path.read_bytes()
    picture = Pictures(max_pixels=PIXELS).picture(data, SIDE, "crop")
    RESET.write_text("5")
    before = memory("VmRSS")
    picture.arrays()
    return memory("VmHWM") - before, picture.cost


def main(folder: Path) -> None:
    """Each in a process of its own: memory that was used once is not given back."""
    for path in sorted(folder.iterdir()):
        child = os.fork()
        if not child:
            print(json.dumps([path.name, *peak(path)]), flush=True)
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
