"""The client against a real service: what goes in and out, and errors as exceptions."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.client import AsyncStellarClient, StellarClient, StellarError, pack, unpack
from service.tokens.choices import Pooling
from tests.service.photos import encoded, photo, pixels_of
from tests.service.server import Server, running

NOBODY = "http://127.0.0.1:9"
EDITS: list[dict[str, Any]] = [
    {"op": "drop", "token": 3},
    {"op": "scale", "token": 5, "factor": 2.5},
    {"op": "swap", "tokens": [1, 2]},
    {"op": "replace", "token": 4, "with": {"donor": 0, "token": 5}},
    {"op": "blend", "token": 6, "toward": {"donor": 1, "token": 2}, "alpha": 0.5},
    {"op": "move", "token": 7, "dx": 2, "dy": -1},
    {"op": "paint", "token": 8, "rectangle": [0, 0, 3, 2]},
    {"op": "keep", "tokens": [1, 2, 4, 5, 6, 7, 8]},
]


def embedding(client: httpx.Client, image: bytes, **options: str) -> NDArray[np.float32]:
    answer = client.post("/embed", files={"image": image}, params=options)
    return np.array(answer.json()["data"][0]["embedding"], np.float32)


def test_embeddings_are_the_service_s(stellar: StellarClient, client: httpx.Client, photo: bytes) -> None:
    np.testing.assert_allclose(stellar.embed(photo), embedding(client, photo), atol=1e-6)
    cls = stellar.embed(photo, pooling="cls", normalize=False, fit="pad", box=(0, 0.1, 0.5, 1))
    options = {"pooling": "cls", "fit": "pad", "box": "0,0.1,0.5,1", "normalize": "false"}
    want = embedding(client, photo, **options)
    np.testing.assert_allclose(cls, want, atol=1e-5)
    pooling: Pooling
    for pooling in ("tokens", "concepts"):
        assert stellar.embed(photo, pooling=pooling).shape == (16, 192)


def test_models_tell_which_vector_embed_gives(stellar: StellarClient, photo: bytes) -> None:
    poolings = stellar.models().find(None).poolings
    assert poolings == ("whitened", "mean", "cls", "tokens", "concepts")
    np.testing.assert_array_equal(stellar.embed(photo), stellar.embed(photo, pooling="whitened"))


def test_concepts_come_with_tokens(stellar: StellarClient, photo: bytes) -> None:
    concepts = stellar.embed(photo, pooling="concepts", normalize=False)
    step = float(np.abs(concepts).max()) / 127
    for tokens, tolerance in (
        (stellar.tokens(photo), 1e-5),
        (stellar.tokens(photo, storage="compact"), 0.51 * step),
    ):
        assert tokens.concepts is not None
        np.testing.assert_allclose(tokens.concepts, concepts, atol=tolerance)


def test_pictures_may_be_paths_bytes_arrays_and_images(stellar: StellarClient, tmp_path: Path) -> None:
    png = photo("coffee", "PNG")
    path = tmp_path / "coffee.png"
    path.write_bytes(png)
    pixels = pixels_of(png)
    image = Image.open(io.BytesIO(png))
    grey = image.convert("L")
    vectors = [stellar.embed(picture) for picture in (png, path, str(path), pixels, image)]
    for vector in vectors[1:]:
        np.testing.assert_array_equal(vector, vectors[0])
    np.testing.assert_array_equal(stellar.embed(np.asarray(grey)), stellar.embed(grey))
    alpha = image.convert("RGBA")
    np.testing.assert_array_equal(stellar.embed(np.asarray(alpha)), stellar.embed(alpha))


def test_images_of_any_mode_are_sent_upright(stellar: StellarClient) -> None:
    upright = Image.open(io.BytesIO(photo("rocket", "PNG")))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    turned = Image.open(io.BytesIO(encoded(upright.rotate(90, expand=True), "PNG", exif=exif)))
    np.testing.assert_array_equal(stellar.embed(turned), stellar.embed(upright))
    for mode in ("CMYK", "YCbCr", "P", "1", "I;16", "F"):
        assert stellar.embed(upright.convert("L" if mode == "I;16" else "RGB").convert(mode)).shape == (192,)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), r"expected uint8 pixels .* got float32 \(4, 4, 3\)"),
        (np.zeros((4, 4, 2), np.uint8), r"got uint8 \(4, 4, 2\)"),
        (np.zeros((2, 4, 4, 3), np.uint8), r"got uint8 \(2, 4, 4, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), "expected at least one pixel"),
    ],
)
def test_arrays_that_are_no_picture_are_refused_here(
    stellar: StellarClient, picture: NDArray[Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        stellar.embed(picture)


def test_tokens_are_the_service_s_and_say_what_they_cover(
    stellar: StellarClient, client: httpx.Client, photo: bytes
) -> None:
    tokens = stellar.tokens(photo)
    answer = client.post("/tokens", files={"image": photo}).json()
    item = answer["data"][0]
    np.testing.assert_allclose(tokens.semantics, item["semantics"], atol=1e-5)
    np.testing.assert_allclose(tokens.localization, item["localization"], atol=1e-5)
    assert tokens.model == answer["model"]
    assert (tokens.source.width, list(tokens.source.rectangle)) == (451, item["source"]["rectangle"])


def test_every_edit_draws_what_the_service_draws(
    stellar: StellarClient, client: httpx.Client, photo: bytes, other_photo: bytes
) -> None:
    donors = [other_photo, photo]
    for edits in ([], *([edit] for edit in EDITS), EDITS):
        files = [("image", photo), *(("donor", donor) for donor in donors)]
        answer = client.post("/reconstruct", files=files, data={"edits": json.dumps(edits)})
        drawn = stellar.reconstruct(photo, edits=edits, donors=donors)
        np.testing.assert_array_equal(np.asarray(drawn), pixels_of(answer.content))


def test_tokens_of_a_file_draw_the_same_picture(stellar: StellarClient, photo: bytes, tmp_path: Path) -> None:
    direct = np.asarray(stellar.reconstruct(photo, edits=EDITS[:1]), float)
    file = tmp_path / "cat.safetensors"
    for storage, most in (("full", 1), ("compact", 4)):
        file.write_bytes(pack([stellar.tokens(photo)], storage))  # type: ignore[arg-type]
        (tokens,) = unpack(file.read_bytes())
        drawn = np.asarray(stellar.reconstruct(tokens, edits=EDITS[:1]), float)
        assert np.sqrt(np.square(drawn - direct).mean()) < most
    sent = stellar.tokens(photo, storage="compact")
    np.testing.assert_array_equal(sent.semantics, tokens.semantics)


def test_heat_maps_come_as_a_sheet(stellar: StellarClient, photo: bytes) -> None:
    assert stellar.heatmaps(photo).width > 400


def test_models_say_what_is_served(stellar: StellarClient) -> None:
    models = stellar.models()
    model = models.find(None)
    assert (model.name, model.provider) == ("stellar-tiny", "CPUExecutionProvider")
    assert models.find(model.id) == models.find("stellar-tiny") == model
    with pytest.raises(KeyError, match="there is stellar-tiny@"):
        models.find("other")


def test_health_is_asked_once(stellar: StellarClient) -> None:
    assert (stellar.live(), stellar.ready()) == (True, True)
    with StellarClient(NOBODY, retries=100) as nobody:
        assert (nobody.live(), nobody.ready()) == (False, False)


def test_errors_carry_code_status_message_and_request_id(
    stellar: StellarClient, server: Server, photo: bytes
) -> None:
    with pytest.raises(StellarError) as caught:
        stellar.embed(photo[:1000])
    error = caught.value
    assert (error.code, error.status) == ("corrupt_image", 422)
    assert error.detail == "The image is truncated or damaged: send the whole file, or save it anew."
    known = error.request_id
    server.wait_until(lambda: any(line["request_id"] == known for line in server.logged("request")))
    assert str(error) == f"{error.detail} (corrupt_image, request {error.request_id})"
    with pytest.raises(StellarError, match=r"edits\[0\].* \(bad_edit"):
        stellar.reconstruct(photo, edits=[{"op": "drop", "token": 99}])
    with (
        StellarClient(server.url, model="other") as wrong,
        pytest.raises(StellarError, match=r"There is no model 'other' here.* \(unknown_model"),
    ):
        wrong.tokens(photo)


def test_answers_of_others_are_errors_too(server: Server, photo: bytes, tmp_path: Path) -> None:
    """A wrong path, and a server of something else, which answers 501 to one question and 200 to another."""
    with (
        StellarClient(f"{server.url}/elsewhere") as client,
        pytest.raises(StellarError, match=r"/docs has every route. \(not_found, request"),
    ):
        client.embed(photo)
    (tmp_path / "models").write_text("of cars")
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    ) as other:
        threading.Thread(target=other.serve_forever).start()
        with StellarClient(f"http://127.0.0.1:{other.server_port}") as client:
            for ask, status in ((lambda: client.embed(photo), 501), (client.models, 200)):
                with pytest.raises(StellarError, match="expected an answer of the service from") as caught:
                    ask()
                assert (caught.value.code, caught.value.status) == ("http_error", status)
        other.shutdown()


def test_nobody_there_is_an_error_that_says_where(photo: bytes) -> None:
    for url in (NOBODY, "no address"):
        with StellarClient(url, retries=1) as client, pytest.raises(StellarError, match=url) as caught:
            client.embed(photo)
        assert (caught.value.code, caught.value.status) == ("unreachable", None)


def test_files_that_can_not_be_read_are_named(stellar: StellarClient, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.jpg"):
        with pytest.raises(StellarError, match=str(path)) as caught:
            stellar.embed(path)
        assert caught.value.code == "unreadable_file"


def test_the_key_opens_and_no_other(toy_models: Path, tmp_path: Path, photo: bytes) -> None:
    with running(tmp_path / "log", {"STELLAR_API_KEYS": "right"}, "--models", str(toy_models)) as locked:
        with StellarClient(locked.url, api_key="right") as client:
            assert client.embed(photo).shape == (4,)
            assert client.models().default == "toy"
        for key in (None, "wrong"):
            with StellarClient(locked.url, api_key=key) as client, pytest.raises(StellarError) as caught:
                client.embed(photo)
            assert (caught.value.code, caught.value.status) == ("unauthorized", 401)
        assert "right" not in locked.log


def test_many_threads_may_share_a_client(stellar: StellarClient, photo: bytes) -> None:
    want = stellar.embed(photo)
    with ThreadPoolExecutor(8) as pool:
        for vector in pool.map(stellar.embed, [photo] * 16):
            np.testing.assert_allclose(vector, want, atol=1e-5)  # batches of other sizes round differently


def test_programs_with_asyncio_use_the_same_methods(server: Server, photo: bytes) -> None:
    async def ask() -> tuple[NDArray[np.float32], Image.Image, str]:
        async with AsyncStellarClient(server.url) as client:
            vector, drawn = await asyncio.gather(client.embed(photo), client.reconstruct(photo))
            return vector, drawn, (await client.models()).default

    vector, drawn, default = asyncio.run(ask())
    assert (vector.shape, drawn.size, default) == ((192,), (96, 96), "stellar-tiny")


def test_a_client_has_at_least_one_place() -> None:
    with pytest.raises(ValueError, match="concurrency: expected at least 1, got 0"):
        StellarClient(concurrency=0)


def test_a_closed_client_says_so(server: Server, photo: bytes) -> None:
    client = StellarClient(server.url)
    results = client.embed_all([photo] * 20)
    assert next(results).error is None
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="the client is closed"):
        next(results)
    with pytest.raises(RuntimeError, match="the client is closed"):
        client.ready()
