"""Calls of the service's own messages, as a stub makes them, and what comes of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc

from service.http.grpc import protocol
from service.http.grpc.protocol import SERVICE
from tests.service.server import Server


def port(server: Server) -> int:
    """Where it listens for gRPC."""
    found: int = server.logged("grpc_listening")[0]["port"]
    return found


def channel(server: Server, *options: tuple[str, Any]) -> grpc.Channel:
    """A connection of its own."""
    alone = ("grpc.use_local_subchannel_pool", 1)
    return grpc.insecure_channel(f"127.0.0.1:{port(server)}", options=(alone, *options))


def method(channel: grpc.Channel, name: str, answer: Any) -> Any:
    """A method that takes a message or its bytes."""
    return channel.unary_unary(
        f"/{SERVICE}/{name}", request_serializer=written, response_deserializer=answer.FromString
    )


def infer(channel: grpc.Channel) -> Any:
    """ModelInfer."""
    return method(channel, "ModelInfer", protocol.ModelInferResponse)


def written(message: Any) -> bytes:
    return message if isinstance(message, bytes) else bytes(message.SerializeToString())


def request(model: str, name: str, datatype: str, shape: Iterable[int], *raw: bytes, **fields: Any) -> Any:
    """A ModelInferRequest of one input."""
    tensor = {"name": name, "datatype": datatype, "shape": list(shape), **fields.pop("tensor", {})}
    return protocol.ModelInferRequest(model_name=model, inputs=[tensor], raw_input_contents=raw, **fields)


def pixels(*levels: int) -> Any:
    """A request to the toy's encoder: pictures of one level each; the lighter, the longer they take."""
    raw = b"".join(bytes([level]) * 192 for level in levels)
    return request("encoder", "image", "UINT8", (len(levels), 8, 8, 3), raw)


def refused(call: Any, *arguments: Any, **options: Any) -> tuple[grpc.StatusCode, str, str]:
    """The status, the code and the words with which a call is refused."""
    try:
        call(*arguments, **options)
    except grpc.RpcError as error:
        code = dict(error.trailing_metadata() or ()).get("x-stellar-code", "")
        return error.code(), code, error.details()
    raise AssertionError("it was answered")
