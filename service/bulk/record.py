"""What a job is: the options that it was given, and all that its rows depend on."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from service.bulk.shards import Kind
from service.tokens.box import WHOLE, Box
from service.tokens.choices import Fit, Pooling


class Options(BaseModel):
    """What a job is to do."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    pooling: Pooling | None = None
    """None leaves it to the model."""
    fit: Fit = "crop"
    box: Box = WHOLE
    tokens: bool = False
    image_column: str | None = None
    """None looks for one."""
    id_column: str | None = None
    """None makes ids of a Parquet file's name and its rows' numbers."""
    shard_bytes: int = 64 * 2**20


class Record(Options):
    """`job.json`."""

    format: Literal[2] = 2
    """A job of before is refused, whose tables have other columns."""
    pooling: Pooling
    model: str
    """name@version."""
    source: str
    kind: Kind
    shards: int
    digest: str
    """Of the source's shards, as `Plan` has it."""
