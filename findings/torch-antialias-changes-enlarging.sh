#!/bin/sh
# torch 2.13.0: interpolate(mode="bicubic", antialias=True) also enlarges otherwise than without antialias, although there is nothing to
# smooth: with antialias the cubic's coefficient is -0.5, as in Pillow, without it -0.75, as in OpenCV. So antialias=True
# for all sizes changes enlarged pictures and position embeddings, too; bilinear ones stay the same.
#
# Seen, a row of one 1 among zeros enlarged twice: largest 0.8789 without, 0.8672 with antialias; bilinear: no difference
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.1
"$folder/venv/bin/python" - <<'PYTHON'
import torch
from torch.nn.functional import interpolate

row = torch.zeros(1, 1, 4, 8)
row[..., 4] = 1


def enlarged(mode: str, antialias: bool) -> torch.Tensor:
    return interpolate(row, size=(4, 16), mode=mode, antialias=antialias)[0, 0, 0]


for mode in ("bicubic", "bilinear"):
    plain, smooth = enlarged(mode, False), enlarged(mode, True)
    print(f"{mode}: {plain.max():.4f}, with antialias {smooth.max():.4f}; apart by up to {(plain - smooth).abs().max():.4f}")
t = 0.25  # the nearest of the two pixels in the middle is a quarter away: |t| < 1 of the cubic's formula
for antialias, a in ((False, -0.75), (True, -0.5)):
    expected = (a + 2) * t**3 - (a + 3) * t**2 + 1
    assert abs(enlarged("bicubic", antialias).max().item() - expected) < 1e-6, "it is otherwise now"
assert torch.equal(enlarged("bilinear", False), enlarged("bilinear", True))
PYTHON
echo "seen: antialias changes how torch 2.13.0 enlarges"
