"""Pictures that take much to decode, and others that must not wait for them."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.service.photos import encoded, plain
from tests.service.server import Server, running

CLIENTS = 8
EACH = 5
MEMORY = 32 * 2**20
KEYS = [f"key-{i}" for i in range(CLIENTS + 1)]
SETTINGS = {
    "STELLAR_DECODE_MEMORY": str(MEMORY),
    "STELLAR_API_KEYS": ",".join(KEYS),
    "STELLAR_REQUEST_TIMEOUT_S": "120",
}
COLOUR = (200, 0, 90)
"""One that the toy is quick with."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, toy_models: Path) -> Iterator[Server]:
    """One with little room for pictures, and a key for each client."""
    log = tmp_path_factory.mktemp("decoding") / "log"
    with running(log, SETTINGS, "--models", str(toy_models)) as server:
        yield server


def embed(server: Server, key: str, *images: bytes) -> httpx.Response:
    files = [("image", image) for image in images]
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return server.client.post("/embed", files=files, headers=headers, timeout=120)


def worst() -> list[bytes]:
    """What takes about 25 MB each, of a file of some kilobytes."""
    megapixels = {"PNG": 6, "WEBP": 1.5, "JPEG": 4, "AVIF": 1.2}
    options = {"JPEG": {"progressive": True, "subsampling": 0}, "WEBP": {"method": 0}, "AVIF": {"speed": 10}}
    return [
        encoded(
            Image.new("RGB", (2000, round(size * 500)), COLOUR),
            kind,
            **options.get(kind, {}),
        )
        for kind, size in megapixels.items()
    ]


def peak(server: Server) -> int:
    """The most memory that the process has had, in bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return 1024 * int(re.findall(r"VmHWM:\s+(\d+)", status)[0])


def test_small_pictures_go_on_while_others_send_the_worst_in_little_memory(server: Server) -> None:
    small = encoded(Image.new("RGB", (8, 8), COLOUR))
    expected = embed(server, KEYS[-1], small).json()["data"][0]["embedding"]
    pictures = worst()
    sent = [[pictures[(i + j) % len(pictures)] for j in range(EACH)] for i in range(CLIENTS)]
    before, answered = peak(server), 0
    with ThreadPoolExecutor(CLIENTS) as pool:
        large = [pool.submit(embed, server, KEYS[i], *images) for i, images in enumerate(sent)]
        while not all(each.done() for each in large):
            answer = embed(server, KEYS[-1], small)
            assert answer.json()["data"][0]["embedding"] == expected
            answered += 1
        for each in large:
            for item in each.result().json()["data"]:
                assert "embedding" in item, item
                np.testing.assert_allclose(item["embedding"], expected, atol=0.02)
    assert answered >= CLIENTS * EACH
    assert peak(server) - before < 3 * MEMORY


def test_picture_that_never_fits_is_refused_with_what_to_do(server: Server) -> None:
    answer = embed(server, KEYS[0], encoded(Image.new("RGB", (5000, 4000)), "PNG", compress_level=1))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_much_memory")
    assert "STELLAR_DECODE_MEMORY" in answer.json()["detail"]
    assert embed(server, KEYS[0], encoded(Image.new("RGB", (5000, 4000)), "JPEG")).status_code == 200


SLOW = """
import sys
import time
from service.http.server import run_server
from service.settings import Settings
from service.tokens import pictures

pictures.opened = lambda *_: time.sleep(60)
run_server(Settings(port=int(sys.argv[2])))
"""


@pytest.mark.parametrize("side", [8, 2100])
def test_server_ends_while_a_decoder_is_busy(toy_models: Path, tmp_path: Path, side: int) -> None:
    """On an engine's thread, and on one for large pictures."""
    settings = {"STELLAR_MODELS_DIR": str(toy_models), "STELLAR_SHUTDOWN_GRACE_S": "1"}
    with (
        running(tmp_path / "log", settings, command=("-c", SLOW)) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        server.expect("Cancel 1 running task(s), timeout graceful shutdown exceeded")
        asked = pool.submit(embed, server, "", plain(0, side))
        time.sleep(1)
        server.send(signal.SIGTERM)
        assert server.process.wait(20) == 0
        assert asked.result().status_code == 503
