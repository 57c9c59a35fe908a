#!/bin/sh
# imagecodecs 2026.3.6: imread, which finds the codec by itself, takes a TIFF whose strips are JPEG (as scanners and slide scanners write) for a
# lossless JPEG, and returns an array of no pixels, (0, 0), without an error. Other compressions are found to be TIFF, and tiff_decode, called by
# its name, reads the picture, as Pillow does.
#
# Seen, of a picture of 96 x 64: jpeg (0, 0) by ljpeg_decode; raw, tiff_lzw, packbits and tiff_adobe_deflate (64, 96, 3) by tiff_decode
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check imagecodecs==2026.3.6 numpy==2.4.1 pillow==13.0.0
"$folder/venv/bin/python" - <<'PYTHON'
import io

import imagecodecs
import numpy as np
from PIL import Image

rows, columns = np.mgrid[0:64, 0:96]
picture = Image.fromarray(np.stack([columns * 2, rows * 3, rows + columns], axis=2).astype(np.uint8))
seen = {}
for compression in ("raw", "tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg"):
    file = io.BytesIO()
    picture.save(file, "TIFF", compression=compression)
    content = file.getvalue()
    read, codec = imagecodecs.imread(content, return_codec=True)
    seen[compression] = read.shape, codec.__name__
    by_name = imagecodecs.tiff_decode(content)
    print(f"{compression}: imread {read.shape} by {codec.__name__}, tiff_decode {by_name.shape}")
    assert by_name.shape == np.asarray(Image.open(file)).shape == (64, 96, 3)
assert seen.pop("jpeg") == ((0, 0), "ljpeg_decode"), "it is otherwise now"
assert set(seen.values()) == {((64, 96, 3), "tiff_decode")}
PYTHON
echo "seen: imagecodecs 2026.3.6 reads no pixels of a TIFF of JPEG strips, and says nothing"
