"""What callers send, in any of its forms: multipart files, a raw body, or JSON with base64 or data URIs.

Options may stand in the query string, in form fields or in the JSON.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.requests import Request

from service.errors import (
    BadRequest,
    BadTokens,
    NoImage,
    ServiceError,
    TextInput,
    TooManyImages,
    UnsupportedMediaType,
    shown,
)
from service.http.documents import SMALL_BYTES, Text, read_body, read_object
from service.http.items import Item, from_base64
from service.http.multipart import Part, read_form
from service.http.options import MAX_NAME, AnyOptions, validated
from service.tokens.token_file import SAFETENSORS

FILE_FIELDS = {
    "image": "images",
    "images": "images",
    "donor": "donors",
    "donors": "donors",
    "tokens": "tokens",
}
TEXT_FIELDS = {"input", "inputs", "prompt", "text", "texts"}
"""Where other servers have what they embed."""
MAX_FIELDS = 104
"""Most options of a form: far more than there are."""
MAX_FIELD_BYTES = 2**20
"""Of an option's value: edits are the longest."""
JSON_TYPE = "application/json"
JSON_HEADER = f"-H 'content-type: {JSON_TYPE}'"
RAW_TYPES = ("image/", "application/octet-stream", "application/x-www-form-urlencoded")
"""Types of a raw image body; the last is what curl says of `--data-binary` unless told otherwise."""

JSON_BEGINS = re.compile(rb"(\xef\xbb\xbf)?\s*[{\[]")
FORM_BEGINS = re.compile(rb"\s*(images?|donors?|tokens)=")
"""What no image begins with, whatever the Content-Type says."""

Result = TypeVar("Result")


@dataclass
class Upload:
    """A request's content, whatever its form was."""

    images: list[Item] = field(default_factory=list)
    donors: list[Item] = field(default_factory=list)
    tokens: bytes | dict[str, Any] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    large: bool = False
    """Whether what it holds is worth a thread."""

    def parse_options(self, model: type[AnyOptions]) -> AnyOptions:
        """The options, validated. Raises `BadOption`."""
        return validated(model, self.options)


async def read_upload(request: Request, max_images: int) -> Upload:
    """Read the body. Raises errors under `BadRequest`, and `UnsupportedMediaType`."""
    content_type = request.headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    upload = Upload(options=dict(request.query_params))
    if kind == "multipart/form-data":
        parts = await read_form(content_type, request.stream(), 4 * max_images + MAX_FIELDS)
        upload.large = sum(part.size for part in parts) > SMALL_BYTES
        await in_thread_if(upload.large, _take_parts, parts, upload)
    elif kind == JSON_TYPE:
        body = await read_body(request)
        upload.large = len(body) > SMALL_BYTES
        await in_thread_if(upload.large, _read_json, body, upload, max_images)
    elif kind == SAFETENSORS:
        upload.tokens = await read_body(request)
        upload.large = len(upload.tokens) > SMALL_BYTES
    elif not kind or kind.startswith(RAW_TYPES):
        if body := await read_body(request):
            _refuse_text(body, kind)
            upload.images.append(body)
    else:
        raise UnsupportedMediaType(
            f"A body of type {shown(kind)} is not read here; send multipart/form-data, JSON "
            f"with {JSON_HEADER}, or an image."
        )
    if not upload.images and upload.tokens is None:
        raise NoImage(
            "The request has no image: send a multipart file named image, the image as the body, "
            'or JSON {"image": "<base64>"}.'
        )
    for images in (upload.images, upload.donors):
        limit_images(len(images), max_images)
    return upload


async def in_thread_if(large: bool, do: Callable[..., Result], *arguments: Any) -> Result:
    """What `do` gives, off the event loop where it has much to do."""
    return await asyncio.to_thread(do, *arguments) if large else do(*arguments)


def _refuse_text(body: bytes, kind: str) -> None:
    """Raise `UnsupportedMediaType` where a raw body is what some clients send under another type."""
    sent = f"Content-Type is {kind}" if kind else "there is no Content-Type"
    begin = body[:256]
    if JSON_BEGINS.match(begin):
        raise UnsupportedMediaType(f"The body is JSON and {sent}: send {JSON_HEADER} with it.")
    if FORM_BEGINS.match(begin):
        raise UnsupportedMediaType(
            f"The body is a form and {sent}: send multipart/form-data (curl -F image=@cat.jpg), "
            f"or JSON with {JSON_HEADER}."
        )


def limit_images(count: int, max_images: int) -> None:
    """Raise `TooManyImages` where a request has more than it may."""
    if count > max_images:
        raise TooManyImages(f"At most {max_images} images are taken in one request, got {count}.")


def _take_parts(parts: list[Part], upload: Upload) -> None:
    """Raises `BadRequest`."""
    for part in parts:
        target = FILE_FIELDS.get(part.name)
        if target is None:
            if part.is_file:
                known = ", ".join(FILE_FIELDS)
                raise BadRequest(f"There is no file field {shown(part.name)} here; there are {known}.")
            upload.options[part.name] = _text(part)
        else:
            # Base64 is ASCII. What is not is a file that the client does not call one.
            content = part.content.getvalue()
            in_bytes = part.is_file or not content.isascii()
            item = content if in_bytes else from_base64(Text(memoryview(content)))
            if target == "tokens":
                upload.tokens = _strict(item)
            else:
                getattr(upload, target).append(item)
        part.content.close()


def _text(part: Part) -> str:
    """The value of an option. Raises `BadRequest`."""
    if part.size > MAX_FIELD_BYTES:
        raise BadRequest(
            f"{part.name[:MAX_NAME]}: expected at most {MAX_FIELD_BYTES} bytes in a form's field."
        )
    try:
        return part.content.getvalue().decode()
    except UnicodeDecodeError:
        raise BadRequest(f"{part.name[:MAX_NAME]}: expected text in UTF-8.") from None


def _read_json(body: bytes, upload: Upload, max_images: int) -> None:
    """Raises `BadRequest`."""
    for name, value in read_object(body).items():
        target = FILE_FIELDS.get(name)
        if value is None:
            continue
        if target == "tokens":
            upload.tokens = value if isinstance(value, dict) else _strict(from_base64(value))
        elif target is not None:
            values = value if isinstance(value, list) else [value]
            limit_images(len(values), max_images)
            getattr(upload, target).extend(map(from_base64, values))
        elif name in TEXT_FIELDS:
            raise TextInput(f"{name}: a picture stands in image, as base64 or a data URI.", param=name)
        else:
            upload.options[name] = value


def _strict(item: Item) -> bytes:
    if isinstance(item, ServiceError):
        raise BadTokens(
            "tokens: expected an object with semantics and localization, or a base64 safetensors file. "
            + item.detail
        )
    return item
