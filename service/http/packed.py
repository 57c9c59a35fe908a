"""The studio's files as browsers get them: few and for good.

Its modules become one script and its style sheets one, and the pages name them below a path that is made of
what they hold: a browser keeps them for a year, and asks for others as soon as one of them has changed. The
same files are below `/studio/` itself, too, where they are asked for again each time.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path

KINDS = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
}
SCRIPT, STYLE = "app.js", "style.css"
VERSION_DIGITS = 12
VERSION = re.compile(rf"^[0-9a-f]{{{VERSION_DIGITS}}}/")
IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./(\w+\.js)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async function|function|class|const) (\w+))", re.MULTILINE)
STYLE_IMPORT = re.compile(r'^@import "([\w/]+\.css)";\n', re.MULTILINE)
COMMENT = re.compile(r"^ *(?://.*|/\*\*(?:(?!\*/)[\s\S])*\*/)\n", re.MULTILINE)
ADDRESS = re.compile(rb'(?<==")studio/')


@dataclass(frozen=True)
class PackedFile:
    """A file to answer with."""

    content: bytes
    kind: str

    @cached_property
    def etag(self) -> str:
        """What tells this content from others."""
        return f'"{_digest(self.content)}"'

    @cached_property
    def zipped(self) -> bytes | None:
        """The same in gzip, for what gets smaller by it."""
        return None if self.kind in (KINDS[".jpg"], KINDS[".webp"]) else gzip.compress(self.content, mtime=0)


class Packed:
    """The files of a folder, by their paths in it.

    Raises `ValueError` where modules import one another in a circle.
    """

    def __init__(self, folder: Path) -> None:
        found = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.suffix in KINDS
        }
        texts = {path: content.decode() for path, content in found.items() if path.endswith((".js", ".css"))}
        found[SCRIPT] = one_script(texts, SCRIPT).encode()
        found[STYLE] = STYLE_IMPORT.sub(lambda line: texts[line[1]], texts[STYLE]).encode()
        self.version = _digest(b"".join(hashlib.sha256(content).digest() for content in found.values()))
        address = f"studio/{self.version}/".encode()
        for path in found:
            if path.endswith(".html"):
                found[path] = ADDRESS.sub(address, found[path])
        self._files = {path: PackedFile(content, KINDS[Path(path).suffix]) for path, content in found.items()}

    def find(self, path: str) -> PackedFile | None:
        """The file at a path, with or without a version before it.

        Also with another one, which a page that was opened before the service was replaced goes on naming.
        """
        return self._files.get(VERSION.sub("", path))

    def stays(self, path: str) -> bool:
        """Whether what is found at a path never changes."""
        return path.startswith(f"{self.version}/")


def one_script(texts: dict[str, str], first: str) -> str:
    """A module with all that it imports, as one module.

    Each becomes a function that is run once, after those that it imports, and returns what it exports.
    Imports stand in a line each and name what they import; exports are declarations. Comments that have
    lines of their own, a quarter of the bytes, stay in the files.
    """
    graph: dict[str, list[str]] = {}  # lists, for the same order in every process
    waiting = [first]
    while waiting:
        name = waiting.pop()
        graph[name] = [found[2] for found in IMPORT.finditer(texts[name])]
        waiting += [each for each in graph[name] if each not in graph]
    return "\n".join(_function(name, texts[name]) for name in TopologicalSorter(graph).static_order())


def _function(name: str, text: str) -> str:
    exported = ", ".join(EXPORT.findall(text))
    body = EXPORT.sub("", IMPORT.sub(lambda line: f"const {line[1]} = ${line[2][:-3]};\n", text))
    body = COMMENT.sub("", body)
    return f"const ${name[:-3]} = (() => {{\n{body}return {{ {exported} }};\n}})();"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:VERSION_DIGITS]
