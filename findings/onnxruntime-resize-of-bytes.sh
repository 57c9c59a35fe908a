#!/bin/sh
# ONNX Runtime 1.32.0 on a processor: Resize of a uint8 picture is not that of the same picture in float, rounded. "linear" cuts the decimals
# off, so a picture gets half a level darker each time; with antialias=1 it does not. "cubic" passes onnx's checker, loads, and then fails
# as it runs; with antialias=1 it runs.
#
# Seen, uint8 less float (clipped to 0..255), 16 x 16 noise to 37 x 37: linear mean -0.49; linear, antialias mean 0.00; cubic: "Tensor type
# mismatch"; cubic, antialias: mean 0.03
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.1
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

SIZE = [1, 1, 37, 37]


def resized(picture, kind, **how):
    node = helper.make_node("Resize", ["x", "", "", "size"], ["y"], **how)
    ends = [helper.make_tensor_value_info(*end) for end in (("x", kind, picture.shape), ("y", kind, SIZE))]
    size = helper.make_tensor("size", TensorProto.INT64, [4], SIZE)
    graph = helper.make_graph([node], "resize", ends[:1], ends[1:], [size])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return session.run(None, {"x": picture})[0]


picture = np.random.default_rng(0).integers(0, 256, (1, 1, 16, 16), dtype=np.uint8)
off = {}
for mode in ("linear", "cubic"):
    for antialias in (0, 1):
        exact = resized(picture.astype(np.float32), TensorProto.FLOAT, mode=mode, antialias=antialias)
        try:
            of_bytes = resized(picture, TensorProto.UINT8, mode=mode, antialias=antialias).astype(float)
        except Exception as error:
            off[mode, antialias] = str(error)
            print(f"{mode}, antialias={antialias}: {str(error).splitlines()[0][-90:]}")
            continue
        off[mode, antialias] = of_bytes - np.clip(exact, 0, 255)
        of = off[mode, antialias]
        print(f"{mode}, antialias={antialias}: mean {of.mean():.2f}, from {of.min():.1f} to {of.max():.1f}")
assert -0.6 < off["linear", 0].mean() < -0.4, "it is otherwise now"
assert abs(off["linear", 1].mean()) < 0.1
assert "type mismatch" in off["cubic", 0], "it is otherwise now"
assert abs(off["cubic", 1].mean()) < 0.1
PYTHON
echo "seen: ONNX Runtime 1.32.0 resizes bytes otherwise than floats"
