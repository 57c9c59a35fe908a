"""JSON that is read without long texts in it gives what JSON gives."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from service.errors import BadRequest, JsonTooLarge
from service.http.documents import LONG_TEXT_BYTES, SMALL_BYTES, Text, read_object, read_value

LONG = "A" * (LONG_TEXT_BYTES + 1)
MANY = [LONG] * (SMALL_BYTES // LONG_TEXT_BYTES)
"""Together they make a body large."""


def plain(value: Any) -> Any:
    """A document with its long texts in it as JSON has them."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return json.loads(b'"' + bytes(value.view) + b'"') if isinstance(value, Text) else value


@pytest.mark.parametrize(
    "text",
    [
        "",
        LONG,
        LONG + "\\",
        LONG + '"',
        '"' + LONG,
        "\\" * 3 + LONG,
        LONG + "\n/",
        LONG + "\\n",
        LONG + "é",
        "é",
    ],
)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_every_text_comes_back_wherever_it_stands(text: str, ascii_only: bool) -> None:
    document = {"a": text, "b": [text, {"c": [text, 1, None]}, text], text: 0, "rest": MANY}
    body = json.dumps(document, ensure_ascii=ascii_only).encode()
    assert plain(read_object(body)) == document


def test_random_documents_come_back() -> None:
    source = random.Random(0)

    def value(depth: int) -> Any:
        kind = source.randrange(5 if depth else 3)
        if kind == 0:
            return source.choice([1, -2.5, True, None, 10**15])
        if kind in (1, 2):
            return "".join(source.choices('ab\\"/\n é,[{', k=source.choice([3, LONG_TEXT_BYTES * 2])))
        if kind == 3:
            return [value(depth - 1) for _ in range(4)]
        return {f"{i}{value(0)!s:.5}": value(depth - 1) for i in range(4)}

    for _ in range(30):
        document = {"a": value(4), "rest": MANY}
        assert plain(read_object(json.dumps(document).encode())) == document


def test_long_texts_are_left_in_a_large_body_only() -> None:
    large = read_object(json.dumps({"a": LONG, "rest": MANY}).encode())
    assert isinstance(large["a"], Text)
    assert bytes(large["a"].view) == LONG.encode()
    assert read_object(json.dumps({"a": LONG}).encode()) == {"a": LONG}


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_error_tells_its_place_in_the_body(bom: bytes) -> None:
    for rest in ([], MANY):
        body = bom + json.dumps({"rest": rest, "a": 1}, indent=1).encode()
        lines = body.count(b"\n")
        with pytest.raises(BadRequest) as caught:
            read_object(body.replace(b'"a": 1', b'"a": nothing'))
        assert f"at line {lines}, column 7." in caught.value.detail


@pytest.mark.parametrize("rest", [[], MANY])
def test_line_breaks_without_an_escape_are_refused_in_long_texts_too(rest: list[str]) -> None:
    body = json.dumps({"rest": rest, "a": LONG}).replace('A"}', 'A\n"}')
    with pytest.raises(BadRequest, match="no valid JSON"):
        read_object(body.encode())


@pytest.mark.parametrize("body", [b"[]", b'"a"', b"3", b"null"])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest, match="expected an object"):
        read_object(body)


def test_values_in_fields_are_counted_too() -> None:
    assert read_value('[{"op": "drop"}]') == [{"op": "drop"}]
    with pytest.raises(JsonTooLarge):
        read_value("[" + "[]," * 90_000 + "[]]")
    with pytest.raises(ValueError, match="surrogates"):
        read_value("\ud800")
