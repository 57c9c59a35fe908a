#!/bin/sh
# usearch 2.26.6: an index of dtype "i8" brings every vector of floats to length 1 and rounds it to 127ths, whatever its metric. So with "l2sq"
# and "ip" lengths are gone: (3, 4) and (6, 8) are the same vector, at distance 0, where f32, f16 and bf16 have them at 25; and the order of
# neighbours is another. Vectors that are int8 already are kept as they are.
#
# Seen: from (3, 4) to itself, (6, 8), (4, 3), squared L2: f32 0, 25, 2; i8 0, 0, 1250; kept as (76, 101), (76, 101), (101, 76)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check usearch==2.26.6 numpy==2.4.1
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
from usearch.index import Index

vectors = np.array([[3, 4], [6, 8], [4, 3]], np.float32)
seen = {}
for dtype in ("f32", "f16", "bf16", "i8"):
    index = Index(ndim=2, metric="l2sq", dtype=dtype)
    index.add(np.arange(3), vectors)
    found = index.search(vectors[0], 3, exact=True)
    distances = dict(zip(found.keys.tolist(), found.distances.tolist(), strict=True))
    seen[dtype] = [distances[key] for key in range(3)]
    print(f"{dtype}: {seen[dtype]}, kept as {[np.asarray(index.get(key)).tolist() for key in range(3)]}")
whole = Index(ndim=2, metric="l2sq", dtype="i8")
whole.add(np.arange(3), vectors.astype(np.int8))
kept = [np.asarray(whole.get(key)).tolist() for key in range(3)]
print(f"int8 vectors: kept as {kept}")
assert seen["f32"] == seen["f16"] == seen["bf16"] == [0, 25, 2]
assert kept == vectors.tolist()
assert seen["i8"][:2] == [0, 0], "it is otherwise now"
PYTHON
echo "seen: usearch 2.26.6 forgets the lengths of vectors in i8"
