"""The formats that are read, by Pillow's names."""

from __future__ import annotations

try:
    from pi_heif import register_heif_opener
except ModuleNotFoundError:
    HEIC: tuple[str, ...] = ()
else:
    register_heif_opener(thumbnails=False)
    HEIC = ("HEIF",)

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", *HEIC)
AVIF_BRANDS = (b"avif", b"avis")
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
