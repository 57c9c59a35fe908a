#!/bin/sh
# datasets 5.2.0 with Pillow 13.0.0: map(lambda row: {"width": row["image"].width}), which adds a column, makes another JPEG of every picture. A row
# decodes what is read of it and remembers that; map() merges the row with what the function returned, takes the decoded picture for new, and
# saves it as Pillow does by default: quality 75, colours at half the resolution, no ICC profile. One expects that a column that the function does
# not return keeps its bytes. It does where the same function is given the column by input_columns, where the picture is not looked at, and in
# filter(). Pictures that are files keep theirs, too; those that came as bytes, as from the Hub's Parquet or from shards, do not.
#
# So to note widths, captions or embeddings beside pictures costs detail and colour of the whole dataset, once per such step: what is trained on or
# published is not what was measured, copies are no longer found by hash, and a photo in Display P3 is taken for sRGB.
# What helps: map(function, input_columns=["image"]), or cast_column("image", Image(decode=False)) before.
#
# Seen, of a JPEG of quality 95 and full colour, 256 x 256, 69490 bytes: by row: 21438 bytes, 24.9 dB, profile lost; by input_columns, in
# filter(), and without a look: the same bytes
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check datasets==5.2.0 pyarrow==26.0.1 numpy==2.4.6 pillow==13.0.0
cd "$folder"
HF_HOME="$folder/home" HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1 venv/bin/python - <<'PYTHON'
import io

import numpy as np
import PIL.Image
from datasets import Dataset, Features, Image
from PIL import ImageCms

noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)  # colours that change every four pixels
picture = PIL.Image.fromarray(noise).resize((256, 256), PIL.Image.Resampling.BICUBIC)
file = io.BytesIO()
profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
picture.save(file, "JPEG", quality=95, subsampling="4:4:4", icc_profile=profile)
content = file.getvalue()
dataset = Dataset.from_dict({"image": [{"bytes": content, "path": None}]}, Features({"image": Image()}))


def opened(content):
    return PIL.Image.open(io.BytesIO(content))


held = {}
for way, after in {
    "by row": dataset.map(lambda row: {"width": row["image"].width}),
    "by input_columns": dataset.map(lambda image: {"width": image.width}, input_columns=["image"]),
    "filter()": dataset.filter(lambda row: row["image"].width > 100),
    "without a look": dataset.map(lambda row: {"label": 7}),
}.items():
    found = held[way] = after.cast_column("image", Image(decode=False))[0]["image"]["bytes"]
    error = np.square(np.asarray(opened(found), float) - np.asarray(opened(content), float)).mean()
    like = "the same bytes" if found == content else f"{20 * np.log10(255 / np.sqrt(error)):.1f} dB"
    kept = "kept" if "icc_profile" in opened(found).info else "lost"
    print(f"{way}: {len(found)} of {len(content)} bytes, {like}, profile {kept}")
again = held.pop("by row")
assert set(held.values()) == {content}
assert len(again) < len(content) / 2, "it is otherwise now"
assert "icc_profile" in opened(content).info and "icc_profile" not in opened(again).info, "it is otherwise now"
PYTHON
echo "seen: datasets 5.2.0 compresses a JPEG again that was only looked at"
