#!/bin/sh
# Pillow 13.0.0 can't read the smaller resolutions of most JPEG 2000: it rounds the reduced sides, and OpenJPEG
# rounds them up (ISO/IEC 15444-1, B-15). Where a side leaves less than half a step, the buffer is too small, and
# Pillow says that the stream is broken. Sides that are multiples of the step are read.
#
# Seen: 96 read as 24; 98 read as 25; 97 OSError broken data stream when reading image file
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0
"$folder/venv/bin/python" - <<'PYTHON'
import io

from PIL import Image

for side in (96, 98, 97):
    file = io.BytesIO()
    Image.new("RGB", (side, side)).save(file, "JPEG2000")
    image = Image.open(file)
    image.reduce = 2
    try:
        image.load()
        print(side, "read as", image.width)
        assert side != 97, "it is otherwise now"
    except OSError as error:
        print(side, "OSError", error)
        assert side == 97, "it is otherwise now"
PYTHON
echo "seen: Pillow 13.0.0 rounds the sides of reduced JPEG 2000, and can't read them then"
