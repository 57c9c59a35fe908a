"""A bundle on disk: its manifest, and whether it is what the manifest says."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    model_validator,
)

from service.tokens.choices import Pooling
from service.tokens.pooling import Pooled
from service.tokens.size import image_size, sides

REFERENCE = "reference.safetensors"
STATISTICS = "statistics.safetensors"
FILES = ("encoder.onnx", "decoder.onnx", REFERENCE)


class BundleError(RuntimeError):
    """A bundle that can't be served; the message says why."""


class FileEntry(BaseModel):
    """A file of a bundle."""

    model_config = ConfigDict(frozen=True)
    sha256: str
    bytes: int


class Limits(BaseModel):
    """How far a bundle's results may be from the model's, on whatever device."""

    model_config = ConfigDict(frozen=True)
    cosine_min: float = Field(ge=-1, le=1)
    """Least cosine of what the encoder gives, for each image and output."""
    image_mean_levels: float = Field(ge=0)
    """Largest mean deviation of a drawn image, in levels of 255."""


class Calibration(BaseModel):
    """What the bundle's statistics are of."""

    model_config = ConfigDict(frozen=True)
    default: Literal["mean", "cls", "whitened"]
    """The vector that is best by what was found."""
    pooled: Pooled
    """What is whitened."""
    shrinkage: float = Field(ge=0, le=1)
    """How far the whitening is from a whole one: at 1 the vectors are only centred."""
    pictures: int = Field(ge=1)
    judged: dict[str, float]
    """Shares that were found of held-out pictures, by what vectors and how."""


class Manifest(BaseModel):
    """`bundle.json`."""

    model_config = ConfigDict(frozen=True)
    format: Literal[2]
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    version: str = Field(pattern=r"^[0-9a-f]{12}$")
    precision: Literal["fp32", "fp16", "int8"]
    image_size: Annotated[PositiveInt | tuple[PositiveInt, PositiveInt], AfterValidator(image_size)]
    """Of the pictures that the model takes, in pixels: the side of a square, or height and width."""
    patch_size: int = Field(ge=1)
    grid: tuple[int, int]
    num_sparse_tokens: int = Field(ge=1)
    width: int = Field(ge=1)
    head: Literal["pixel", "vq"]
    files: dict[str, FileEntry]
    source: dict[str, str]
    licence: str
    quality: dict[str, float]
    statistics: Calibration | None = None
    """None where the bundle has none."""
    parity: dict[str, float]
    limits: Limits
    opset: int
    exporter: dict[str, str]

    @model_validator(mode="after")
    def _patches_fill_the_picture(self) -> Manifest:
        """A grid that lies on its side would move every token."""
        if tuple(self.patch_size * each for each in self.grid) != self.size:
            raise ValueError(
                f"grid: expected rows and columns that give {self.size} pixels with patches of "
                f"{self.patch_size}, got {self.grid}"
            )
        return self

    @property
    def id(self) -> str:
        """What the service calls this very content: name@version."""
        return f"{self.name}@{self.version}"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width (H, W) of the pictures that the model takes, in pixels."""
        return sides(self.image_size)

    @property
    def is_for_gpus(self) -> bool:
        """Whether its numbers are in fp16: a processor converts them before and after each operation."""
        return self.precision == "fp16"

    @property
    def content_version(self) -> str:
        """What `version` must be: the beginning of the SHA-256 of what it is made of."""
        made_of = self.model_dump(include={"files", "precision", "statistics"}, exclude_none=True)
        content = json.dumps(made_of, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    @property
    def poolings(self) -> tuple[Pooling, ...]:
        """The vectors that it has; the first one is what `/embed` answers unless told otherwise."""
        plain: tuple[Pooling, ...] = ("mean", "cls", "tokens")
        if self.statistics is None:
            return plain
        return tuple(dict.fromkeys((self.statistics.default, *plain, "whitened", "concepts")))

    def pooling(self, asked: Pooling | None) -> Pooling:
        """The vector that is asked for, or else the first of `poolings`.

        Raises `ValueError` where it has no such vector.
        """
        if asked is not None and asked not in self.poolings:
            raise ValueError(
                f"pooling: {self.id} has no statistics to make {asked} of: calibrate it, by stellar-model "
                f"calibrate, or ask for {', '.join(self.poolings)}"
            )
        return asked or self.poolings[0]

    @property
    def num_patches(self) -> int:
        """N, the patches of an image."""
        return self.grid[0] * self.grid[1]


class Bundle(BaseModel):
    """A folder with a manifest."""

    model_config = ConfigDict(frozen=True)
    folder: Path
    manifest: Manifest


def find_bundles(models_dir: Path) -> list[Path]:
    """Folders below `models_dir` that hold a manifest, by name; hidden ones are still being written.

    Raises `BundleError` where there are none.
    """
    found = (path.parent for path in models_dir.glob("*/bundle.json"))
    folders = sorted(folder for folder in found if not folder.name.startswith("."))
    if not folders:
        raise BundleError(f"{models_dir} holds no bundle: expected folders with a bundle.json")
    return folders


def read_bundle(folder: Path) -> Bundle:
    """Read the manifest and verify every file against it. Raises `BundleError`."""
    try:
        manifest = Manifest.model_validate_json((folder / "bundle.json").read_bytes())
    except OSError as error:
        raise BundleError(f"{folder.name}: bundle.json can't be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise BundleError(f"{folder.name}: bundle.json: {where}: {first['msg']}") from error
    for name in (*FILES, *([STATISTICS] if manifest.statistics else [])):
        if name not in manifest.files:
            raise BundleError(f"{folder.name}: bundle.json does not list {name}")
    for name, entry in manifest.files.items():
        _verify(folder, name, entry)
    if manifest.version != manifest.content_version:
        raise BundleError(
            f"{folder.name}: bundle.json: version: expected {manifest.content_version} of its content, "
            f"got {manifest.version}: export it again"
        )
    return Bundle(folder=folder, manifest=manifest)


def choose_bundle(models_dir: Path, name: str | None, device: str) -> Bundle:
    """The bundle called `name` or `name@version`. Raises `BundleError`.

    For None the first one, though on the device `cpu` none in fp16 where there is another.
    """
    bundles = [read_bundle(folder) for folder in find_bundles(models_dir)]
    bundles.sort(key=lambda bundle: bundle.manifest.is_for_gpus and device == "cpu")
    for bundle in bundles:
        if name in (None, bundle.manifest.name, bundle.manifest.id):
            return bundle
    known = ", ".join(bundle.manifest.id for bundle in bundles)
    raise BundleError(f"there is no model {name!r} in {models_dir}; there is {known}")


def _verify(folder: Path, name: str, entry: FileEntry) -> None:
    if Path(name).name != name:
        raise BundleError(f"{folder.name}: {name!r} is no plain file name")
    try:
        with (folder / name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{folder.name}: {name} can't be read: {error.strerror}") from error
    if digest != entry.sha256:
        raise BundleError(
            f"{folder.name}: {name} is damaged: expected SHA-256 {entry.sha256[:12]}…, got {digest[:12]}…"
        )
