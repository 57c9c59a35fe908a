#!/bin/sh
# Pillow 13.0.0 does not find the transparent grey of a PNG of 2 or 4 bits. The tRNS chunk holds a sample of the
# picture's own depth (PNG 3, 11.3.1.1), 1 of 0..3; Pillow scales the pixels to 8 bits (1 becomes 85), but
# compares them with the unscaled 1. With convert("RGBA") nothing is transparent; in a picture of 4 bits
# whose white is 15, it is as opaque as black. At 8 bits, and with pypng 0.20220715.0 at all depths, it works.
#
# Seen: alpha of [0, the transparent grey]
#   2 bits: Pillow [255, 255], pypng [255, 0]
#   4 bits: Pillow [255, 255], pypng [255, 0]
#   8 bits: Pillow [255, 0],   pypng [255, 0]
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 pypng==0.20220715.0
"$folder/venv/bin/python" - <<'PYTHON'
import io

import png
from PIL import Image

for depth in (2, 4, 8):
    grey = 1 << depth - 2
    file = io.BytesIO()
    png.Writer(width=2, height=1, greyscale=True, bitdepth=depth, transparent=grey).write(file, [[0, grey]])
    image = Image.open(io.BytesIO(file.getvalue()))
    pillow = list(image.convert("RGBA").getchannel("A").tobytes())
    _, _, rows, _ = png.Reader(bytes=file.getvalue()).asRGBA8()
    pypng = list(next(iter(rows)))[3::4]
    print(f"{depth} bits: Pillow {pillow} (transparency={image.info['transparency']}), pypng {pypng}")
    assert pypng == [255, 0]
    assert pillow == ([255, 0] if depth == 8 else [255, 255]), "it is otherwise now"
PYTHON
echo "seen: Pillow 13.0.0 takes a PNG's transparent grey of 2 and 4 bits for opaque"
