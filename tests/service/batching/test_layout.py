"""Arrays survive the way through bytes; anything else is refused with its reason."""

from __future__ import annotations

import numpy as np
import pytest

from service.batching.layout import ALIGNED, Malformed, pack, unpack
from service.runtime.engine import Arrays

IMAGE = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
CLS = np.array([0.1, -2.5, np.nan], np.float32)


def test_arrays_read_back_the_same() -> None:
    arrays: Arrays = {"image": IMAGE[::-1, :, :], "cls": CLS}  # one that does not lie in a row
    before = b"12345678" * (ALIGNED // 8)
    data = pack(arrays, before)
    assert data.startswith(before)
    back = unpack(data, len(before))
    assert list(back) == ["image", "cls"]
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)
    assert data.index(b"\n") % ALIGNED == ALIGNED - 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\x80\x04.\n",
        b"\xff" * 8,
        b"image\n",
        b"image |u1\n",
        b"image |u1 \n",
        b"image |u1 0\n",
        b"image |u1 -1\n",
        b"image |u1 99999999999,99999999999\n",
        b"image |O8 1\n" + bytes(8),
        b"image |u1 1" + b" " * 1000 + b"\n1",
        pack({"image": IMAGE})[:-1],
        pack({"image": IMAGE}) + b"1",
    ],
)
def test_bytes_that_are_no_arrays_are_refused(data: bytes) -> None:
    with pytest.raises(Malformed, match="arrays: "):
        unpack(data)
