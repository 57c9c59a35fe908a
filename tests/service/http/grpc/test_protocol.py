"""The protocol's file: what is made of it, and that it is the one that others have."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc
from tritonclient.grpc import service_pb2

import service.http.grpc
from tests.service.http.grpc.wire import port
from tests.service.http.oip.test_kserve import PYTHON
from tests.service.server import Server

FOLDER = Path(service.http.grpc.__file__).parent
MADE = FOLDER / "open_inference.binpb"
KSERVE = (
    "from kserve.protocol.grpc.grpc_predict_v2_pb2 import DESCRIPTOR; "
    "import sys; sys.stdout.buffer.write(DESCRIPTOR.serialized_pb)"
)


def test_descriptors_are_those_of_the_file(tmp_path: Path) -> None:
    """Made anew: python -m grpc_tools.protoc -I service/http/grpc --descriptor_set_out
    service/http/grpc/open_inference.binpb open_inference.proto"""
    made = tmp_path / "made"
    assert protoc.main(["", f"-I{FOLDER}", f"--descriptor_set_out={made}", "open_inference.proto"]) == 0
    assert made.read_bytes() == MADE.read_bytes()


def numbered(messages: Any, within: str = "") -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every field's name in full; its number, its type, whether there may be many."""
    for message in messages:
        name = f"{within}{message.name}."
        for field in message.field:
            yield name + field.name, (field.number, field.type, field.label)
        yield from numbered(message.nested_type, name)


def methods(file: FileDescriptorProto) -> dict[str, tuple[Any, ...]]:
    (its,) = file.service
    return {
        f"{file.package}.{its.name}/{each.name}": (
            each.input_type,
            each.output_type,
            each.client_streaming,
            each.server_streaming,
        )
        for each in its.method
    }


@pytest.fixture(params=["triton", "kserve"])
def theirs(request: pytest.FixtureRequest) -> FileDescriptorProto:
    if request.param == "triton":
        return FileDescriptorProto.FromString(service_pb2.DESCRIPTOR.serialized_pb)
    assert PYTHON.exists(), "make test sets up KServe's client"
    told = subprocess.run([PYTHON, "-c", KSERVE], check=True, capture_output=True).stdout
    return FileDescriptorProto.FromString(told)


def test_names_and_numbers_are_those_of_the_clients(theirs: FileDescriptorProto) -> None:
    (ours,) = FileDescriptorSet.FromString(MADE.read_bytes()).file
    known: dict[str, Any] = dict(numbered(theirs.message_type)) | methods(theirs)
    told: dict[str, Any] = dict(numbered(ours.message_type)) | methods(ours)
    both = set(known) & set(told)
    assert {name: told[name] for name in both} == {name: known[name] for name in both}
    beyond = {name.partition(".")[0] for name in set(told) - both if "/" not in name}
    assert beyond <= {"ModelStreamInferResponse", "InferParameter"}


STUB = """
import json, sys
import grpc
import open_inference_pb2 as messages
import open_inference_pb2_grpc as stubs

with grpc.insecure_channel(sys.argv[1]) as channel:
    stub = stubs.GRPCInferenceServiceStub(channel)
    image = messages.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[1])
    image.contents.bytes_contents.append(open(sys.argv[2], "rb").read())
    request = messages.ModelInferRequest(model_name="embed", inputs=[image])
    answer = stub.ModelInfer(request, metadata=[("authorization", "Bearer sesame")], timeout=30)
    ready = stub.ServerReady(messages.ServerReadyRequest()).ready
    print(json.dumps([ready, list(answer.outputs[0].shape), answer.raw_output_contents[0].hex()]))
"""


def test_stub_that_anybody_makes_of_the_file_works(both: Server, photo: bytes, tmp_path: Path) -> None:
    """In a process of its own: its messages have the names of Triton's."""
    out = f"--python_out={tmp_path}", f"--grpc_python_out={tmp_path}"
    assert protoc.main(["", f"-I{FOLDER}", *out, "open_inference.proto"]) == 0
    (tmp_path / "stub.py").write_text(STUB)
    (tmp_path / "photo.jpg").write_bytes(photo)
    command: list[str | Path] = [
        sys.executable,
        tmp_path / "stub.py",
        f"127.0.0.1:{port(both)}",
        tmp_path / "photo.jpg",
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    ready, shape, vector = json.loads(done.stdout)
    assert (ready, shape) == (True, [1, 192])
    np.testing.assert_allclose([np.frombuffer(bytes.fromhex(vector), "<f4")], both.embedded(photo), atol=1e-5)
