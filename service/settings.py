"""Everything that can be set, from `STELLAR_…` variables or the command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

BUNDLED_MODELS = Path(__file__).parent / "bundles"
SECRETS = ("api_keys", "redis_url")
"""Settings that no message may quote."""


class Settings(BaseSettings):
    """The settings of a command; each is read from the variable of its name with the prefix `STELLAR_`."""

    model_config = SettingsConfigDict(env_prefix="STELLAR_", frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    grpc_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port for gRPC beside HTTP, by the extra grpc; 0 takes a free one.",
    )
    processes: int = Field(
        1,
        ge=0,
        description="Processes that take requests on the port, with one engine; 0: as suits the processors.",
    )
    models_dir: Annotated[Path, AfterValidator(Path.absolute)] = Field(
        BUNDLED_MODELS, description="Folder of bundles; every one in it is served."
    )
    model: str | None = Field(None, description="Model for requests that name none [default: the first].")

    device: str = Field(
        "cpu",
        pattern=r"^(cpu|(cuda|tensorrt)(:[0-9]+)?)$",
        description="What models run on: cpu, cuda or tensorrt, the latter two with a number, as in cuda:1.",
    )
    allow_fallback: bool = Field(False, description="Run on the next best device where it is missing.")
    engine_cache_dir: Path = Field(
        Path("~/.cache/stellar-service"), description="Folder of the engines that TensorRT builds."
    )
    threads: int = Field(
        0, ge=0, description="Threads that run images on processors; 0: the processors it may use."
    )
    max_batch: int = Field(
        8, ge=1, le=256, description="Largest batch on a GPU; processors run single images, a thread each."
    )
    max_queue: int = Field(256, ge=1, description="Items that may wait for each stage; beyond: 503.")
    small_items: int = Field(
        8, ge=0, description="Images that a client may have at work ahead of the bulk of others."
    )

    batcher: Literal["local", "redis"] = Field(
        "local", description="local: models run in this process; redis: workers run them."
    )
    redis_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"),
        validate_default=False,  # which would load Redis' client for nothing
        description="redis://, rediss:// (TLS) or unix://, with user and password where there are any.",
    )
    redis_prefix: str = Field("stellar", min_length=1, description="What all names in Redis begin with.")
    redis_timeout_s: float = Field(2.0, gt=0, description="After this long without an answer Redis is away.")
    claim_idle_ms: int = Field(
        3000, ge=100, description="Work that a worker has not confirmed for so long goes to another one."
    )
    max_deliveries: int = Field(
        3, ge=1, description="Workers that an item may take down before it is buried."
    )
    cache_ttl_s: int = Field(
        0, ge=0, description="How long results are kept in Redis for identical images; 0: not at all."
    )
    cache_max_bytes: int = Field(
        256 * 2**20,
        ge=0,
        description="Most bytes of kept results; never more than a quarter of Redis's own maxmemory.",
    )
    metrics_port: int = Field(
        9400, ge=0, le=65535, description="Port of a worker's metrics; 0 takes a free one."
    )

    request_timeout_s: float = Field(30.0, gt=0, description="Longest time a request may take; beyond: 504.")
    shutdown_grace_s: int = Field(20, ge=0, description="Time that work in flight has to finish at the end.")
    max_body_bytes: int = Field(64 * 2**20, ge=1, description="Largest request body.")
    max_image_pixels: int = Field(50_000_000, ge=1, description="Largest image, in pixels.")
    max_images: int = Field(
        32, ge=1, description="Most images in one request; of more under /v1, most at work at once."
    )
    max_inputs: int = Field(2048, ge=1, description="Most images in one request to /v1/embeddings.")
    max_edits: int = Field(64, ge=0, description="Most edits in one request.")
    decode_threads: int = Field(
        2,
        ge=1,
        description="Threads that decode images for a GPU or workers; and as many for large ones.",
    )

    decode_memory: int = Field(
        0, ge=0, description="Bytes that large pictures may take at once; 0: half of the memory."
    )
    body_memory: int = Field(
        0, ge=0, description="Bytes that bodies of requests may take; 0: a quarter of the memory."
    )
    max_connections: int = Field(
        1000,
        ge=2,
        description="Most open connections; of more, those at rest for longest are closed.",
    )
    header_timeout_s: float = Field(10.0, gt=0, description="Longest time for a request's head; beyond: 408.")
    keep_alive_s: float = Field(
        75.0, gt=0, description="Longest rest between an answer and the next request of a connection."
    )
    min_body_rate: int = Field(
        16 * 2**10, ge=0, description="Least bytes a second at which a body must come; below: 408; 0: any."
    )

    api_keys: SecretStr | None = Field(None, description="Accepted keys, separated by commas.")
    api_keys_file: Path | None = Field(None, description="File with one accepted key a line.")
    tracing: bool = Field(
        False, description="Send traces by OTLP; OpenTelemetry's own variables (OTEL_…) say where to."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged.")
    log_format: Literal["auto", "json", "console"] = Field("auto", description="auto: console on a terminal.")

    @field_validator("grpc_port")
    @classmethod
    def _another(cls, grpc_port: int | None, info: ValidationInfo) -> int | None:
        if grpc_port and grpc_port == info.data.get("port"):
            raise ValueError("expected another port than HTTP's")
        return grpc_port

    @field_validator("redis_url")
    @classmethod
    def _readable(cls, url: SecretStr) -> SecretStr:
        from redis.connection import parse_url

        parse_url(url.get_secret_value())  # type: ignore[no-untyped-call]
        return url


def read_settings(**given: Any) -> Settings:
    """The settings: those given, else from variables, else the defaults.

    Raises `ValueError` with a line for each bad one, which quotes no secret.
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_url=False):
            name = ".".join(map(str, problem["loc"]))
            got = "" if name in SECRETS else f", got {problem['input']!r}"
            lines.append(f"{name}: {problem['msg']}{got}")
        raise ValueError("\n".join(lines)) from None


def unknown_variables() -> list[str]:
    """The `STELLAR_…` variables that set nothing: they may be misspelt."""
    names = {variable: variable.removeprefix("STELLAR_") for variable in sorted(os.environ)}
    return [
        variable
        for variable, name in names.items()
        if name != variable and name.lower() not in Settings.model_fields
    ]
