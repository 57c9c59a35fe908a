#!/bin/sh
# Pillow 13.0.0: convert("RGB") of a picture in CIELab is off by 12 of 255 levels for ordinary colours well
# within sRGB, and so is ImageCms.applyTransform with flags of 0: the transform is optimized to a coarse table.
# With ImageCms.Flags.NOOPTIMIZE it is exact, and takes no longer for a megapixel.
#
# Seen for L 60, a -20, b -30: the formulas (CIE 15, IEC 61966-2-1, D50 to D65 by Bradford) give (54, 156, 197);
#   convert("RGB") (42, 156, 197), without optimization (54, 156, 197)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
from PIL import Image, ImageCms

L, A, B = 60, -20, -30
D50 = np.array([0.9642, 1.0, 0.8249])
BRADFORD = np.array([[0.9555766, -0.0230393, 0.0631636], [-0.0282895, 1.0099416, 0.0210077], [0.0122982, -0.020483, 1.3299098]])
TO_SRGB = np.array([[3.2404542, -1.5371385, -0.4985314], [-0.969266, 1.8760108, 0.041556], [0.0556434, -0.2040259, 1.0572252]])
y = (L + 16) / 116
cubes = np.array([y + A / 500, y, y - B / 200])
light = TO_SRGB @ BRADFORD @ (np.where(cubes > 6 / 29, cubes**3, 3 * (6 / 29) ** 2 * (cubes - 4 / 29)) * D50)
assert (light > 0.003).all() and (light < 1).all()
wanted = np.rint(255 * (1.055 * light ** (1 / 2.4) - 0.055)).astype(int).tolist()

# The raw mode has a and b as signed bytes, as TIFF has them.
image = Image.frombytes("LAB", (1, 1), bytes([round(L * 2.55), A % 256, B % 256]))
lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
exact = ImageCms.buildTransform(lab, srgb, "LAB", "RGB", flags=ImageCms.Flags.NOOPTIMIZE)
plain = list(image.convert("RGB").getpixel((0, 0)))
without = list(ImageCms.applyTransform(image, exact).getpixel((0, 0)))
print("formulas", wanted, "convert", plain, "without optimization", without)
assert wanted == without == [54, 156, 197]
assert plain == [42, 156, 197], "it is otherwise now"
PYTHON
echo "seen: Pillow 13.0.0 converts CIELab to RGB with an error of 12 levels"
