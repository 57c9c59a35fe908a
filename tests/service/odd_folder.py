"""A folder of pictures as people have them: names that are not UTF-8, links in circles, a Mac's halves."""

from __future__ import annotations

from pathlib import Path

from tests.service.photos import photo

ODD_NAMES = [r"h\xf6he.jpg", "linked/coffee.jpg"]
"""Its pictures, as all tables have them."""
ODD_FAILED = r"\xe4rger.jpg"
ODD_LINE = (
    "4 files are no pictures and were left out: 1 .xmp, 1 hidden, 1 links to nothing, 1 with no suffix; "
    "2 folders were left out: 1 .cache, 1 @eaDir"
)


def odd_folder(above: Path) -> Path:
    """Write it into a folder `above`, which may be odd itself."""
    folder = above / "pictures"
    files = {
        "pictures/h\udcf6he.jpg": photo("astronaut"),
        "pictures/\udce4rger.jpg": photo("rocket")[:2000],
        "pictures/._h\udcf6he.jpg": b"\0\5\x16\7",
        "pictures/h\udcf6he.xmp": b"<x:xmpmeta/>",
        "pictures/LICENSE": b"free",
        "pictures/.cache/thumb.jpg": photo("astronaut"),
        "pictures/@eaDir/thumb.jpg": photo("astronaut"),
        "blobs/5f0c": photo("coffee"),
    }
    for name, content in files.items():
        (above / name).parent.mkdir(parents=True, exist_ok=True)
        (above / name).write_bytes(content)
    (above / "elsewhere").mkdir()
    (above / "elsewhere/coffee.jpg").symlink_to("../blobs/5f0c")
    (folder / "linked").symlink_to("../elsewhere")
    (folder / "again").symlink_to(".")
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    return folder
