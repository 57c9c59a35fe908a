#!/bin/sh
# safetensors 0.8.0: the same tensors with the same metadata are other bytes from one save to the next, in save() and in save_file(), because
# the entries of __metadata__ are written in a random order (tensors are sorted). With one entry files are equal. So a checkpoint's
# hash says nothing of its weights, and stores that keep equal content once keep it many times. And save_file makes a file that only
# its owner may read, whatever the umask says, where open() makes one that all may read.
#
# Seen: twenty saves with two entries: 2 different files; with one entry: 1; mode of a file by save_file 600, by open 644
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.4.1
umask 022
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save, save_file

folder = Path(sys.argv[1])
tensors = {"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.zeros(2, np.float32)}
two = {save(tensors, metadata={"format": "pt", "heads": "4"}) for _ in range(20)}
one = {save(tensors, metadata={"format": "pt"}) for _ in range(20)}
assert all((load(each)["weight"] == tensors["weight"]).all() for each in two)
save_file(tensors, folder / "saved.safetensors", metadata={"format": "pt"})
(folder / "opened").write_bytes(b"")
modes = [(folder / name).stat().st_mode & 0o777 for name in ("saved.safetensors", "opened")]
print(f"two entries: {len(two)} different files; one: {len(one)}; modes {modes[0]:o}, {modes[1]:o}")
assert (len(two), len(one), modes) == (2, 1, [0o600, 0o644]), "it is otherwise now"
PYTHON
echo "seen: equal content, different files; safetensors 0.8.0"
