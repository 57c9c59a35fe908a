"""Everything that can go wrong for a caller, as a tree of exceptions that carry their own answer.

    ServiceError
    ├── BadRequest 400            the request can't be understood
    │   ├── BadOption             an option is unknown or out of its range
    │   ├── BadEdit               an edit is unknown, malformed or impossible here
    │   ├── BadTokens             semantics, localization or their grid don't fit the model
    │   ├── BadTensor             a tensor is not what the protocol or the model takes
    │   ├── MalformedRequest      it is no HTTP/1.1
    │   ├── IncompleteForm        a form without its last boundary: something of it may be missing
    │   ├── NoImage               there is nothing to work on
    │   ├── RemoteImage           an address in place of an image: nothing is fetched
    │   ├── TextInput             text, or its tokens, in place of an image
    │   └── TooManyImages
    ├── BadImage 422              the bytes are no image that can be used
    │   ├── EmptyImage
    │   ├── UnknownImageFormat
    │   ├── UnsupportedImage      a known format, of a kind that is not read
    │   ├── CorruptImage
    │   ├── TooManyPixels
    │   └── TooMuchMemory 413     decoding it takes more memory than pictures may have
    ├── Unauthorized 401
    ├── UnknownModel 404
    ├── NotAcceptable 406
    ├── RequestTimeout 408        it did not come in time
    ├── BodyTooLarge 413
    │   └── JsonTooLarge          more values in JSON than are built: bytes hold them
    ├── AddressTooLong 414
    ├── UnsupportedMediaType 415
    │   └── UnsupportedEncoding   compressed in a way that is not read here: carries Accept-Encoding
    ├── HeadTooLarge 431
    ├── Unavailable 503           try again later: carries Retry-After
    │   ├── QueueFull
    │   ├── TooBusy               connections, bodies or descriptors are at their most
    │   ├── QueueAway         Redis can't be reached, or takes no writes
    │   ├── NoWorker
    │   ├── EngineAway        the process that runs the models is being started again
    │   └── NotReady
    ├── DeadlineExceeded 504
    ├── ItemBuried 500            every worker that tried the item was lost
    └── InternalError 500         anything unexpected; the log has the trace under the request id

Answers are problem documents (RFC 9457); `code` is stable and made for programs, `detail` is made for people.
Under /v1 and /v2 the same errors are told in the words of those protocols: see `service/http/dialects.py`.
"""

from __future__ import annotations

from reprlib import Repr
from typing import Any

PROBLEM_TYPE = "application/problem+json"
MAX_DETAIL_CHARACTERS = 500
"""Details quote what was sent, which may be megabytes long."""

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80
_SHORT.maxlevel = 2


def shown(value: object) -> str:
    """A value for a message, written out as far as one wants to read it: the rest is not looked at."""
    return _SHORT.repr(value)


class ServiceError(Exception):
    """Base of all errors that a caller may see."""

    status = 500
    code = "internal_error"
    title = "Internal error"

    def __init__(self, detail: str, *, param: str | None = None) -> None:
        """`param` names the field of the request that is wrong, where it is one."""
        super().__init__(detail)
        self.param = param
        long = len(detail) > MAX_DETAIL_CHARACTERS
        self.detail = detail[: MAX_DETAIL_CHARACTERS - 1] + "…" if long else detail

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer."""
        return {}

    def problem(self, request_id: str | None = None) -> dict[str, Any]:
        """The problem document."""
        document = {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        return document | ({"request_id": request_id} if request_id else {})


class BadRequest(ServiceError):
    """The request can't be understood."""

    status, code, title = 400, "bad_request", "Bad request"


class BadOption(BadRequest):
    """An option is unknown or out of its range."""

    code, title = "bad_option", "Bad option"


class BadEdit(BadRequest):
    """An edit is unknown, malformed or impossible for this image."""

    code, title = "bad_edit", "Bad edit"


class BadTokens(BadRequest):
    """Semantics, localization or their grid don't fit the model."""

    code, title = "bad_tokens", "Bad tokens"


class BadTensor(BadRequest):
    """A tensor is not what the protocol or the model takes."""

    code, title = "bad_tensor", "Bad tensor"


class MalformedRequest(BadRequest):
    """What came is no HTTP/1.1."""

    code, title = "malformed_request", "Malformed request"

    def __init__(
        self,
        detail: str = "This is no plain HTTP/1.1 that can be read: check the address and what sends it.",
    ) -> None:
        super().__init__(detail)


class IncompleteForm(BadRequest):
    """A form without its last boundary: something of it may be missing."""

    code, title = "incomplete_form", "Incomplete form"


class NoImage(BadRequest):
    """There is nothing to work on."""

    code, title = "no_image", "No image"


class RemoteImage(BadRequest):
    """An address in place of an image."""

    code, title = "remote_image", "Images are not fetched"


class TextInput(BadRequest):
    """Text, or its tokens, in place of an image."""

    code, title = "text_input", "Text is not embedded"

    def __init__(self, detail: str, *, param: str | None = None) -> None:
        """`detail` tells what was expected in its place."""
        super().__init__(
            f"This model embeds pictures, not text. {detail} "
            "docs/use/openai-clients.md has the line that your client needs.",
            param=param,
        )


class TooManyImages(BadRequest):
    """More images than one request may hold."""

    code, title = "too_many_images", "Too many images"


class BadImage(ServiceError):
    """The bytes are no image that can be used."""

    status, code, title = 422, "bad_image", "Bad image"


class EmptyImage(BadImage):
    """No bytes at all."""

    code, title = "empty_image", "Empty image"


class UnknownImageFormat(BadImage):
    """Not one of the formats that are read."""

    code, title = "unknown_image_format", "Unknown image format"


class UnsupportedImage(BadImage):
    """A known format, of a kind that is not read."""

    code, title = "unsupported_image", "Unsupported image"


class CorruptImage(BadImage):
    """Truncated or damaged."""

    code, title = "corrupt_image", "Corrupt image"

    def __init__(
        self, detail: str = "The image is truncated or damaged: send the whole file, or save it anew."
    ) -> None:
        super().__init__(detail)


class TooManyPixels(BadImage):
    """Larger than the service decodes."""

    code, title = "too_many_pixels", "Too many pixels"


class TooMuchMemory(BadImage):
    """Decoding takes more memory than pictures may have, or than there is."""

    status, code, title = 413, "too_much_memory", "Too much memory"


class Unauthorized(ServiceError):
    """No API key, or an unknown one."""

    status, code, title = 401, "unauthorized", "Unauthorized"

    @property
    def headers(self) -> dict[str, str]:
        """How to authenticate."""
        return {"www-authenticate": "Bearer"}


class UnknownModel(ServiceError):
    """No such model is served."""

    status, code, title = 404, "unknown_model", "Unknown model"


class NotAcceptable(ServiceError):
    """No form of answer that the caller accepts."""

    status, code, title = 406, "not_acceptable", "Not acceptable"


class RequestTimeout(ServiceError):
    """It did not come in time."""

    status, code, title = 408, "request_timeout", "Request timeout"


class BodyTooLarge(ServiceError):
    """More bytes than a request may have."""

    status, code, title = 413, "body_too_large", "Body too large"


class JsonTooLarge(BodyTooLarge):
    """More values in JSON than are built."""

    code, title = "json_too_large", "JSON too large"


class AddressTooLong(ServiceError):
    """More bytes than the address of a request may have."""

    status, code, title = 414, "address_too_long", "Address too long"

    def __init__(self, detail: str = "The address is too long: send options in the body.") -> None:
        super().__init__(detail)


class UnsupportedMediaType(ServiceError):
    """A body of a kind that is not read here."""

    status, code, title = 415, "unsupported_media_type", "Unsupported media type"


class UnsupportedEncoding(UnsupportedMediaType):
    """A body that is compressed in a way that is not read here."""

    code, title = "unsupported_encoding", "Unsupported encoding"

    @property
    def headers(self) -> dict[str, str]:
        """What is read."""
        return {"accept-encoding": "gzip, deflate"}


class HeadTooLarge(ServiceError):
    """More bytes or lines than the head of a request may have."""

    status, code, title = 431, "head_too_large", "Head too large"

    def __init__(self, detail: str = "The head of the request is too large: send fewer headers.") -> None:
        super().__init__(detail)


class Unavailable(ServiceError):
    """Try again later."""

    status, code, title = 503, "unavailable", "Unavailable"
    retry_after_s = 1

    @property
    def headers(self) -> dict[str, str]:
        """When to try again."""
        return {"retry-after": str(self.retry_after_s)}


class QueueFull(Unavailable):
    """More work is waiting than the service takes."""

    code, title = "queue_full", "Queue full"


class TooBusy(Unavailable):
    """Connections, bodies or descriptors are at their most."""

    code, title = "too_busy", "Too busy"

    def __init__(self, detail: str = "All connections are taken: try again soon.") -> None:
        super().__init__(detail)


class QueueAway(Unavailable):
    """Redis does not answer, or not in time."""

    code, title = "queue_unavailable", "Queue unavailable"

    def __init__(self, detail: str = "The way to the workers is interrupted: try again soon.") -> None:
        super().__init__(detail)


class NoWorker(Unavailable):
    """No live worker serves the model."""

    code, title = "no_worker", "No worker"


class EngineAway(Unavailable):
    """The engine that several processes share has ended, or has closed the model."""

    code, title = "engine_unavailable", "Engine unavailable"

    def __init__(self, detail: str = "The engine is being started again: try again soon.") -> None:
        super().__init__(detail)


class NotReady(Unavailable):
    """Models are loading, failed to load, or the service is stopping."""

    code, title = "not_ready", "Not ready"


class DeadlineExceeded(ServiceError):
    """The request took longer than it may."""

    status, code, title = 504, "deadline_exceeded", "Deadline exceeded"

    def __init__(self, detail: str = "The request took longer than it may: send less, or try again.") -> None:
        super().__init__(detail)


class ItemBuried(ServiceError):
    """An item that no worker survived."""

    code, title = "item_buried", "Item buried"

    def __init__(self, detail: str = "Every worker that tried this was lost; it has been put aside.") -> None:
        super().__init__(detail)


class InternalError(ServiceError):
    """Something unexpected, never told to the caller."""

    def __init__(self) -> None:
        super().__init__("Something went wrong here; the log tells what, under this request id.")
