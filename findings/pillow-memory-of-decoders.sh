#!/bin/sh
# Pillow 13.0.0: an RGB picture takes 4 bytes a pixel, but decoding it takes 4 to 19 by its format: PNG, JPEG and TIFF 4,
# AVIF 9, lossless WebP 16, JPEG 2000 19. load() of the latter three holds the decoder's own canvases or planes of 32-bit
# numbers beside Pillow's picture. Who reckons width × height × 4 is off by nearly five times; Image.open already knows
# the size, and takes none of it.
#
# Seen for 2,000 × 2,000 plain pixels, bytes a pixel at the peak: PNG 4.0, JPEG 4.2, TIFF 4.1, AVIF 9.4, WebP 16.1, JPEG2000 19.4
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from PIL import Image

options = {"TIFF": {"compression": "tiff_deflate"}, "WEBP": {"lossless": True}}
for kind in ("PNG", "JPEG", "TIFF", "AVIF", "WEBP", "JPEG2000"):
    Image.new("RGB", (2000, 2000), (9, 8, 7)).save(kind, kind, **options.get(kind, {}))
PYTHON
for kind in PNG JPEG TIFF AVIF WEBP JPEG2000; do
  "$folder/venv/bin/python" - "$kind" <<'PYTHON'
import io
import sys
from pathlib import Path

from PIL import Image


def memory(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


[kind] = sys.argv[1:]
least, most = {"PNG": (4, 4.6), "JPEG": (4, 4.8), "TIFF": (4, 4.8), "AVIF": (8.5, 10.5), "WEBP": (15.5, 17), "JPEG2000": (18.5, 20.5)}[kind]
data = Path(kind).read_bytes()
Image.init()
before = memory("VmRSS")
image = Image.open(io.BytesIO(data))
opened = (memory("VmHWM") - before) / (image.width * image.height)
image.load()
peak = (memory("VmHWM") - before) / (image.width * image.height)
print(f"{kind}: {len(data)} bytes, {opened:.1f} bytes a pixel after open(), {peak:.1f} at the peak of load()")
assert opened < 0.5 and least <= peak <= most, "it is otherwise now"
PYTHON
done
echo "seen: Pillow 13.0.0 decodes pictures of the same size in 4 to 19 bytes a pixel"
