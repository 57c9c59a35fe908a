"""Everything that can be set, from `STELLAR_…` variables or the command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.logs import logger

BUNDLED_MODELS = Path(__file__).parent / "bundles"


class Settings(BaseSettings):
    """One process's settings; each is read from the variable of its name with the prefix `STELLAR_`."""

    model_config = SettingsConfigDict(env_prefix="STELLAR_", frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    models_dir: Path = Field(BUNDLED_MODELS, description="Folder of bundles; every one in it is served.")
    model: str | None = Field(None, description="Model for requests that name none [default: the first].")

    provider: Literal["cpu", "cuda", "tensorrt"] = Field("cpu", description="ONNX Runtime's device.")
    allow_fallback: bool = Field(False, description="Run on the CPU where the provider is missing.")
    threads: int = Field(0, ge=0, description="Threads of an inference; 0: the processors it may use.")
    max_batch: int = Field(8, ge=1, le=256, description="Largest batch.")
    max_queue: int = Field(256, ge=1, description="Items that may wait for each stage; beyond: 503.")

    request_timeout_s: float = Field(30.0, gt=0, description="Longest time a request may take; beyond: 504.")
    shutdown_grace_s: int = Field(20, ge=0, description="Time that work in flight has to finish at the end.")
    max_body_bytes: int = Field(64 * 2**20, ge=1, description="Largest request body.")
    max_image_pixels: int = Field(50_000_000, ge=1, description="Largest image, in pixels.")
    max_images: int = Field(32, ge=1, description="Most images in one request.")
    max_edits: int = Field(64, ge=0, description="Most edits in one request.")
    decode_threads: int = Field(2, ge=1, description="Threads that decode images.")

    api_keys: SecretStr | None = Field(None, description="Accepted keys, separated by commas.")
    api_keys_file: Path | None = Field(None, description="File with one accepted key a line.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged.")
    log_format: Literal["auto", "json", "console"] = Field("auto", description="auto: console on a terminal.")


def warn_of_unknown_variables() -> None:
    """Log each `STELLAR_…` variable that sets nothing: it may be misspelt."""
    for variable in sorted(os.environ):
        name = variable.removeprefix("STELLAR_")
        if name != variable and name.lower() not in Settings.model_fields:
            logger.warning("unknown_setting", variable=variable)
