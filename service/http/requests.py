"""What callers send, in any of its forms: multipart files, a raw body, or JSON with base64 or data URIs.

Options may stand in the query string, in form fields or in the JSON, under the same names everywhere.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError
from starlette.requests import Request

from service.errors import (
    BadOption,
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
from service.tokens.box import WHOLE, Box, parse_box
from service.tokens.choices import Fit, Pooling
from service.tokens.token_file import SAFETENSORS, Storage

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
MAX_NAME = 80
"""Characters of an option's name that a message has."""
JSON_TYPE = "application/json"
JSON_HEADER = f"-H 'content-type: {JSON_TYPE}'"
RAW_TYPES = ("image/", "application/octet-stream", "application/x-www-form-urlencoded")
"""Types of a raw image body; the last is what curl says of `--data-binary` unless told otherwise."""

JSON_BEGINS = re.compile(rb"(\xef\xbb\xbf)?\s*[{\[]")
FORM_BEGINS = re.compile(rb"\s*(images?|donors?|tokens)=")
"""What no image begins with, whatever the Content-Type says."""


def _box(given: Any) -> Box:
    try:
        return parse_box(given)
    except ValueError as error:
        raise PydanticCustomError("box", "{reason}", {"reason": str(error)}) from None


SentBox: TypeAlias = Annotated[
    Box,
    BeforeValidator(_box),
    WithJsonSchema(
        {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4, "default": list(WHOLE)}
    ),
]
"""A box in any of its forms; other values are told as one error."""


class Sent(BaseModel):
    """What callers send: null stands for the default, as if the field were absent."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in given.items() if value is not None}


class Options(Sent):
    """Options of every route."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    model: Annotated[str, Field(max_length=256)] | None = Field(
        None, description="name or name@version; the default model if absent."
    )
    fit: Fit = Field(
        "crop", description="How a picture gets the model's shape: crop the middle, stretch, or pad."
    )
    box: SentBox = Field(
        WHOLE,
        description="The part of each image that the model sees, and that fit shapes: left, top, right and "
        'bottom as shares of the upright image; as text "0.1,0,0.6,1". Donors are seen whole.',
    )


class EmbedOptions(Options):
    """Options of /embed."""

    pooling: Pooling | None = Field(
        None,
        description="The mean of the tokens, the CLS token, one of them whitened for search, or r vectors: "
        "every token, or every concept. The model's own choice if absent, which /models tells.",
    )
    normalize: bool = Field(True, description="Scale vectors to length 1.")
    encoding_format: Literal["float", "base64"] = Field(
        "float", description="Numbers, or base64 of little-endian float32."
    )


class TokensOptions(Options):
    """Options of /tokens."""

    encoding_format: Literal["float", "base64"] = Field(
        "float", description="Numbers, or base64 of little-endian float32."
    )
    heatmaps: bool = Field(False, description="Add PNGs: the regions in colour and each token's map.")
    storage: Storage = Field(
        "full", description="Of safetensors: float32, or compact: a quarter of it, in 8-bit numbers."
    )


class ReconstructOptions(Options):
    """Options of /reconstruct."""

    edits: Annotated[Any, Field(description="A list of edits, applied in order.")] = ()
    quality: int = Field(90, ge=1, le=100, description="Of WebP and JPEG.")


AnyOptions = TypeVar("AnyOptions", bound=BaseModel)
Result = TypeVar("Result")


def validated(model: type[AnyOptions], given: dict[str, Any]) -> AnyOptions:
    """What was given, as a model. Raises `BadOption`, which names the first bad field."""
    if model.model_config.get("extra") == "forbid":
        for name in given:
            if name not in model.model_fields:
                name, known = name[:MAX_NAME], ", ".join(model.model_fields)
                raise BadOption(f"{name}: there is no such option here; there are {known}.", param=name)
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part)[:MAX_NAME] for part in first["loc"])
        if first["type"] == "missing":
            raise BadOption(f"{name}: this field is missing.", param=name) from None
        raise BadOption(f"{name}: {first['msg']}, got {shown(first['input'])}.", param=name) from None


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
