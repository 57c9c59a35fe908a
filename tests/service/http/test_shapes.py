"""A model whose pictures are higher than wide: every route, alone and through Redis."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from service.client import StellarClient
from service.tokens.pooling import normalized
from tests.service.fleet.cluster import cluster_of
from tests.service.photos import encoded, pixels_of
from tests.service.server import Server, running
from tests.service.toy import results, write_toy

pytestmark = pytest.mark.long

GRID = (3, 2)
SEEN = np.random.default_rng(3).integers(0, 256, (12, 8, 3), dtype=np.uint8)
"""No part of it is like another."""


@pytest.fixture(scope="module", params=["alone", "through Redis"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("tall")
    write_toy(folder / "models" / "toy", patches=GRID)
    if request.param == "alone":
        with running(folder / "log", {"STELLAR_MODELS_DIR": str(folder / "models")}) as started:
            yield started
        return
    with cluster_of(folder, folder / "models") as cluster:
        cluster.worker()
        yield cluster.ready()


def test_its_answers_are_those_of_plain_formulas(service: Server) -> None:
    """To a picture that is wider, of which it sees the middle."""
    wide = np.zeros((12, 20, 3), np.uint8)
    wide[:, 6:14] = SEEN
    sent = {"image": encoded(Image.fromarray(wide), "PNG")}
    expected = {name: array[0] for name, array in results(SEEN[None]).items()}

    [item] = service.client.post("/embed", files=sent).json()["data"]
    np.testing.assert_allclose(item["embedding"], normalized(expected["semantics"].mean(0)), atol=1e-5)

    answer = service.client.post("/tokens?heatmaps=true", files=sent).json()
    [item] = answer["data"]
    assert answer["grid"] == [3, 2]
    np.testing.assert_allclose(item["semantics"], expected["semantics"], atol=1e-5)
    np.testing.assert_allclose(item["localization"], expected["localization"].reshape(3, 2, 3), atol=1e-5)
    assert item["source"] == {"width": 20, "height": 12, "rectangle": [6, 0, 14, 12], "box": [0, 0, 20, 12]}
    maps = [item["heatmaps"]["regions"], *item["heatmaps"]["tokens"]]
    assert {pixels_of(base64.b64decode(each)).shape for each in maps} == {(12, 8, 3)}

    drawn = pixels_of(
        service.client.post("/reconstruct", files=sent, headers={"accept": "image/png"}).content
    )
    np.testing.assert_array_equal(drawn, expected["drawn"])
    moved = {"edits": '[{"op":"paint","token":0,"cells":[[1,2]]}]'}  # the last cell: column 1, row 2
    painted = service.client.post("/reconstruct", files=sent, data=moved, headers={"accept": "image/png"})
    changed = np.argwhere((pixels_of(painted.content) != drawn).any(axis=2))
    assert (changed.min(axis=0).tolist(), changed.max(axis=0).tolist()) == ([8, 4], [11, 7])


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_tokens_in_json_tell_their_grid_and_no_other_is_drawn(service: Server, encoding: str) -> None:
    sent = {"image": encoded(Image.fromarray(SEEN), "PNG")}
    answer = service.client.post("/tokens", files=sent, data={"encoding_format": encoding}).json()
    [item] = answer["data"]
    assert item["grid"] == answer["grid"] == [3, 2]
    png = {"accept": "image/png"}
    of_before = {name: value for name, value in item.items() if name != "grid"}
    for tokens in (item, of_before):
        drawn = service.client.post("/reconstruct", json={"tokens": tokens}, headers=png)
        np.testing.assert_array_equal(pixels_of(drawn.content), results(SEEN[None])["drawn"][0])
    refused = service.client.post("/reconstruct", json={"tokens": item | {"grid": [2, 3]}}, headers=png)
    assert (refused.status_code, refused.json()["code"]) == (400, "bad_tokens")
    assert "grid: expected the grid [3, 2]" in refused.json()["detail"]


def test_it_tells_its_size_as_height_and_width(service: Server) -> None:
    [model] = service.client.get("/models").json()["models"]
    assert (model["image_size"], model["grid"]) == ([12, 8], [3, 2])
    with StellarClient(service.url) as stellar:
        assert stellar.models().models[0].image_size == (12, 8)
    encoder = service.client.get("/v2/models/toy.encoder").json()
    assert encoder["inputs"][0]["shape"] == [-1, 12, 8, 3]
    pixels = {"name": "image", "datatype": "UINT8", "shape": [1, 12, 8, 3], "data": SEEN.flatten().tolist()}
    answer = service.client.post("/v2/models/toy.encoder/infer", json={"inputs": [pixels]}).json()
    localization = next(each for each in answer["outputs"] if each["name"] == "localization")
    expected = results(SEEN[None])["localization"]
    assert localization["shape"] == [1, 6, 3]
    np.testing.assert_allclose(localization["data"], expected.flatten(), atol=1e-5)
