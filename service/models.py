"""The models that are served: loaded in the background, looked up by name.

H, W pixels · N patches · r sparse tokens · D width
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.batcher import Batcher, LocalBatcher
from service.bundle import BundleError, Manifest, find_bundles, read_bundle
from service.engine import Engine
from service.errors import NotReady, QueueFull, UnknownModel
from service.logs import logger
from service.metrics import Metrics
from service.settings import Settings

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


class Tokens(NamedTuple):
    """An image in the model's terms."""

    semantics: Floats
    """S, (r, D): what there is."""
    localization: Floats
    """L, (N, r): where it is; rows sum to 1."""
    cls: Floats
    """(D,): the whole image at once."""


class ServedModel:
    """One bundle behind its batcher."""

    def __init__(self, manifest: Manifest, provider: str, batcher: Batcher, *, max_admitted: int) -> None:
        self.manifest = manifest
        self.provider = provider
        self._batcher = batcher
        self._max_admitted = max_admitted
        self._admitted = 0

    @property
    def id(self) -> str:
        """name@version."""
        return self.manifest.id

    @contextmanager
    def admit(self, count: int) -> Iterator[None]:
        """Keep places for `count` images until they are done, from before they are decoded.

        Raises `QueueFull` where they would not fit: what waits to be decoded is bounded too.
        """
        self._batcher.ensure_capacity("encode", count)
        if self._admitted + count > self._max_admitted:
            raise QueueFull(f"{self._admitted} images are at work: try again soon")
        self._admitted += count
        try:
            yield
        finally:
            self._admitted -= count

    async def encode(self, pixels: Pixels, *, deadline: float) -> Tokens:
        """Tokens of an image (H, W, 3) of the model's own size."""
        out = await self._batcher.submit("encode", {"image": pixels}, deadline=deadline)
        # The engine checked names and types.
        return Tokens(out["semantics"], out["localization"], out["cls"])  # type: ignore[arg-type]

    async def decode(self, semantics: Floats, localization: Floats, *, deadline: float) -> Pixels:
        """The image (H, W, 3) that tokens stand for."""
        arrays = {"semantics": semantics, "localization": localization}
        out = await self._batcher.submit("decode", arrays, deadline=deadline)  # type: ignore[arg-type]
        return out["image"]  # type: ignore[return-value]

    async def close(self) -> None:
        """Stop its batcher."""
        await self._batcher.close()


class Models:
    """Every bundle of the models' folder. Not ready until all are loaded, verified and warm."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        """Begin to load; needs a running event loop."""
        self._settings = settings
        self._metrics = metrics
        self._served: dict[str, ServedModel] = {}
        self._default: str | None = None
        self._reason: str | None = "the models are loading"
        self._stopping = False
        self._loading = asyncio.create_task(self._load())

    @property
    def reason(self) -> str | None:
        """Why requests can't be served, or None where they can."""
        return "the service is stopping" if self._stopping else self._reason

    def stop(self) -> None:
        """Say no to the readiness probe from now on."""
        self._stopping = True

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._served.values())

    def get(self, name: str | None) -> ServedModel:
        """The model called `name` or `name@version`; the default one for None.

        Raises `NotReady` and `UnknownModel`.
        """
        if not self._served:
            raise NotReady(f"No model can be used yet: {self.reason}")
        wanted, _, version = (name or self._default or "").partition("@")
        model = self._served.get(wanted)
        if model is None or (version and version != model.manifest.version):
            known = ", ".join(model.id for model in self)
            raise UnknownModel(f"There is no model {name!r} here; there is {known}")
        return model

    async def close(self) -> None:
        """Stop loading and stop every model."""
        self._loading.cancel()
        await asyncio.gather(self._loading, return_exceptions=True)
        await asyncio.gather(*(model.close() for model in self))

    async def _load(self) -> None:
        try:
            engines = [
                await asyncio.to_thread(self._load_engine, folder)
                for folder in find_bundles(self._settings.models_dir)
            ]
            names = [engine.manifest.name for engine in engines]
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise BundleError(f"two bundles have the same name: {', '.join(twice)}")
            default = self._settings.model or names[0]
            if default not in names:
                raise BundleError(f"the default model {default!r} is not among {', '.join(names)}")
        except BundleError as error:
            self._reason = str(error)
            logger.error("models_failed", reason=self._reason)
            return
        except Exception:
            self._reason = "the models could not be loaded; the log tells why"
            logger.exception("models_failed")
            return
        self._served = {engine.manifest.name: self._serve(engine) for engine in engines}
        self._default = default
        self._reason = None

    def _load_engine(self, folder: Path) -> Engine:
        settings = self._settings
        bundle = read_bundle(folder)
        return Engine(
            bundle,
            provider=settings.provider,
            allow_fallback=settings.allow_fallback,
            threads=settings.threads,
            max_batch=settings.max_batch,
        )

    def _serve(self, engine: Engine) -> ServedModel:
        manifest = engine.manifest
        batcher = LocalBatcher(
            engine.run,
            model=manifest.name,
            max_batch=self._settings.max_batch,
            max_queue=self._settings.max_queue,
            metrics=self._metrics,
        )
        self._metrics.model_info.labels(
            manifest.name, manifest.version, engine.provider, manifest.precision
        ).set(1)
        logger.info("model_ready", model=manifest.id, provider=engine.provider, precision=manifest.precision)
        # Beyond the queue, one batch may run.
        max_admitted = self._settings.max_queue + self._settings.max_batch
        return ServedModel(manifest, engine.provider, batcher, max_admitted=max_admitted)
