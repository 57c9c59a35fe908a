"""Base64 in all its forms, whole and in pieces, against the standard library's."""

from __future__ import annotations

import base64
import json
import random

import pytest

from service.errors import CorruptImage
from service.http.documents import PIECE_BYTES, Text
from service.http.items import decode_base64, from_base64

LONG = random.Random(0).randbytes(PIECE_BYTES * 2)
"""More than a piece, as base64."""
FORMS = {
    "plain": base64.b64encode(LONG),
    "lines": base64.encodebytes(LONG),
    "URL-safe": base64.urlsafe_b64encode(LONG),
    "without padding": base64.b64encode(LONG).rstrip(b"="),
    "padding in a line of its own": base64.b64encode(LONG[:-1]).replace(b"=", b"\n="),
    "spaces around": b" " * 999 + base64.b64encode(LONG) + b" " * PIECE_BYTES,
}
ESCAPED = {
    "slashes": base64.b64encode(LONG).replace(b"/", b"\\/"),
    "lines": base64.encodebytes(LONG).replace(b"\n", b"\\r\\n"),
    "odd": b"A" + base64.b64encode(LONG).replace(b"/", b"\\/")[1:],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_its_bytes(form: str) -> None:
    sent = FORMS[form]
    want = LONG[:-1] if "line of its own" in form else LONG
    for text in (sent.decode(), memoryview(sent)):
        assert decode_base64(text) == want
    assert from_base64(Text(memoryview(b"data:image/png;base64," + sent))) == want


@pytest.mark.parametrize("form", ESCAPED)
def test_escapes_of_json_are_read_where_a_text_was_left_in_the_body(form: str) -> None:
    got = decode_base64(memoryview(ESCAPED[form]))
    assert got[1:] == LONG[1:]


def test_uri_may_be_quoted_and_escaped_at_once() -> None:
    picture = LONG[:9999]
    lines = base64.encodebytes(picture).replace(b"+", b"%2B").replace(b"=", b"%3D")
    sent = json.dumps("data:image/png;base64," + lines.decode()).replace("/", "\\/")
    assert from_base64(json.loads(sent)) == picture
    assert from_base64(Text(memoryview(sent[1:-1].encode()))) == picture


@pytest.mark.parametrize("place", [0, 5, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES])
@pytest.mark.parametrize("wrong", ["*", "é", "😀", "\\", "=", "\x00"])
def test_error_names_the_first_wrong_character(place: int, wrong: str) -> None:
    digits = FORMS["plain"].decode()
    sent = digits[:place] + wrong + digits[place:]
    message = f"character {place + 1 + 7} is .*({ord(wrong):04X}|FFFD)"  # the latter where a piece ends in it
    for text in (sent, memoryview(sent.encode())):
        with pytest.raises(ValueError, match=message):
            decode_base64(text, 7)


@pytest.mark.parametrize("text", ["A", "AAAAA", "A=", "A" * (PIECE_BYTES + 1)])
def test_lone_last_character_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="last character is missing"):
        decode_base64(text)


def test_damaged_texts_give_what_the_standard_library_gives_or_an_error() -> None:
    source = random.Random(1)
    for _ in range(2000):
        text = "".join(source.choices("AZaz09+/=", k=source.randint(0, 12)))
        try:
            want = base64.b64decode(text, validate=True)
        except ValueError:
            continue  # more is read than there
        assert decode_base64(text) == want


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([[]], "base64 string"),
        ("data:" + "x" * 5000, "not base64"),
        ("data:image/png;base64", "not base64"),
        (Text(memoryview(b"data:image\\/png;base64,*")), "character 24 is *"),
        ("data:image/png;base64,AA%2", "is %"),
    ],
)
def test_other_things_are_told(value: object, told: str) -> None:
    item = from_base64(value)
    assert isinstance(item, CorruptImage)
    assert told in item.detail


def test_data_uri_may_have_its_characters_quoted() -> None:
    assert from_base64("data:image/png;base64,%2B%2F%2B%2F%3D%3D"[:-6]) == base64.b64decode("+/+/")
