"""When a server is ready: when it answers, and answers right."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import cache
from pathlib import Path

import httpx
import numpy as np

from service.settings import read_settings
from tests.benchmarks.serving.contenders import Place
from tests.benchmarks.serving.encoder import Encoder
from tests.benchmarks.serving.load import HEADERS
from tests.benchmarks.serving.processes import Processes

START_TIMEOUT_S = 300.0
LOOK_EVERY_S = 0.05
LEAST_COSINE = 0.999


def wait_for_answer(processes: Processes, path: str, port: int, jpeg: bytes) -> tuple[float, bytes]:
    """Seconds from now until a picture is answered, and the answer.

    Raises `RuntimeError` where that never happens.
    """
    started = time.perf_counter()
    headers = HEADERS | {"Accept-Encoding": "identity"}
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=START_TIMEOUT_S
    ) as client:
        while (passed := time.perf_counter() - started) < START_TIMEOUT_S and processes.root.poll() is None:
            with suppress(httpx.TransportError):
                answer = client.post(path, content=jpeg)
                if answer.status_code == 200:
                    return time.perf_counter() - started, answer.content
            time.sleep(LOOK_EVERY_S)
    raise RuntimeError(f"{processes.root.args!r} gave no answer in {passed:.0f} s; its log tells more")


@cache
def _encoder(bundle: Path, device: str) -> Encoder:
    return Encoder(bundle, read_settings(device=device))


def check_answer(answer: bytes, place: Place, jpeg: bytes) -> None:
    """Raise `RuntimeError` where an answer does not end with the picture's vector as float32."""
    encoder = _encoder(place.bundle, place.device)
    [want] = encoder.run([encoder.decode(jpeg)])
    got = np.frombuffer(answer[-want.nbytes :], np.float32)
    cosine = (
        float(want @ got / (np.linalg.norm(want) * np.linalg.norm(got))) if got.shape == want.shape else 0.0
    )
    if cosine < LEAST_COSINE:
        raise RuntimeError(f"expected the encoder's vector, got one with a cosine of {cosine} to it")
