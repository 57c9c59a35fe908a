"""Names of files as text: every name has one, and the name comes back."""

from __future__ import annotations

import pytest

from service.tokens.names import escaped, unescaped

NAMES = [
    (b"cat.jpg", "cat.jpg"),
    ("höhe/猫.jpg".encode(), "höhe/猫.jpg"),
    (b"h\xf6he.jpg", r"h\xf6he.jpg"),  # Latin-1
    (b"\x83e\x83X\x83g.png", r"\x83e\x83X\x83g.png"),  # Shift JIS
    (b"caf\xc3", r"caf\xc3"),  # cut within a character
    (rb"h\xf6he.jpg", r"h\x5cxf6he.jpg"),  # the escape itself as a name
    (rb"h\x5cxf6he.jpg", r"h\x5cx5cxf6he.jpg"),
    (b"a\\b\\x.jpg", r"a\b\x.jpg"),
    (b"\\\xf6 \\xc\xf6 \\x5\xff", r"\\xf6 \xc\xf6 \x5\xff"),
]


@pytest.mark.parametrize(("raw", "text"), NAMES)
def test_names_are_text_and_come_back(raw: bytes, text: str) -> None:
    name = raw.decode("utf-8", "surrogateescape")
    assert escaped(name) == text
    assert unescaped(text) == name


def test_no_two_names_have_the_same_text() -> None:
    assert len({text for _, text in NAMES}) == len(NAMES)
