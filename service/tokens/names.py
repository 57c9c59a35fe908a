r"""Names of files as text, whatever bytes they are made of.

A file system's names are bytes, and not all of them UTF-8: Python reads `h\xf6he.jpg` of an old disk with a
lone surrogate in it, which no table, log or terminal takes. As text each such byte is written `\x` and two
hexadecimal digits, as here; a backslash that begins such four characters of its own is written `\x5c`. All
other characters stay as they are, and so do nearly all names.
"""

from __future__ import annotations

import re

ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")


def escaped(name: str) -> str:
    """A name as Python has it from a file system or an archive, as text."""
    raw = ESCAPE.sub(rb"\\x5cx\1", name.encode("utf-8", "surrogateescape"))
    return raw.decode("utf-8", "backslashreplace")


def unescaped(text: str) -> str:
    """The name that `escaped` has made this text of."""
    raw = ESCAPE.sub(lambda escape: bytes.fromhex(escape[1].decode()), text.encode())
    return raw.decode("utf-8", "surrogateescape")
