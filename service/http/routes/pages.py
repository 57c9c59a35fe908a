"""The pages: the studio at `/`, which shows tokens and edits pictures through this very API, and `/docs`.

Their files lie in `service/studio`, Swagger UI's in the package `fastapi_swagger`. The browser may load
nothing else, and runs no code but theirs: the service needs no internet.
"""

from __future__ import annotations

import asyncio
import gzip
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.responses import Response

from service.http.dependencies import ReadRoute

FOLDER = Path(__file__).parents[2] / "studio"
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    "content-security-policy": "; ".join(f"{name} {value}" for name, value in POLICY.items()),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",  # asked for again each time, and answered 304 where nothing has changed
}

router = APIRouter(include_in_schema=False, route_class=ReadRoute)
studio_files = StaticFiles(directory=FOLDER)
swagger_files = StaticFiles(packages=[("fastapi_swagger", "resources")])


@router.get("/")
async def studio(request: Request) -> Response:
    """The studio."""
    return await _file(studio_files, "index.html", request)


@router.get("/studio/{path:path}")
async def studio_file(path: str, request: Request) -> Response:
    """One of its files; 404 for any other path."""
    return await _file(studio_files, path, request)


@router.get("/docs")
async def docs(request: Request) -> Response:
    """What the API takes and answers, to read and to try."""
    return await _file(studio_files, "docs.html", request)


@router.get("/docs/{path:path}")
async def docs_file(path: str, request: Request) -> Response:
    """One of Swagger UI's files; 404 for any other path."""
    return await _file(swagger_files, path, request)


async def _file(files: StaticFiles, path: str, request: Request) -> Response:
    response = await files.get_response(path, request.scope)
    response.headers.update(HEADERS)
    if isinstance(response, FileResponse) and not str(response.media_type).startswith("image/jpeg"):
        response.headers["vary"] = "accept-encoding"
        if "gzip" in request.headers.get("accept-encoding", ""):
            return await _zipped(response)
    return response


async def _zipped(response: FileResponse) -> Response:
    """The same in a third of the bytes."""
    etag = response.headers["etag"]
    headers = dict(response.headers) | {"content-encoding": "gzip", "etag": f"W/{etag}"}
    del headers["content-length"]
    return Response(await asyncio.to_thread(_compress, Path(response.path), etag), headers=headers)


@cache
def _compress(path: Path, _etag: str) -> bytes:
    return gzip.compress(path.read_bytes())
