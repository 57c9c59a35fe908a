"""Many pictures through a client: order, errors in their place, bounds, overload, a late service."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from service.client import AsyncStellarClient, ImageTokens, Picture, StellarClient, StellarError
from tests.service.fleet.cluster import free_port
from tests.service.photos import plain
from tests.service.server import Server, running

REFUSED = 'stellar_rejected_total{reason="queue_full"}'
SLOW, QUICK = plain(30), plain(0)


@pytest.fixture(scope="module")
def narrow(toy_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that has room for three images at a time and runs one."""
    log = tmp_path_factory.mktemp("narrow") / "log"
    room = {"STELLAR_MAX_QUEUE": "2", "STELLAR_MAX_BATCH": "1"}
    with running(log, room, "--models", str(toy_models)) as server:
        yield server


def test_results_come_in_order_whatever_takes_longer(toy_models: Path, narrow: Server) -> None:
    levels = [60, 0, 1, 40, 2, 3]
    with StellarClient(narrow.url, concurrency=2) as client:
        results = list(client.embed_all([plain(level) for level in levels], normalize=False))
    assert [round(255 * float(result.value[0])) for result in results] == levels
    assert [result.picture for result in results] == [plain(level) for level in levels]


def test_errors_stand_in_their_place(stellar: StellarClient, photo: bytes, tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.jpg" for i in range(6)]
    for path in (paths[0], paths[3], paths[5]):
        path.write_bytes(photo)
    paths[1].write_bytes(photo[:1000])
    paths[4].write_bytes(b"")
    results = list(stellar.tokens_all(paths))
    assert [result.picture for result in results] == paths
    codes = [result.error.code if result.error else None for result in results]
    assert codes == [None, "corrupt_image", "unreadable_file", None, "empty_image", None]
    np.testing.assert_allclose(results[5].value.cls, results[0].value.cls, atol=1e-5)
    with pytest.raises(StellarError, match="corrupt_image"):
        _ = results[1].value


def test_tokens_and_pictures_are_drawn_in_a_stream(stellar: StellarClient, photo: bytes) -> None:
    tokens = stellar.tokens(photo)
    edits = [{"op": "keep", "tokens": [1]}]
    mixed: list[Picture | ImageTokens] = [tokens, photo, tokens]
    first, second, third = stellar.reconstruct_all(mixed, edits=edits)
    np.testing.assert_array_equal(np.asarray(first.value), np.asarray(third.value))
    assert np.abs(np.asarray(first.value, float) - np.asarray(second.value, float)).max() <= 1


def test_tokens_that_are_drawn_at_once_all_succeed(stellar: StellarClient, photo: bytes) -> None:
    tokens = stellar.tokens(photo)
    assert all(result.error is None for result in stellar.reconstruct_all([tokens] * 24))


def test_what_concerns_all_ends_the_stream(server: Server, photo: bytes) -> None:
    with (
        StellarClient(server.url, model="other") as client,
        pytest.raises(StellarError, match="unknown_model"),
    ):
        list(client.embed_all([photo] * 100))


def test_pictures_are_read_no_further_than_needed(stellar: StellarClient, photo: bytes) -> None:
    """An endless source: what is read ahead is bounded, and leaving the loop ends it."""
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield photo

    for done, result in enumerate(stellar.embed_all(endless()), start=1):
        assert result.error is None
        assert read <= done + 2 * 8  # two for each place
        if done == 20:
            break
    assert stellar.embed(photo).shape == (192,)


def test_what_the_source_raises_comes_out(stellar: StellarClient, photo: bytes) -> None:
    def broken() -> Iterator[bytes]:
        yield photo
        raise RuntimeError("the disk is gone")

    results = stellar.embed_all(broken())
    with pytest.raises(RuntimeError, match="the disk is gone"):
        list(results)


def test_no_more_are_on_their_way_than_there_are_places(narrow: Server) -> None:
    refused = narrow.metric(REFUSED)
    with StellarClient(narrow.url, concurrency=2, retries=0) as client:
        assert all(result.error is None for result in client.embed_all([plain(20)] * 8))
    assert narrow.metric(REFUSED) == refused


def test_overload_is_waited_out(narrow: Server) -> None:
    refused = narrow.metric(REFUSED)
    with StellarClient(narrow.url, concurrency=8, retries=20) as client:
        assert all(result.error is None for result in client.embed_all([SLOW] * 10))
    assert narrow.metric(REFUSED) > refused


def test_overload_that_lasts_ends_the_stream_and_blames_no_picture(narrow: Server) -> None:
    with (
        StellarClient(narrow.url, concurrency=8, retries=0) as client,
        pytest.raises(StellarError, match=r"\(queue_full"),
    ):
        list(client.embed_all([SLOW] * 10))


def test_a_service_that_starts_is_waited_for(toy_models: Path, tmp_path: Path) -> None:
    port = free_port()
    with StellarClient(f"http://127.0.0.1:{port}", retries=20) as client:
        assert not client.ready()
        with Server(tmp_path / "log", {}, "--models", str(toy_models), port=port):
            assert client.embed(QUICK).shape == (4,)


def test_asyncio_streams_can_be_left_and_cancelled(server: Server, photo: bytes) -> None:
    async def ask() -> int:
        async with AsyncStellarClient(server.url) as client:
            results = client.embed_all([photo] * 50)
            assert (await anext(results)).error is None
            await results.aclose()
            whole = asyncio.create_task(client.embed(photo))
            await asyncio.sleep(0)
            whole.cancel()
            with pytest.raises(asyncio.CancelledError):
                await whole
            return sum([result.error is None async for result in client.embed_all([photo] * 3)])

    assert asyncio.run(ask()) == 3
