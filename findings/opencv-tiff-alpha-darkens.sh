#!/bin/sh
# opencv-python-headless 5.0.0.93: imread multiplies the colours of an 8-bit TIFF by its alpha, with IMREAD_UNCHANGED as with IMREAD_COLOR, though
# the file says that they stand apart (ExtraSamples of 2 in TIFF 6.0, unassociated alpha, as Pillow writes it). One expects the stored numbers,
# as of a PNG of the same pixels, of a TIFF of 16 bits with IMREAD_UNCHANGED, and from Pillow 13.0.0 and tifffile 2026.3.3. Where 8 bits come out,
# OpenCV has libtiff draw the whole picture in RGBA, and that multiplies; a TIFF of its own imwrite comes back as it was, because
# imwrite does not say what the fourth channel is.
#
# So cut-outs and masks with soft edges get darker edges, and black where nothing is seen; whoever lays them over a background multiplies twice;
# and the embedding of a TIFF is not that of the PNG. Where alpha is small the colours can't be had back.
# What helps: read TIFFs that have alpha by Pillow or tifffile.
#
# Seen, for the stored (200, 100, 40) with alpha 64 and with alpha 0:
#   PNG, TIFF of 16 bits unchanged (divided by 257), TIFF of OpenCV's imwrite: (200, 100, 40), (200, 100, 40)
#   TIFF of 8 bits: IMREAD_UNCHANGED and IMREAD_COLOR (50, 25, 10), (0, 0, 0); Pillow and tifffile (200, 100, 40), (200, 100, 40)
#   TIFF of 16 bits, IMREAD_COLOR: (50, 25, 10), (0, 0, 0)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 numpy==2.4.6 pillow==13.0.0 tifffile==2026.3.3
cd "$folder"
venv/bin/python - <<'PYTHON'
import cv2
import numpy as np
import tifffile
from PIL import Image

STORED = [200, 100, 40]
rgba = np.zeros((16, 16, 4), np.uint8)
rgba[..., :3] = STORED
rgba[:, :8, 3] = 64  # the right half can't be seen
Image.fromarray(rgba).save("rgba.png")
Image.fromarray(rgba).save("rgba.tif")
tifffile.imwrite("rgba16.tif", rgba.astype(np.uint16) * 257, photometric="rgb", extrasamples=["unassalpha"])
cv2.imwrite("own.tif", cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA))
assert tifffile.TiffFile("rgba.tif").pages[0].extrasamples == (tifffile.EXTRASAMPLE.UNASSALPHA,)


def opencv(name, flag):
    return cv2.imread(name, flag)[..., 2::-1]


def colours(pixels):
    """Of the half with alpha 64, and of the one with alpha 0."""
    return pixels[0, 0, :3].tolist(), pixels[0, 15, :3].tolist()


seen = {
    "PNG": opencv("rgba.png", cv2.IMREAD_UNCHANGED),
    "TIFF of 16 bits, IMREAD_UNCHANGED": opencv("rgba16.tif", cv2.IMREAD_UNCHANGED) // 257,
    "TIFF of imwrite": opencv("own.tif", cv2.IMREAD_UNCHANGED),
    "TIFF, Pillow": np.asarray(Image.open("rgba.tif")),
    "TIFF, tifffile": tifffile.imread("rgba.tif"),
    "TIFF, IMREAD_UNCHANGED": opencv("rgba.tif", cv2.IMREAD_UNCHANGED),
    "TIFF, IMREAD_COLOR": opencv("rgba.tif", cv2.IMREAD_COLOR),
    "TIFF of 16 bits, IMREAD_COLOR": opencv("rgba16.tif", cv2.IMREAD_COLOR),
}
seen = {way: colours(pixels) for way, pixels in seen.items()}
for way, found in seen.items():
    print(f"{way}: {found[0]}, {found[1]}")
for way in ("TIFF, IMREAD_UNCHANGED", "TIFF, IMREAD_COLOR", "TIFF of 16 bits, IMREAD_COLOR"):
    assert seen.pop(way) == ([50, 25, 10], [0, 0, 0]), "it is otherwise now"
assert all(found == (STORED, STORED) for found in seen.values())
PYTHON
echo "seen: OpenCV 5.0.0 multiplies the colours of a TIFF by its alpha"
