"""What callers send to /v1/embeddings: images where OpenAI has text, in the forms that other servers take."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from service.errors import BadRequest, NoImage, ServiceError, TextInput, shown
from service.http.documents import Text, read_object
from service.http.items import from_base64, head_of
from service.http.options import Options, Sent, validated
from service.http.requests import limit_images

UNNAMED = "default/not-specified"
"""What Infinity's client has in `model` unless told otherwise."""
URI_BEGINS = ("data:", "http://", "https://")
MAX_PARTS = 64
"""Most messages of a chat, and most parts of one: an image in it is one part of one message."""


class Part(Sent):
    """A part of a message."""

    type: Annotated[str, Field(max_length=64)]
    image_url: Any = None
    text: Any = None

    @property
    def url(self) -> Any:
        """The image, which may stand in an object; other fields of it, such as `detail`, mean nothing."""
        return self.image_url.get("url") if isinstance(self.image_url, dict) else self.image_url


class Message(Sent):
    """A message of a chat; who says it means nothing here."""

    content: str | Annotated[list[Part], Field(max_length=MAX_PARTS)]

    @property
    def parts(self) -> list[Part]:
        """Its parts, without empty texts."""
        whole = [Part(type="text", text=self.content)] if isinstance(self.content, str) else self.content
        return [part for part in whole if part.type != "text" or part.text]


class EmbeddingsOptions(Options):
    """The body of /v1/embeddings: OpenAI's fields, and some of /embed."""

    input: Any = Field(
        None, description="A data URI of an image (data:image/jpeg;base64,…), or a list of them."
    )
    messages: Annotated[
        Annotated[list[Message], Field(max_length=MAX_PARTS)] | None,
        WithJsonSchema({"type": "array"}),
    ] = Field(None, description="In place of input: a chat with one image_url part, as vLLM takes it.")
    modality: Literal["image"] = Field("image", description="What input holds, as Infinity has it.")
    encoding_format: Literal["float", "base64"] = Field(
        "float", description="Numbers, or base64 of little-endian float32."
    )
    dimensions: int = Field(
        0, description="The model's own width, or 0 for it; shorter vectors are not offered."
    )
    user: Annotated[Any, WithJsonSchema({"type": "string"})] = Field(None, description="Taken and not used.")
    pooling: Literal["mean", "cls", "whitened"] | None = Field(
        None,
        description="The mean of the tokens, the CLS token, or one of them whitened for search. "
        "The model's own choice if absent, which /models tells.",
    )
    normalize: bool = Field(True, description="Scale vectors to length 1.")

    @property
    def model_name(self) -> str | None:
        """Which model; None for the default one."""
        return None if self.model == UNNAMED else self.model

    @property
    def field(self) -> Literal["input", "messages"]:
        """Where the images stand."""
        return "input" if self.messages is None else "messages"


def read_embeddings(body: bytes, max_inputs: int) -> tuple[EmbeddingsOptions, list[bytes]]:
    """The options and the images' bytes. Raises errors under `BadRequest` and `BadImage`."""
    document = read_object(body)
    if document.get("modality") == "text":
        raise TextInput("modality: expected 'image'.", param="modality")
    options = validated(EmbeddingsOptions, document)
    if options.messages is not None and options.input:
        raise BadRequest("Send either input or messages, not both.", param="input")
    if options.messages is not None:
        given = [_image_of(options.messages)]
    else:
        given = options.input if isinstance(options.input, list) else [options.input]
    if given in ([], [None]):
        raise NoImage(
            "The request has no image: input is a data URI of an image, or a list of them.",
            param=options.field,
        )
    limit_images(len(given), max_inputs)
    return options, [
        _from_data_uri(value, f"{options.field} {i}", options.field) for i, value in enumerate(given)
    ]


def _image_of(messages: list[Message]) -> Any:
    """The one image of a chat: a chat has one vector, and the model reads nothing but one image."""
    parts = [part for message in messages for part in message.parts]
    kinds = [part.type for part in parts]
    if parts and set(kinds) == {"text"}:
        raise TextInput("messages: expected one image_url part, got text alone.", param="messages")
    if kinds != ["image_url"]:
        raise BadRequest(
            f"messages: expected one image_url part and no text, got {shown(kinds)}; "
            "several images go into input.",
            param="messages",
        )
    return parts[0].url


def _from_data_uri(value: Any, place: str, param: str) -> bytes:
    if not head_of(value, 64).lower().startswith(URI_BEGINS):
        expected = f"{place}: expected a data URI of an image (data:image/jpeg;base64,…), got "
        if isinstance(value, str | Text | list) or type(value) is int:
            raise TextInput(f"{expected}{_text(value)}.", param=param)
        raise BadRequest(f"{expected}{type(value).__name__}.", param=param)
    item = from_base64(value)
    if isinstance(item, ServiceError):
        item.detail = f"{place}: {item.detail}"
        item.param = param
        raise item
    return item


def _text(value: Any) -> str:
    """What was sent in an image's place; clients count and cut texts by their tokens."""
    if isinstance(value, Text):
        return repr(value)
    if isinstance(value, str):
        return f"a text of {len(value)} characters"
    return "tokens of a text; LangChain sends data URIs as they are with check_embedding_ctx_length=False"
