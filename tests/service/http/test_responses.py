"""Which form of answer a caller gets, and what is in it."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from service.errors import CorruptImage, NotAcceptable
from service.http.responses import (
    JPEG,
    JSON,
    NPY,
    PNG,
    WEBP,
    data,
    encode_picture,
    json_response,
    negotiate,
    npy_response,
    numbers,
)

PICTURES_FIRST = (PNG, WEBP, JPEG, JSON)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, PNG),
        ("*/*", PNG),
        ("image/*", PNG),
        ("image/webp", WEBP),
        ("IMAGE/JPEG", JPEG),
        ("application/json", JSON),
        ("application/*", JSON),
        ("image/png;q=0.5, image/webp", WEBP),
        ("image/png;q=0.5, image/webp;q=0.5", PNG),
        ("text/html, image/webp;q=0.9, */*;q=0.8", WEBP),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", PNG),
        ("*/*;q=0.1, application/json", JSON),
        ("image/*;q=0.2, image/jpeg;q=0.7", JPEG),
        ("image/png;q=0, */*", WEBP),
        ("image/*;q=0, */*", JSON),
        (" image/webp ; q=1 , image/png ; q=0.1", WEBP),
        ("image/png;q=many, image/jpeg;q=0.1", JPEG),
        ("image/jpeg;level=1", JPEG),
    ],
)
def test_the_best_liked_form_wins(accept: str | None, kind: str) -> None:
    assert negotiate(accept, PICTURES_FIRST) == kind


@pytest.mark.parametrize(
    "accept",
    ["text/html", "image/gif", "image/png;q=0", "*/*;q=0", "text/*, audio/*", "image", "nonsense,;;,"],
)
def test_nothing_acceptable_is_told(accept: str) -> None:
    with pytest.raises(NotAcceptable, match="image/png, image/webp, image/jpeg, application/json"):
        negotiate(accept, PICTURES_FIRST)


def test_numbers_come_as_lists_or_as_little_endian_floats() -> None:
    array = np.array([[1.5, -2], [3, 0.25]], np.float32)
    for turned, values in ((array, b"[[1.5,-2.0],[3.0,0.25]]"), (array.T, b"[[1.5,3.0],[-2.0,0.25]]")):
        assert json_response(numbers(turned, "float")).body == values
    encoded = numbers(array, "base64")
    assert isinstance(encoded, str)
    assert np.frombuffer(base64.b64decode(encoded), "<f4").tolist() == [1.5, -2, 3, 0.25]


def test_items_are_numbered_and_errors_stand_in_their_place() -> None:
    error = CorruptImage("The image is truncated or damaged: send the whole file, or save it anew.")
    first, second = data([{"x": 1}, error], "id")
    assert first == {"index": 0, "x": 1}
    assert second == {"index": 1, "error": error.problem("id")}


def test_npy_reads_back() -> None:
    arrays = [np.arange(3, dtype=np.float32), np.ones(3, np.float32)]
    response = npy_response(arrays)
    assert response.media_type == NPY
    np.testing.assert_array_equal(np.load(io.BytesIO(bytes(response.body))), np.stack(arrays))


def test_pictures_are_encoded_as_asked_and_quality_counts() -> None:
    source = np.random.default_rng(0)
    pixels = np.repeat(np.repeat(source.integers(0, 256, (16, 16, 3), np.uint8), 4, 0), 4, 1)
    for kind, name in ((PNG, "PNG"), (WEBP, "WEBP"), (JPEG, "JPEG")):
        with Image.open(io.BytesIO(encode_picture(pixels, kind, 90))) as image:
            assert (image.format, image.size) == (name, (64, 64))
    for kind in (WEBP, JPEG):
        assert len(encode_picture(pixels, kind, 10)) < len(encode_picture(pixels, kind, 95))
    with Image.open(io.BytesIO(encode_picture(pixels, PNG, 1))) as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)
