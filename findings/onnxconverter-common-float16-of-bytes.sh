#!/bin/sh
# onnxconverter-common 1.16.0: convert_float_to_float16 leaves a Cast to float as it is and declares its output to be float16. A model that takes
# pictures as bytes and casts them itself so becomes one that onnx's checker and ONNX Runtime 1.32.0 refuse; nothing is said while it is converted.
# The same function in onnxruntime.transformers.float16, which has the same name and options, turns the Cast, too.
#
# Seen: Cast to float and "pixels" of float16, refused; by ONNX Runtime's own copy Cast to float16, and the answer is right
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 onnxconverter-common==1.16.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import onnx
import onnxconverter_common
import onnxruntime
from onnx import TensorProto, helper
from onnxruntime.transformers import float16

image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 4])
out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 4])
scale = helper.make_tensor("scale", TensorProto.FLOAT, [1], [1 / 255])
nodes = [
    helper.make_node("Cast", ["image"], ["pixels"], name="cast", to=TensorProto.FLOAT),
    helper.make_node("Mul", ["pixels", "scale"], ["out"], name="mul"),
]
graph = helper.make_graph(nodes, "bytes", [image], [out], [scale])
pixels = np.array([[0, 51, 102, 255]], np.uint8)
seen = {}
for kind, converter in (("onnxconverter-common", onnxconverter_common.float16), ("onnxruntime", float16)):
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    half = converter.convert_float_to_float16(model, keep_io_types=True)
    cast = TensorProto.DataType.Name(half.graph.node[0].attribute[0].i)
    declared = {v.name: TensorProto.DataType.Name(v.type.tensor_type.elem_type) for v in half.graph.value_info}
    try:
        onnx.checker.check_model(half, full_check=True)
        session = onnxruntime.InferenceSession(half.SerializeToString(), providers=["CPUExecutionProvider"])
        answer = session.run(None, {"image": pixels})[0].astype(float).round(3).tolist()
    except Exception as error:
        answer = type(error).__name__
    seen[kind] = cast, answer
    print(f"{kind}: Cast to {cast}, pixels declared {declared.get('pixels')}: {answer}")
assert seen["onnxconverter-common"] == ("FLOAT", "InferenceError"), "it is otherwise now"
assert seen["onnxruntime"] == ("FLOAT16", [[0.0, 0.2, 0.4, 1.0]])
PYTHON
echo "seen: onnxconverter-common makes a model of bytes invalid"
