"""A part of a picture, for the model to see no more than that."""

from __future__ import annotations

from typing import Any, TypeAlias

Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right and bottom, as shares of the upright picture's width and height."""

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


def parse_box(given: Any) -> Box:
    """A box as four numbers, or as text such as "0.1,0,0.6,1". Raises `ValueError`."""
    parts = given.split(",", 4) if isinstance(given, str) else given
    try:
        if not isinstance(parts, list | tuple) or any(isinstance(part, bool) for part in parts):
            raise TypeError
        left, top, right, bottom = map(float, parts)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("expected left,top,right,bottom, such as 0.1,0,0.6,1") from None
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ValueError("expected shares of the picture from 0 to 1, left < right and top < bottom")
    return left, top, right, bottom


def box_text(box: Box) -> str:
    """As forms and queries have it."""
    return ",".join(map(str, box))


def pixels_of(box: Box, width: int, height: int) -> Box:
    """The box in a picture's pixels: whole ones, and one across and down at least."""
    (left, right), (top, bottom) = (
        _span(box[0] * width, box[2] * width, width),
        _span(box[1] * height, box[3] * height, height),
    )
    return left, top, right, bottom


def _span(start: float, end: float, length: int) -> tuple[float, float]:
    first = min(round(start), length - 1)
    return float(first), float(max(round(end), first + 1))
