"""What int8 costs an encoder's answers, and what fixed ranges spare them: a picture's company in a batch.

`python -m tests.benchmarks.int8_ranges [CHECKPOINT BUNDLE [PICTURE …]]`: by default the bundled model, and
crops of six sample photos. BUNDLE is the checkpoint's in fp32; cosines of batches of 40 are with its answers.
"""

from __future__ import annotations

import itertools
import random
import sys
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import helper, numpy_helper
from rich.console import Console
from rich.table import Table

from model import load_checkpoint, precision
from model.export import export_bundle
from model.judges import whole
from service.runtime.bundle import read_bundle
from service.runtime.providers import CPU
from service.runtime.reference import ENCODED
from service.runtime.statistics import read_statistics
from service.settings import BUNDLED_MODELS
from service.tokens.pooling import Statistics, mean_of
from service.tokens.types import Floats, Pixels
from service.tokens.upright import resized
from training.data.photos import whole_photos

CHECKPOINT, BUNDLE = Path("training/cards/stellar-tiny.safetensors"), BUNDLED_MODELS / "stellar-tiny"
COMPANY = 40


def crops(side: int) -> list[Pixels]:
    """A batch's pictures, always the same: squares of 0.4 of a photo's shorter side or more."""
    draw, cut = random.Random(0), []
    for _, photo in zip(range(COMPANY), itertools.cycle(whole_photos().values())):
        piece = draw.uniform(0.4, 1) * min(photo.size)
        left, top = (draw.uniform(0, length - piece) for length in photo.size)
        cut.append(np.asarray(resized(photo, (side, side), (left, top, left + piece, top + piece))))
    return cut


def answers(bundle: Path, images: Pixels, size: int, statistics: Statistics | None) -> dict[str, Floats]:
    """Of pictures (n, S, S, 3), so many in a batch."""
    encoder = ort.InferenceSession(bundle / "encoder.onnx", providers=[CPU])
    batches = [encoder.run(ENCODED, {"image": images[i : i + size]}) for i in range(0, len(images), size)]
    encoded = [np.concatenate(arrays) for arrays in zip(*batches, strict=True)]
    found = dict(zip(ENCODED, encoded, strict=True)) | {"mean": mean_of(encoded[0])}
    if statistics:
        found["whitened"] = np.stack([statistics.whitened(*image) for image in zip(*encoded, strict=True)])
    return found


def clipped(bundle: Path, images: Pixels) -> list[float]:
    """The share of what goes into each product that is half a level or more outside its fixed range."""
    model = onnx.load(bundle / "encoder.onnx")
    value = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    ranges = [node.input for node in model.graph.node if node.op_type == "QuantizeLinear"]
    model.graph.output.extend(helper.make_empty_tensor_value_info(x) for x, _, _ in ranges)
    watched = ort.InferenceSession(model.SerializeToString(), providers=[CPU])
    found = zip(watched.run([x for x, _, _ in ranges], {"image": images}), ranges, strict=True)
    levels = (x / value[scale] + value[zero] for x, (_, scale, zero) in found)
    return [float(np.mean((level < -0.5) | (level > 255.5))) for level in levels]


def main(checkpoint: Path = CHECKPOINT, bundle: Path = BUNDLE, *pictures: Path) -> None:
    """Measure and print."""
    model, fp32 = load_checkpoint(checkpoint), read_bundle(bundle)
    side, statistics = fp32.manifest.size[0], read_statistics(fp32)
    images = np.stack([whole(each, side) for each in pictures] if pictures else crops(side))
    wanted = answers(bundle, images, 1, statistics)
    table = Table("ranges", *wanted, "patches of another token", "change of localization in company")
    with tempfile.TemporaryDirectory() as scratch:
        fixed, own = (Path(scratch) / name for name in ("fixed", "own"))
        export_bundle(model, fixed, name=fixed.name, checkpoint=checkpoint, precision="int8")
        with mock.patch.object(precision, "fix_ranges"):
            export_bundle(model, own, name=own.name, checkpoint=checkpoint, precision="int8")
        for ranges, out in (("fixed by the export", fixed), ("each batch's own", own)):
            alone, got = (answers(out, images, size, statistics) for size in (1, COMPANY))
            pairs = [(torch.from_numpy(got[name]), torch.from_numpy(wanted[name])) for name in wanted]
            cosines = (torch.cosine_similarity(ours, theirs, dim=-1) for ours, theirs in pairs)
            before, places, of_fp32 = (each["localization"] for each in (alone, got, wanted))
            moved, change = places.argmax(-1) != of_fp32.argmax(-1), np.abs(places - before).max()
            cells = (f"{cosine.min():.4f}, {cosine.mean():.4f}" for cosine in cosines)
            table.add_row(ranges, *cells, f"{moved.mean():.2%}", f"{change:.2g}")
        shares = clipped(fixed, images[:COMPANY])
    outside = f"{np.mean(shares):.3%} of what goes into a product, {max(shares):.3%} at most"
    Console(width=140).print(table, f"{len(images)} pictures: least, mean. Outside fixed ranges: {outside}.")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
