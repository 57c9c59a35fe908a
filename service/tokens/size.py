"""How large a model's pictures are: a square's side, or height and width, as in timm and transformers."""

from __future__ import annotations

from typing import TypeAlias

ImageSize: TypeAlias = int | tuple[int, int]
"""In pixels; of a square always the one number."""


def sides(size: ImageSize) -> tuple[int, int]:
    """Height and width."""
    return (size, size) if isinstance(size, int) else size


def image_size(size: object) -> ImageSize:
    """What was given, of a square as one number. Raises `ValueError` where it is not one number or two."""
    match size:
        case int():
            return size
        case [int(height), int(width)]:
            return height if height == width else (height, width)
    raise ValueError(f"image_size: expected an integer, or two, height and width, got {size!r}")
