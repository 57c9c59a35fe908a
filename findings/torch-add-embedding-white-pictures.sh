#!/bin/sh
# torch 2.13.0 with tensorboard 2.21.0: SummaryWriter.add_embedding multiplies pictures by 255 whatever their type is, and cuts them there. Pictures
# in bytes, which add_image of the same writer takes as they are, so come out white in the projector, without a word.
#
# Seen: a picture of bytes from 1 to 199 has 255 alone in sprite.png, and is the same as it was in floats from 0 to 1
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.1 tensorboard==2.21.0 pillow==13.0.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
from PIL import Image
from torch import from_numpy
from torch.utils.tensorboard import SummaryWriter

pictures = np.random.default_rng(0).integers(1, 200, (4, 3, 8, 8), np.uint8)  # in two rows of two
seen = {}
for kind, given in (("bytes", pictures), ("floats", pictures / 255)):
    with SummaryWriter(kind) as writer:
        writer.add_embedding(np.eye(4), list("abcd"), from_numpy(given))
    sprite = np.asarray(Image.open(f"{kind}/00000/default/sprite.png"))
    seen[kind] = sprite[:8, :8].transpose(2, 0, 1)
    print(f"{kind}: from {seen[kind].min()} to {seen[kind].max()}; given: {pictures[0].min()} to {pictures[0].max()}")
assert np.abs(seen["floats"].astype(int) - pictures[0]).max() <= 1
assert (seen["bytes"] == 255).all(), "it is otherwise now"
PYTHON
echo "seen: add_embedding makes pictures of bytes white"
