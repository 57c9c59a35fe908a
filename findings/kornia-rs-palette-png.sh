#!/bin/sh
# kornia-rs 0.2.0: of a PNG with a palette, io.read_image gives the indices into it, as one channel of bytes (H, W, 1), which looks like a grey
# picture: the colours are gone, and equal ones may differ. Pictures of web tools and screenshots are often stored so. PNGs in RGB and RGBA,
# WebP and TIFF have the values that Pillow reads.
#
# Seen: a picture of red and blue halves: RGB (16, 16, 3) with 255, 0, 0 and 0, 0, 255; with a palette (16, 16, 1) with 0 and 1
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check kornia-rs==0.2.0 numpy==2.4.1 pillow==13.0.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import kornia_rs.io
import numpy as np
from PIL import Image

colours = np.zeros((16, 16, 3), np.uint8)
colours[:, :8, 0] = colours[:, 8:, 2] = 255
Image.fromarray(colours).save("rgb.png")
indices = (np.arange(16) >= 8).astype(np.uint8)[None].repeat(16, axis=0)
picture = Image.fromarray(indices, "P")
picture.putpalette([255, 0, 0, 0, 0, 255] + [0, 0, 0] * 254)
picture.save("palette.png", bits=8)
assert (np.asarray(Image.open("palette.png").convert("RGB")) == colours).all()

rgb, palette = (np.asarray(kornia_rs.io.read_image(name)) for name in ("rgb.png", "palette.png"))
for name, read in (("RGB", rgb), ("palette", palette)):
    print(f"{name}: {read.shape}, {read.dtype}, {read[0, 0].tolist()} and {read[0, 15].tolist()}")
assert (rgb == colours).all()
assert palette.shape == (16, 16, 1) and (palette[..., 0] == indices).all(), "it is otherwise now"
PYTHON
echo "seen: kornia-rs 0.2.0 reads the indices of a palette as a grey picture"
