"""Edits of an image through its tokens, as they are asked for; `canvas.py` does them.

D width of a token
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from service.errors import BadEdit, shown

LARGEST = 65_504.0
"""Largest magnitude of a number in semantics: float16's, in which they are often kept."""
MOST = 2**14
"""Most tokens, cells or numbers that an edit may name: more than any model has."""
Index = Annotated[int, Field(ge=0, strict=True)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
Element = TypeVar("Element")


def _once(elements: list[Element]) -> list[Element]:
    """Each element once."""
    return list(dict.fromkeys(elements))


Each = Annotated[list[Element], Field(min_length=1, max_length=MOST), AfterValidator(_once)]


class _Edit(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Token(_Edit):
    """A token from elsewhere: one of a donor image, or given by its numbers."""

    donor: Index | None = Field(None, description="Which donor image.")
    token: Index | None = Field(None, description="Which of its tokens.")
    semantics: Annotated[list[Number], Field(max_length=MOST)] | None = Field(
        None, description="The token itself: D numbers."
    )

    @model_validator(mode="after")
    def _one_origin(self) -> Token:
        from_donor = self.donor is not None and self.token is not None
        if from_donor == (self.semantics is not None) or (self.donor is None) != (self.token is None):
            raise ValueError("expected either donor and token, or semantics")
        return self


class Drop(_Edit):
    """Remove a token; its places go to the others."""

    op: Literal["drop"]
    token: Index


class Keep(_Edit):
    """Remove all tokens but these."""

    op: Literal["keep"]
    tokens: Each[Index]


class Scale(_Edit):
    """Give a token more or less of every place."""

    op: Literal["scale"]
    token: Index
    factor: Finite = Field(ge=0)


class Swap(_Edit):
    """Exchange what two tokens show; the places stay."""

    op: Literal["swap"]
    tokens: tuple[Index, Index]


class Replace(_Edit):
    """Show another token in a token's places."""

    op: Literal["replace"]
    token: Index
    with_: Token = Field(alias="with")


class Blend(_Edit):
    """Move a token towards another one: alpha 0 changes nothing, 1 replaces."""

    op: Literal["blend"]
    token: Index
    toward: Token
    alpha: Finite = Field(ge=0, le=1)


class Move(_Edit):
    """Shift a token's places by whole cells of the grid; what leaves the picture is gone."""

    op: Literal["move"]
    token: Index
    dx: int = Field(strict=True)
    dy: int = Field(strict=True)


class Paint(_Edit):
    """Give a token some places whole.

    The places are a rectangle of cells (left, top, right, bottom; the latter two excluded)
    or a list of cells (x, y).
    """

    op: Literal["paint"]
    token: Index
    rectangle: tuple[Index, Index, Index, Index] | None = None
    cells: Each[tuple[Index, Index]] | None = None

    @model_validator(mode="after")
    def _one_region(self) -> Paint:
        if (self.rectangle is None) == (self.cells is None):
            raise ValueError("expected either rectangle or cells")
        return self


Edit = Annotated[Drop | Keep | Scale | Swap | Replace | Blend | Move | Paint, Field(discriminator="op")]
_EDITS: TypeAdapter[list[Edit]] = TypeAdapter(Annotated[list[Edit], FailFast()])


def parse_edits(data: Any, max_edits: int) -> list[Edit]:
    """Edits from decoded JSON. Raises `BadEdit`, which names the edit, the field, got and expected."""
    if not isinstance(data, list):
        raise BadEdit("edits: expected a list of edits.")
    if len(data) > max_edits:
        raise BadEdit(f"edits: expected at most {max_edits}, got {len(data)}.")
    try:
        return _EDITS.validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        index, *place = first["loc"]
        where = ".".join(str(part)[:80] for part in place[1:]) if len(place) > 1 else ""
        got = f", got {shown(first['input'])}" if isinstance(first["input"], int | float | str) else ""
        raise BadEdit(f"edits[{index}]{'.' + where if where else ''}: {first['msg']}{got}.") from None
