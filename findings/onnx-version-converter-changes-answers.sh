#!/bin/sh
# onnx 1.23.2: version_converter.convert_version gives a model that passes the checker, loads, and answers otherwise. One expects that a conversion
# that does not raise keeps what the model computes. Upsample and Resize up to opset 10 lay the first pixels on each other (what opset 11 calls
# asymmetric); the converter leaves coordinate_transformation_mode out, which from 11 on means half_pixel, so every linear enlarging moves by
# up to half a pixel. Hardmax up to opset 12 is over all axes from `axis` on, from 13 over one; the converter rewrites Softmax and LogSoftmax, which
# changed with it, and leaves Hardmax as it is.
#
# So an older decoder or segmenter that is brought to a newer opset, to join it with others or to quantize it, draws pictures and masks that are
# displaced; and one choice among all codes becomes one for each place. What helps: compare the answers of both models, and set
# coordinate_transformation_mode="asymmetric" after the conversion.
#
# Seen: [0, 10, 20, 30] enlarged twice: Upsample-9 and Resize-10 0, 5, 10, 15, 20, 25, 30, 30; both as of opset 13 0, 2.5, 7.5, 12.5, 17.5, 22.5,
# 27.5, 30, with asymmetric as before. Ones of a 2 x 3 map: Hardmax-11 1, as of opset 13 3; Softmax-11 sums to 1, as of opset 13 to 1
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
ORT_DISABLE_TELEMETRY=1 venv/bin/python - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper, version_converter


def model_of(operator, opset, shape, shape_after, scales=None, **attributes):
    constants = [] if scales is None else [numpy_helper.from_array(np.array(scales, np.float32), "scales")]
    node = helper.make_node(operator, ["x", *(constant.name for constant in constants)], ["y"], **attributes)
    ends = [helper.make_tensor_value_info(*end) for end in (("x", TensorProto.FLOAT, shape), ("y", TensorProto.FLOAT, shape_after))]
    graph = helper.make_graph([node], "one", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=4)
    onnx.checker.check_model(model, full_check=True)
    return model


def converted(model):
    newer = version_converter.convert_version(model, 13)
    onnx.checker.check_model(newer, full_check=True)
    return newer


def answer(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


row = np.array([0, 10, 20, 30], np.float32).reshape(1, 1, 1, 4)
for operator, opset in (("Upsample", 9), ("Resize", 10)):
    model = model_of(operator, opset, [1, 1, 1, 4], [1, 1, 1, 8], [1, 1, 1, 2], mode="linear")
    newer = converted(model)
    before, after = (answer(each, row).ravel().tolist() for each in (model, newer))
    (resize,) = [node for node in newer.graph.node if node.op_type == "Resize"]
    resize.attribute.append(helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
    mended = answer(newer, row).ravel().tolist()
    print(f"{operator}-{opset}: {before}, as of opset 13: {after}, with asymmetric: {mended}")
    assert before == mended == [0, 5, 10, 15, 20, 25, 30, 30]
    assert after == [0, 2.5, 7.5, 12.5, 17.5, 22.5, 27.5, 30], "it is otherwise now"

places = np.array([[1, 5, 2], [3, 4, 6]], np.float32).reshape(1, 2, 3)
ones = {}
for operator in ("Hardmax", "Softmax"):
    model = model_of(operator, 11, [1, 2, 3], [1, 2, 3], axis=1)
    ones[operator] = tuple(round(float(answer(each, places).sum()), 3) for each in (model, converted(model)))
    print(f"{operator}-11: sums to {ones[operator][0]}, as of opset 13 to {ones[operator][1]}")
assert ones["Softmax"] == (1, 1)
assert ones["Hardmax"] == (1, 3), "it is otherwise now"
PYTHON
echo "seen: onnx 1.23.2 converts models to such as answer otherwise"
