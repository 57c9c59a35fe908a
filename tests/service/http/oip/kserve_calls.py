"""Calls KServe's own client and prints what it got as JSON; runs in an environment of its own.

It wants older pandas and protobuf than training, and brings uvloop, which would change the server under test.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput


def tensor(name: str, array: Any, datatype: str, *, binary: bool) -> InferInput:
    made = InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


async def calls(url: str, photo: bytes) -> dict[str, Any]:
    async with InferenceRESTClient(RESTConfig(protocol="v2", retries=0)) as client:

        async def infer(model: str, *inputs: InferInput, binary: bool, **options: Any) -> dict[str, Any]:
            parameters = options.pop("parameters", {}) | {"binary_data_output": binary}
            request = InferRequest(model, list(inputs), parameters=parameters, **options)
            answer = await client.infer(url, request, model_name=model)
            return {output.name: output.as_numpy() for output in answer.outputs}

        image = tensor("image", np.array([photo, photo], dtype=object), "BYTES", binary=True)
        pixels = np.zeros((1, 96, 96, 3), np.uint8)
        results: dict[str, Any] = {
            "live": await client.is_server_live(url),
            "ready": await client.is_server_ready(url),
            "model_ready": [await client.is_model_ready(url, name) for name in ("embed", "absent")],
            "binary": (await infer("embed", image, binary=True))["embedding"].tolist(),
            "json": (await infer("embed", image, binary=False))["embedding"].tolist(),
            "cls": (await infer("embed", image, binary=True, parameters={"pooling": "cls"}))[
                "embedding"
            ].tolist(),
        }
        for binary in (True, False):
            encoded = await infer("encoder", tensor("image", pixels, "UINT8", binary=binary), binary=binary)
            tokens = [
                tensor(name, encoded[name], "FP32", binary=binary) for name in ("semantics", "localization")
            ]
            drawn = await infer("decoder", *tokens, binary=binary)
            results[f"drawn {binary}"] = drawn["image"].tolist()
        some = [RequestedOutput("cls")]
        subset = await infer(
            "encoder", tensor("image", pixels, "UINT8", binary=True), binary=True, request_outputs=some
        )
        results["subset"] = sorted(subset)
        try:
            await infer("encoder", tensor("image", pixels[0], "UINT8", binary=True), binary=True)
        except httpx.HTTPStatusError as error:
            results["error"] = str(error)
        return results


if __name__ == "__main__":
    print(json.dumps(asyncio.run(calls(sys.argv[1], Path(sys.argv[2]).read_bytes()))))
