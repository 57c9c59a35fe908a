#!/bin/sh
# Pillow 13.0.0 reads an uncompressed TIFF of 16-bit RGB whose planes lie apart (PlanarConfiguration 2, TIFF 6.0,
# page 38) as another picture, without an error: it takes each byte for a pixel. The same pixels with planes apart
# and deflate are read right, and so are 8 bits; tifffile 2026.3.3 reads all of them right.
#
# Seen: red of the first row, which is a ramp from 0 to 240
#   8 bits, no compression:    0 16 32 48 64 80 96 112 128 …
#   16 bits, deflate:          0 16 32 48 64 80 96 112 128 …
#   16 bits, no compression:   0 0 16 16 32 32 48 48 64 …
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 tifffile==2026.3.3 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import io

import numpy as np
import tifffile
from PIL import Image

RAMP = np.tile(np.arange(0, 256, 16), (16, 1))
LEVELS = np.stack([RAMP, RAMP.T, 255 - RAMP])


def first_reds(kind: str, scale: int, compression: str | None) -> list[int]:
    file = io.BytesIO()
    planes = (LEVELS * scale).astype(kind)
    tifffile.imwrite(file, planes, photometric="rgb", planarconfig="separate", compression=compression)
    file.seek(0)
    assert (tifffile.imread(file) == planes).all()
    reds = np.asarray(Image.open(file).convert("RGB"))[0, :, 0].tolist()
    print(kind, compression, reds)
    return reds


right = RAMP[0].tolist()
assert first_reds("u1", 1, None) == right
assert first_reds("u2", 257, "zlib") == right
assert first_reds("u2", 257, None) == [red for red in right[:8] for _ in range(2)], "it is otherwise now"
PYTHON
echo "seen: Pillow 13.0.0 reads 16-bit RGB in planes, uncompressed, as another picture"
