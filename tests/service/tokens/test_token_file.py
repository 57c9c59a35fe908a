"""Tokens in files: what is kept, what is refused."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from service.tokens.pictures import Source
from service.tokens.token_file import (
    ImageTokens,
    Storage,
    compact,
    expand,
    load_arrays,
    pack,
    unpack,
    unpack_row,
)

SOURCE = np.random.default_rng(0)
H, W, R, D = 3, 2, 5, 8


def tokens(width: int = 640, model: str = "toy@1") -> ImageTokens:
    return ImageTokens(
        semantics=SOURCE.normal(size=(R, D)).astype(np.float32),
        localization=SOURCE.dirichlet([0.1] * R, (H, W)).astype(np.float32),
        cls=SOURCE.normal(size=D).astype(np.float32),
        model=model,
        source=Source(
            width=width, height=480, rectangle=(80.0, 0.0, 560.0, 480.0), box=(0.0, 0.0, float(width), 480.0)
        ),
    )


def test_files_of_before_are_of_whole_pictures() -> None:
    box = b', \\"box\\": [0.0, 0.0, 640.0, 480.0]'
    file = pack([tokens()]).replace(box, b" " * len(box))
    (image,) = unpack(file)
    assert image.source == tokens().source
    assert b"box" not in file


def test_full_files_read_back_to_the_bit() -> None:
    images = [tokens(640), tokens(320)]
    for before, after in zip(images, unpack(pack(images)), strict=True):
        assert (after.model, after.source, after.concepts) == (before.model, before.source, None)
        for name in ("semantics", "localization", "cls"):
            np.testing.assert_array_equal(getattr(after, name), getattr(before, name))


@pytest.mark.parametrize("storage", ["full", "compact"])
def test_concepts_are_kept_as_tokens_are(storage: Storage) -> None:
    before = [replace(each, concepts=each.semantics[::-1] - 1) for each in (tokens(640), tokens(320))]
    for one, other in zip(before, unpack(pack(before, storage)), strict=True):
        assert one.concepts is not None
        assert other.concepts is not None
        step = np.abs(one.concepts).max(axis=1, keepdims=True) / 127 if storage == "compact" else 0
        assert (np.abs(other.concepts - one.concepts) <= 0.501 * step).all()


def test_tokens_have_a_place_where_they_are_the_largest_of_a_patch() -> None:
    localization = np.full((2, 2, 4), 0.1, np.float32)
    localization[..., 2] = 0.4
    localization[1, 0, 0] = 0.5
    assert replace(tokens(), localization=localization).placed == [0, 2]


@pytest.mark.parametrize("storage", ["full", "compact"])
def test_arrays_of_any_order_are_written_as_they_read(storage: Storage) -> None:
    plain = tokens()
    columns_first = replace(
        plain,
        semantics=np.asfortranarray(plain.semantics),
        localization=np.asfortranarray(plain.localization),
    )
    every_other = replace(plain, semantics=np.repeat(plain.semantics, 2, axis=-1)[:, ::2])
    for image in (columns_first, every_other):
        written, expected = (load(pack([each], storage)) for each in (image, plain))
        for name in expected:
            np.testing.assert_array_equal(written[name], expected[name])


def test_compact_numbers_are_off_by_half_a_step_at_most() -> None:
    before = tokens()
    (after,) = unpack(pack([before], "compact"))
    assert (after.model, after.source) == (before.model, before.source)
    step = np.abs(before.semantics).max(axis=1, keepdims=True) / 127
    assert (np.abs(after.semantics - before.semantics) <= 0.501 * step).all()
    assert np.abs(after.cls - before.cls).max() <= 0.501 * np.abs(before.cls).max() / 127
    np.testing.assert_allclose(after.localization.sum(axis=-1), 1, atol=1e-6)
    assert np.abs(after.localization - before.localization).max() < 0.02


def test_compact_files_keep_the_order_of_small_shares() -> None:
    """What a patch falls back on when its main token is dropped is not lost."""
    shares = np.array([1, 1e-3, 1e-5, 1e-7, 0], np.float32)
    before = tokens()
    before.localization[:] = shares / shares.sum()
    (after,) = unpack(pack([before], "compact"))
    kept = after.localization[0, 0]
    assert kept.argsort().tolist() == [4, 3, 2, 1, 0]
    np.testing.assert_allclose(kept[:4], shares[:4], rtol=0.5)
    assert kept[4] == 0


def test_compact_files_are_a_quarter_and_packing_again_changes_nothing() -> None:
    arrays = {
        "semantics": SOURCE.normal(size=(1, 16, 192)).astype(np.float32),
        "localization": SOURCE.dirichlet([0.1] * 16, (1, 12, 12)).astype(np.float32),
        "cls": SOURCE.normal(size=(1, 192)).astype(np.float32),
    }
    once = compact(arrays)
    assert sum(a.nbytes for a in once.values()) < 0.26 * sum(a.nbytes for a in arrays.values())
    again = compact(expand(once))
    for name in ("semantics", "cls", "localization"):
        np.testing.assert_array_equal(again[name], once[name])


def test_tokens_of_nothing_are_stored_as_nothing() -> None:
    before = tokens()
    before.semantics[2] = 0
    (after,) = unpack(pack([before], "compact"))
    assert not after.semantics[2].any()


def test_one_file_holds_the_tokens_of_one_model() -> None:
    with pytest.raises(ValueError, match=r"one model, got \['a@1', 'b@1'\]"):
        pack([tokens(model="a@1"), tokens(model="b@1")])
    with pytest.raises(ValueError, match="one model, got"):
        pack([])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"semantics": np.zeros((1, R, D), np.float32)}, "semantics: expected int8"),
        ({"semantics.scale": np.zeros((1, R - 1), np.float32)}, "semantics: expected int8"),
        ({"semantics.scale": np.zeros((1, R), np.float16)}, "semantics: expected int8"),
        ({"semantics": None}, "semantics: expected int8"),
        ({"cls.scale": np.zeros((2,), np.float32)}, "cls: expected int8"),
        ({"localization": np.zeros((1, H, W, R), np.float32)}, "localization: expected uint8"),
        ({"localization": np.ones((), np.uint8)}, "localization: expected shares of tokens"),
        ({"semantics": np.ones((), np.int8)}, "semantics: expected int8"),
        ({"localization": None}, "'localization' is missing"),
        ({"cls": None, "cls.scale": None}, "'cls' is missing"),
        (
            {"localization": np.ones((1, R), np.uint8)},
            r"expected semantics .* of 1 images, got \[1, 5, 8\], \[1, 5\]",
        ),
        ({"localization": np.ones((2, H, W, R), np.uint8)}, "of 1 images"),
        ({"localization": np.ones((1, 0, 0, R), np.uint8)}, "of 1 images"),
        ({"concepts": np.ones((), np.float32)}, "and concepts if any"),
    ],
)
def test_unsound_files_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    sound = pack([tokens()], "compact")
    arrays = {name: array for name, array in (load(sound) | changes).items() if array is not None}
    with pytest.raises(ValueError, match=message):
        unpack(save(arrays, metadata={"model": "toy@1", "sources": told({})}))


def told(changes: dict[str, Any]) -> str:
    """A file's sources: one picture's, with changes."""
    return json.dumps([asdict(tokens().source) | changes])


@pytest.mark.parametrize("sources", ["{", "3", "null", "[1]", '["abc"]', "[{}]"])
def test_sources_of_no_picture_are_refused(sources: str) -> None:
    with pytest.raises(ValueError, match=r"^sources: expected a list with width, height and rectangle"):
        unpack(save(load(pack([tokens()])), metadata={"model": "toy@1", "sources": sources}))


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 0},
        {"height": -1},
        {"width": 2**14, "height": 2**14},
        {"width": 5.5},
        {"width": "5"},
        {"rectangle": None},
        {"rectangle": [0, 0, 5]},
        {"rectangle": [0, 0, 0, 5]},
        {"rectangle": [0, 5, 5, 0]},
        {"rectangle": [0, 0, float("nan"), 5]},
        {"rectangle": [0, 0, float("inf"), 5]},
        {"rectangle": ["a", 0, 5, 5]},
        {"box": [1]},
    ],
)
def test_places_that_no_picture_has_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^source: expected the size of a picture, and rectangle and box"):
        unpack(save(load(pack([tokens()])), metadata={"model": "toy@1", "sources": told(changes)}))


def test_a_row_has_one_picture() -> None:
    one = tokens()
    assert unpack_row(pack([one])).source == one.source
    for row, number in ((None, 0), (pack([one, one]), 2)):
        with pytest.raises(ValueError, match=f"expected the tokens of one picture in each row, got {number}"):
            unpack_row(row)


def test_other_files_are_refused() -> None:
    with pytest.raises(ValueError, match="no safetensors file"):
        load_arrays(b"GIF89a")
    with pytest.raises(ValueError, match="holds no tokens"):
        unpack(save({"semantics": np.zeros(3, np.float32)}))
