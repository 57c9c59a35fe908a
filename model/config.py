"""What a STELLAR model is made of: a frozen description and the presets that have names."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

from service.tokens.size import ImageSize, image_size, sides

Head = Literal["pixel", "vq"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""What models want subtracted from RGB in [0, 1], and the rest divided by."""

DECODER_HEADS = 8
"""Attention heads of every decoder, whatever its width."""

POSITION_PARTS = 4
"""Positions start as sines and cosines along two axes."""

CODEBOOK_SIZE = 1024
"""Codes of the MaskGIT-VQGAN that a VQ head predicts."""

MAX_SIZE = 2**31 - 1
"""More is no axis of a tensor, whose elements PyTorch counts in 64 bits."""

HEADS_BY_WIDTH = {64: 4, 192: 3, 256: 4, 768: 12, 1024: 16, 1280: 16}
"""Encoder attention heads for each known width: tensor shapes do not tell them."""


@dataclass(frozen=True, kw_only=True)
class StellarConfig:
    """The architecture of one model. Counts are plain numbers; sizes are pixels or channels."""

    image_size: ImageSize
    """Native input in pixels: the side of a square, or height and width."""
    patch_size: int
    """Side of a square patch, in pixels."""
    num_sparse_tokens: int = 16
    """r, the semantic tokens of an image."""
    width: int
    """D, the encoder's channels."""
    depth: int
    """Encoder layers."""
    num_heads: int
    """Attention heads of an encoder layer."""
    mlp_width: int
    """Hidden channels of an encoder layer's MLP."""
    decoder_width: int = 512
    """C, the decoder's channels."""
    decoder_depth: int = 6
    """Decoder layers."""
    decoder_mlp_width: int = 2048
    """Hidden channels of a decoder layer's MLP."""
    head: Head = "vq"
    """What the decoder predicts: pixels, or codes of the MaskGIT-VQGAN."""
    num_prototypes: int = 16384
    """K, the prototypes of each clustering head."""
    prototype_width: int = 256
    """Channels of a prototype."""
    predictor_width: int = 2048
    """Hidden channels of a clustering head's MLP."""
    vqgan_channels: int = 128
    """Base channels of the VQGAN; read only when `head` is "vq"."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("head", "image_size"):
                continue
            if not isinstance(value, int) or not 1 <= value <= MAX_SIZE:
                raise ValueError(f"{field.name}: expected an integer from 1 to {MAX_SIZE}, got {value!r}")
        object.__setattr__(self, "image_size", _image_size(self.image_size))
        if self.head not in ("pixel", "vq"):
            raise ValueError(f"head: expected 'pixel' or 'vq', got {self.head!r}")
        for name, whole, part in (
            *(("image_size", side, self.patch_size) for side in self.size),
            ("width", self.width, self.num_heads),
            ("width", self.width, POSITION_PARTS),
            ("decoder_width", self.decoder_width, DECODER_HEADS),
        ):
            if whole % part:
                raise ValueError(f"{name}: expected a multiple of {part}, got {whole}")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width (H, W) of the native input, in pixels."""
        return sides(self.image_size)

    @property
    def grid(self) -> tuple[int, int]:
        """Patches down and across (h, w) at the native size."""
        height, width = self.size
        return height // self.patch_size, width // self.patch_size

    @property
    def num_patches(self) -> int:
        """N, the patches of an image at the native size."""
        return self.grid[0] * self.grid[1]


def _image_size(given: object) -> ImageSize:
    """What was given, of a square as one number. Raises `ValueError`."""
    size = image_size(given)
    if not all(1 <= side <= MAX_SIZE for side in sides(size)):
        also = "" if isinstance(given, int) else " or two such, height and width"
        raise ValueError(f"image_size: expected an integer from 1 to {MAX_SIZE}{also}, got {given!r}")
    return size


def _base(num_sparse_tokens: int) -> StellarConfig:
    return StellarConfig(
        image_size=224,
        patch_size=16,
        num_sparse_tokens=num_sparse_tokens,
        width=768,
        depth=12,
        num_heads=12,
        mlp_width=3072,
    )


# The published names give the ViT's size and the number of tokens: "b8" is B/16 with 8 tokens.
PRESETS: dict[str, StellarConfig] = {
    "b8": _base(8),
    "b16": _base(16),
    "b24": _base(24),
    "l16": StellarConfig(image_size=224, patch_size=16, width=1024, depth=24, num_heads=16, mlp_width=4096),
    "h16": StellarConfig(image_size=224, patch_size=14, width=1280, depth=32, num_heads=16, mlp_width=5120),
    "tiny": StellarConfig(
        image_size=96,
        patch_size=8,
        width=192,
        depth=4,
        num_heads=3,
        mlp_width=768,
        decoder_width=192,
        decoder_depth=2,
        decoder_mlp_width=768,
        head="pixel",
        num_prototypes=1024,
        prototype_width=128,
        predictor_width=512,
    ),
    "debug": StellarConfig(
        image_size=32,
        patch_size=8,
        num_sparse_tokens=4,
        width=64,
        depth=2,
        num_heads=4,
        mlp_width=96,
        decoder_width=32,
        decoder_depth=1,
        decoder_mlp_width=64,
        head="pixel",
        num_prototypes=24,
        prototype_width=16,
        predictor_width=32,
    ),
}
"""Named architectures: the published sizes, `tiny` (ours, bundled) and `debug` (for tests)."""


def get_preset(name: str, **overrides: ImageSize | str) -> StellarConfig:
    """The preset called `name`, with some fields replaced.

    Raises `ValueError` for an unknown preset or an impossible value.
    """
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}: expected one of {', '.join(PRESETS)}")
    return replace(PRESETS[name], **overrides)  # type: ignore[arg-type]
