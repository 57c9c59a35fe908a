"""A small Hugging Face Hub: what its client asks for when files go up or down, answered as by the real one.

Files lie at FOLDER/OWNER/NAME/REVISION/FILE. As on the real one, large files are elsewhere: `resolve` tells
hash and size and sends on to another host, which knows no tokens and serves ranges. What goes up needs
the token: large files by the protocol of Git LFS (Xet, the newer one, is a compiled client's own), small ones
within the commit.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Any
from unittest.mock import patch

import huggingface_hub
from typer.testing import CliRunner, Result

from model.cli import app

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
        """The next connection that carries more content breaks after so many bytes."""
        self.holds: str | None = None
        """The content of this file stops in its middle until it `goes_on`."""
        self.goes_on = Event()
        self._digests: dict[Path, str] = {}
        self._uploaded: dict[str, bytes] = {}
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
        self.goes_on.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def digest(self, file: Path) -> str:
        """The SHA-256 of a file."""
        if file not in self._digests:
            with file.open("rb") as content:
                self._digests[file] = hashlib.file_digest(content, "sha256").hexdigest()
        return self._digests[file]

    def write(self, repository: str, name: str, content: bytes) -> None:
        """Put a file into a repository's main branch."""
        file = self.folder / repository / "main" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        self._digests.pop(file, None)

    def keep(self, digest: str, content: bytes) -> bool:
        """Keep a large file until a commit names it; whether its hash is right."""
        self._uploaded[digest] = content
        return hashlib.sha256(content).hexdigest() == digest

    def commit(self, repository: str, lines: list[dict[str, Any]]) -> None:
        """What a commit's lines say becomes the main branch."""
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                self.write(repository, value["path"], b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                self.write(repository, value["path"], self._uploaded[value["oid"]])

    def find(self, digest: str) -> Path:
        """The file that has been told to have this hash."""
        return next(file for file, known in self._digests.items() if known == digest)


def commit(repository: str, revision: str) -> str:
    """The commit that a revision stands for."""
    return hashlib.sha1(f"{repository}@{revision}".encode()).hexdigest()


def stellar_model_here(*arguments: str, variables: Mapping[str, str]) -> Result:
    """`stellar-model` in this process, where PyTorch is loaded, as in one that has just these variables."""
    with having(variables):
        return CliRunner().invoke(app, arguments, catch_exceptions=False)


@contextmanager
def having(variables: Mapping[str, str]) -> Iterator[None]:
    """The hub's client as in a process that has just these variables."""
    constants = huggingface_hub.constants  # the variables as they were when it was loaded
    with patch.dict("os.environ", variables, clear=True):
        importlib.reload(constants)
        yield
    importlib.reload(constants)
    huggingface_hub.close_session()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle(self) -> None:
            with suppress(ConnectionError):  # who asked may be gone
                super().handle()

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def do_PUT(self) -> None:
            hub.asked.append(f"{self.command} {self.path}")
            digest = self.path.removeprefix("/upload/")
            self._tell(200 if hub.keep(digest, self._body()) else 400, {"ETag": digest})

        def do_POST(self) -> None:
            hub.asked.append(f"{self.command} {self.path}")
            body = self._body()
            if self.path == "/api/validate-yaml":
                self._answer_json({"errors": [], "warnings": []})
            elif self.headers.get("authorization") != f"Bearer {TOKEN}":
                self._tell(401, {"X-Error-Message": "Invalid username or password."})
            elif self.path == "/api/repos/create":
                asked = json.loads(body)
                name = f"{asked['organization']}/{asked['name']}"
                (hub.folder / name / "main").mkdir(parents=True, exist_ok=True)
                self._answer_json({"url": f"{hub.url}/{name}", "name": name})
            elif re.fullmatch(r"/api/models/[^/]+/[^/]+/preupload/main", self.path):
                paths = [file["path"] for file in json.loads(body)["files"]]
                large = (".onnx", ".safetensors")
                modes = {path: "lfs" if path.endswith(large) else "regular" for path in paths}
                told = [{"path": path, "uploadMode": modes[path], "shouldIgnore": False} for path in paths]
                self._answer_json({"files": told})
            elif re.fullmatch(r"/[^/]+/[^/]+\.git/info/lfs/objects/batch", self.path):
                objects = json.loads(body)["objects"]
                for each in objects:
                    each["actions"] = {"upload": {"href": f"{hub.url}/upload/{each['oid']}"}}
                self._answer_json({"transfer": "basic", "objects": objects})
            elif committed := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", self.path):
                hub.commit(committed[1], [json.loads(line) for line in body.splitlines()])
                oid = commit(committed[1], "main")
                self._answer_json({"commitUrl": f"{hub.url}/{committed[1]}/commit/{oid}", "commitOid": oid})
            else:
                self._tell(404)

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("content-length", 0)))

        def _answer_json(self, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self._tell(200, {"Content-Type": "application/json", "Content-Length": str(len(body))})
            self.wfile.write(body)

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
            with file.open("rb") as content:
                content.seek(first)
                if hub.cut_after is not None and size - first > hub.cut_after:
                    self.wfile.write(content.read(hub.cut_after))
                    hub.cut_after = None
                    self.close_connection = True
                    return
                if hub.holds == file.name:
                    self.wfile.write(content.read((size - first) // 2))
                    hub.goes_on.wait()
                while chunk := content.read(2**20):
                    self.wfile.write(bytes(len(chunk)) if hub.damages else chunk)

        def _tell(self, status: int, fields: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for field, value in {"Content-Length": "0", **(fields or {})}.items():
                self.send_header(field, value)
            self.end_headers()

    return Handler
