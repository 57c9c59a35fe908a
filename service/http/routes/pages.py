"""The pages: the studio at `/`, which shows tokens and edits pictures through this very API, and `/docs`.

Their files lie in `service/studio`, Swagger UI's in the package `fastapi_swagger`. The browser may load
nothing else, and runs no code but theirs: the service needs no internet.
"""

from __future__ import annotations

import asyncio
import gzip
from functools import cache
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.responses import Response

from service.http.dependencies import ReadRoute
from service.http.packed import Packed

STUDIO = Packed(Path(__file__).parents[2] / "studio")
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
FOR_GOOD = "public, max-age=31536000, immutable"

router = APIRouter(include_in_schema=False, route_class=ReadRoute)
swagger_files = StaticFiles(packages=[("fastapi_swagger", "resources")])


@router.get("/")
async def studio(request: Request) -> Response:
    """The studio."""
    return _packed("index.html", request)


@router.get("/studio/{path:path}")
async def studio_file(path: str, request: Request) -> Response:
    """One of its files; 404 for any other path."""
    return _packed(path, request)


@router.get("/docs")
async def docs(request: Request) -> Response:
    """What the API takes and answers, to read and to try."""
    return _packed("docs.html", request)


@router.get("/docs/{path:path}")
async def docs_file(path: str, request: Request) -> Response:
    """One of Swagger UI's files; 404 for any other path."""
    return await _file(swagger_files, path, request)


def _packed(path: str, request: Request) -> Response:
    file = STUDIO.find(path)
    if file is None:
        raise HTTPException(404)
    headers = HEADERS | {"etag": file.etag}
    if STUDIO.stays(path):
        headers["cache-control"] = FOR_GOOD
    content = file.content
    if file.zipped is not None:
        headers["vary"] = "accept-encoding"
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers |= {"content-encoding": "gzip", "etag": f"W/{file.etag}"}
            content = file.zipped
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=file.kind)


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
