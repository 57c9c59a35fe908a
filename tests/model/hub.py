"""A small Hugging Face Hub: what its client asks for when it downloads files, answered as the real one does.

Files lie at FOLDER/OWNER/NAME/REVISION/FILE. As on the real one, large files are elsewhere: `resolve` tells
hash and size and sends on to another host, which knows no tokens and serves ranges.
"""

from __future__ import annotations

import hashlib
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any

TOKEN = "hf_right"


class Hub:
    """The server, what it has been asked, and how it misbehaves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        """Methods, paths and ranges, in order."""
        self.private = self.gated = self.down = False
        self.damages = False
        """The content is not what its hash says."""
        self.cut_after: int | None = None
        """The next connection that carries content breaks after so many bytes."""
        self._digests: dict[Path, str] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = Thread(target=self._server.serve_forever)

    def __enter__(self) -> Hub:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def digest(self, file: Path) -> str:
        """The SHA-256 of a file."""
        if file not in self._digests:
            with file.open("rb") as content:
                self._digests[file] = hashlib.file_digest(content, "sha256").hexdigest()
        return self._digests[file]

    def find(self, digest: str) -> Path:
        """The file that has been told to have this hash."""
        return next(file for file, known in self._digests.items() if known == digest)


def commit(repository: str, revision: str) -> str:
    """The commit that a revision stands for."""
    return hashlib.sha1(f"{repository}@{revision}".encode()).hexdigest()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def log_message(self, *arguments: Any) -> None: ...

        def _answer(self) -> None:
            wanted = self.headers.get("range", "")
            hub.asked.append(f"{self.command} {self.path} {wanted}".strip())
            if content := re.fullmatch(r"/content/([0-9a-f]{64})", self.path):
                self._send_content(hub.find(content[1]), wanted)
            elif named := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/([^/]+)", self.path):
                self._resolve(*named.groups())
            else:
                self._tell(404)

        def _resolve(self, repository: str, revision: str, name: str) -> None:
            token = self.headers.get("authorization", "").removeprefix("Bearer ")
            home = hub.folder / repository
            known = {commit(repository, each.name): each for each in home.iterdir()} if home.is_dir() else {}
            version = known.get(revision, home / revision)
            told = {"X-Repo-Commit": commit(repository, version.name)}
            if hub.down:
                self._tell(503)
            elif token not in ("", TOKEN):
                self._tell(401, {"X-Error-Message": "Invalid credentials in Authorization header"})
            elif not known or (hub.private and not token):
                self._tell(404 if token else 401, {"X-Error-Code": "RepoNotFound"})
            elif hub.gated and not token:
                self._tell(401, {"X-Error-Code": "GatedRepo"})
            elif not version.is_dir():
                self._tell(404, {"X-Error-Code": "RevisionNotFound"})
            elif not (version / name).is_file():
                self._tell(404, told | {"X-Error-Code": "EntryNotFound"})
            else:
                self._send_on(version / name, told)

        def _send_on(self, file: Path, told: dict[str, str]) -> None:
            digest = hub.digest(file)
            told |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(file.stat().st_size)}
            self._tell(302, told | {"Location": f"http://localhost:{hub.port}/content/{digest}"})

        def _send_content(self, file: Path, wanted: str) -> None:
            if self.headers.get("authorization"):
                self._tell(400, {"X-Error-Message": "a token was sent to a host that it is not for"})
                return
            size = file.stat().st_size
            first = int(wanted.removeprefix("bytes=").removesuffix("-") or 0)
            told = {
                "Content-Length": str(size - first),
                "Content-Disposition": f'inline; filename="{file.name}";',
            }
            if wanted:
                told["Content-Range"] = f"bytes {first}-{size - 1}/{size}"
            self.send_response(206 if wanted else 200)
            for field, value in told.items():
                self.send_header(field, value)
            self.end_headers()
            cut, hub.cut_after = hub.cut_after, None
            with file.open("rb") as content:
                content.seek(first)
                if cut is not None:
                    self.wfile.write(content.read(cut))
                    self.close_connection = True
                    return
                while chunk := content.read(2**20):
                    self.wfile.write(bytes(len(chunk)) if hub.damages else chunk)

        def _tell(self, status: int, fields: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for field, value in {"Content-Length": "0", **(fields or {})}.items():
                self.send_header(field, value)
            self.end_headers()

    return Handler
