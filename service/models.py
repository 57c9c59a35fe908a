"""The models that are served: loaded in the background, looked up by name.

H, W pixels · N patches · r sparse tokens · D width
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.batcher import Batcher, LocalBatcher
from service.bundle import Bundle, BundleError, Manifest, find_bundles, read_bundle
from service.engine import Engine
from service.errors import NotReady, UnknownModel
from service.fleet.cache import CachedBatcher
from service.fleet.fleet import Fleet
from service.fleet.link import Link
from service.fleet.names import Names
from service.lanes import Admission, Lane
from service.logs import logger
from service.metrics import Metrics
from service.progress import Progress
from service.providers import DeviceError
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

    def __init__(self, manifest: Manifest, batcher: Batcher, admission: Admission) -> None:
        self.manifest = manifest
        self._batcher = batcher
        self._admission = admission

    @property
    def id(self) -> str:
        """name@version."""
        return self.manifest.id

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of what it runs on."""
        return self._batcher.provider

    @property
    def reason(self) -> str | None:
        """Why it can't be used at the moment, or None where it can."""
        return self._batcher.reason

    @contextmanager
    def admit(self, client: str, count: int) -> Iterator[Lane]:
        """Keep places for `count` images until they are done, from before they are decoded; in which lane.

        Raises `Unavailable` where they would not fit: what waits to be decoded is bounded too.
        """
        lane = self._admission.lane(client, count)
        self._batcher.ensure_capacity("encode", count, lane)
        with self._admission.admit(client, count):
            yield lane

    async def encode(self, pixels: Pixels, *, deadline: float, lane: Lane) -> Tokens:
        """Tokens of an image (H, W, 3) of the model's own size."""
        out = await self._batcher.submit("encode", {"image": pixels}, deadline=deadline, lane=lane)
        # The engine checked names and types.
        return Tokens(out["semantics"], out["localization"], out["cls"])  # type: ignore[arg-type]

    async def decode(self, semantics: Floats, localization: Floats, *, deadline: float, lane: Lane) -> Pixels:
        """The image (H, W, 3) that tokens stand for."""
        arrays = {"semantics": semantics, "localization": localization}
        out = await self._batcher.submit("decode", arrays, deadline=deadline, lane=lane)  # type: ignore[arg-type]
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
        self._reason: str | None = None
        self._progress = Progress()
        self._stopping = False
        self._fleet: Fleet | None = None
        self._link: Link | None = None
        if settings.batcher == "redis":
            self._fleet = Fleet(settings, metrics)
            self._link = self._fleet.link
        elif settings.cache_ttl_s:
            self._link = Link(settings)
        self._loading = asyncio.create_task(self._load())

    @property
    def refusal(self) -> str | None:
        """Why no request at all can be served, or None where some can."""
        if self._stopping:
            return "the service is stopping"
        return self._progress.reason or self._reason

    @property
    def reason(self) -> str | None:
        """Why not every model can be used, or None where they all can: what readiness tells."""
        reasons = (self.refusal, *(model.reason for model in self))
        return next((reason for reason in reasons if reason is not None), None)

    async def loaded(self) -> None:
        """Wait until every model is loaded, or can't be: `reason` tells."""
        await asyncio.wait([self._loading])

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
            raise NotReady(f"No model can be used yet: {self.refusal}")
        wanted, _, version = (name or self._default or "").partition("@")
        model = self._served.get(wanted)
        if model is None or (version and version != model.manifest.version):
            known = ", ".join(model.id for model in self)
            raise UnknownModel(f"There is no model {name!r} here; there is {known}", param="model")
        return model

    async def close(self) -> None:
        """Stop loading and stop every model."""
        self._loading.cancel()
        await asyncio.gather(self._loading, return_exceptions=True)
        await asyncio.gather(*(model.close() for model in self))
        if self._fleet is not None:
            await self._fleet.close()
        if self._link is not None:
            await self._link.close()

    async def _load(self) -> None:
        try:
            bundles = [
                await asyncio.to_thread(read_bundle, folder)
                for folder in find_bundles(self._settings.models_dir)
            ]
            names = [bundle.manifest.name for bundle in bundles]
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise BundleError(f"two bundles have the same name: {', '.join(twice)}")
            default = self._settings.model or names[0]
            if default not in names:
                raise BundleError(f"the default model {default!r} is not among {', '.join(names)}")
            batchers = [await self._batcher(bundle) for bundle in bundles]
        except (BundleError, DeviceError) as error:
            self._reason = str(error)
            logger.error("models_failed", reason=self._reason)
            return
        except Exception:
            self._reason = "the models could not be loaded; the log tells why"
            logger.exception("models_failed")
            return
        finally:
            self._progress.done()
        self._served = {
            bundle.manifest.name: self._serve(bundle.manifest, batcher)
            for bundle, batcher in zip(bundles, batchers, strict=True)
        }
        self._default = default
        self._reason = None

    async def _batcher(self, bundle: Bundle) -> Batcher:
        """What runs a bundle's items: the workers, or an engine of this process."""
        if self._fleet is not None:
            return self._fleet.serve(bundle.manifest)
        settings, manifest = self._settings, bundle.manifest
        engine = await asyncio.to_thread(Engine, bundle, settings, self._progress.tell)
        self._metrics.show_model(manifest, engine.provider)
        return LocalBatcher(
            engine.run,
            model=manifest.name,
            provider=engine.provider,
            max_batch=settings.max_batch,
            max_queue=settings.max_queue,
            metrics=self._metrics,
        )

    def _serve(self, manifest: Manifest, batcher: Batcher) -> ServedModel:
        settings = self._settings
        if settings.cache_ttl_s and self._link is not None:
            names = Names(settings.redis_prefix)
            batcher = CachedBatcher(
                batcher, self._link, names, manifest.id, ttl_s=settings.cache_ttl_s, metrics=self._metrics
            )
        # Beyond the queue, one batch may run.
        max_admitted = settings.max_queue + settings.max_batch
        admission = Admission(max_admitted=max_admitted, small_items=settings.small_items)
        return ServedModel(manifest, batcher, admission)
