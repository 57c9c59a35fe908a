"""Calls KServe's own client over gRPC and prints what it got as JSON; runs in an environment of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest


def tensor(name: str, array: Any, datatype: str, *, binary: bool) -> InferInput:
    made = InferInput(name, list(array.shape), datatype)
    if binary:
        made.set_data_from_numpy(array, binary_data=True)
    else:
        made.data = array.ravel().tolist()
    return made


async def calls(address: str, photo: bytes) -> dict[str, Any]:
    async with InferenceGRPCClient(address, retries=2) as client:

        async def infer(model: str, *inputs: InferInput, **options: Any) -> dict[str, Any]:
            answer = await client.infer(InferRequest(model, list(inputs), **options))
            return {output.name: output.as_numpy() for output in answer.outputs}

        photos = np.array([photo, photo], dtype=object)
        image = tensor("image", photos, "BYTES", binary=True)
        results: dict[str, Any] = {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model_ready": await client.is_model_ready("embed"),
            "raw": (await infer("embed", image))["embedding"].tolist(),
            "typed": (await infer("embed", tensor("image", photos, "BYTES", binary=False)))[
                "embedding"
            ].tolist(),
            "cls": (await infer("embed", image, parameters={"pooling": "cls"}))["embedding"].tolist(),
        }
        pixels = np.zeros((1, 96, 96, 3), np.uint8)
        for binary in (True, False):
            encoded = await infer("encoder", tensor("image", pixels, "UINT8", binary=binary))
            tokens = [
                tensor(name, encoded[name], "FP32", binary=binary) for name in ("semantics", "localization")
            ]
            results[f"drawn {binary}"] = (await infer("decoder", *tokens))["image"].tolist()
        try:
            await infer("encoder", tensor("image", pixels[0], "UINT8", binary=True))
        except grpc.RpcError as error:
            results["error"] = [error.code().name, error.details()]
        return results


if __name__ == "__main__":
    print(json.dumps(asyncio.run(calls(sys.argv[1], Path(sys.argv[2]).read_bytes()))))
