"""What callers may choose: under the same names in the query string, in form fields and in JSON."""

from __future__ import annotations

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

from service.errors import BadOption, shown
from service.tokens.box import WHOLE, Box, parse_box
from service.tokens.choices import Fit, Pooling
from service.tokens.token_file import Storage

MAX_NAME = 80
"""Characters of an option's name that a message has."""


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
