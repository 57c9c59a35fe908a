#!/bin/sh
# datasets 5.2.0 with Pillow 13.0.0: a picture that was opened from a file and then changed in place, by thumbnail(), paste() or ImageDraw, is
# stored as it was before. The Image feature looks whether the picture has a filename, which Pillow leaves there, and keeps that path and none of
# the pixels. One expects that a PIL image is stored as it is, since map() may return any. The same edit of a picture that came as bytes, as from
# the Hub's Parquet, is kept; so is what resize() or copy() give, which have no filename. Nothing is said, and to_parquet() then embeds the file.
#
# So shrunken training sets are as large as ever, and what was painted over (a face, a watermark, a label in the scan) is in the published shards.
# What helps: `image = image.copy()` before the first edit, or to return another picture than one was given.
#
# Seen, of a red picture of 64 x 64 that is painted black and shrunk to 16 x 16:
#   from a file: from_dict 64 x 64 red, map 64 x 64 red, Parquet after map 64 x 64 red; after copy() 16 x 16 black
#   from bytes: from_dict 16 x 16 black, map 16 x 16 black, Parquet after map 16 x 16 black
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check datasets==5.2.0 pyarrow==26.0.1 numpy==2.4.6 pillow==13.0.0
cd "$folder"
HF_HOME="$folder/home" HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1 venv/bin/python - <<'PYTHON'
import io
from pathlib import Path

import PIL.Image
from datasets import Dataset, Features, Image
from PIL import ImageDraw

FEATURES = Features({"image": Image()})
PIL.Image.new("RGB", (64, 64), "red").save("red.png")
RED, BLACK = "64 x 64 red", "16 x 16 black"


def edited(image):
    ImageDraw.Draw(image).rectangle((0, 0, 63, 63), fill="black")
    image.thumbnail((16, 16))
    return image


def seen(dataset):
    image = dataset[0]["image"].convert("RGB")
    colour = {(255, 0, 0): "red", (0, 0, 0): "black"}[image.getpixel((8, 8))]
    return f"{image.width} x {image.height} {colour}"


def ways(given, opened, edit):
    """What is stored of an edited picture: as it is, after map(), and in the Parquet file of that."""
    picture = edit(opened())
    assert picture.size == (16, 16) and picture.getpixel((8, 8)) == (0, 0, 0)
    mapped = Dataset.from_dict({"image": [given]}, FEATURES).map(lambda row: {"image": edit(row["image"])})
    mapped.to_parquet("shard.parquet")
    stored = Dataset.from_dict({"image": [picture]}, FEATURES)
    return tuple(seen(each) for each in (stored, mapped, Dataset.from_parquet("shard.parquet")))


content = Path("red.png").read_bytes()
from_file = ways("red.png", lambda: PIL.Image.open("red.png"), edited)
from_copy = ways("red.png", lambda: PIL.Image.open("red.png"), lambda image: edited(image.copy()))
from_bytes = ways({"bytes": content, "path": None}, lambda: PIL.Image.open(io.BytesIO(content)), edited)
for source, found in (("file", from_file), ("file, copy()", from_copy), ("bytes", from_bytes)):
    print(f"from {source}: from_dict {found[0]}, map {found[1]}, Parquet after map {found[2]}")
assert from_copy == from_bytes == (BLACK, BLACK, BLACK)
assert from_file == (RED, RED, RED), "it is otherwise now"
PYTHON
echo "seen: datasets 5.2.0 stores a file's picture as it was before it was edited"
