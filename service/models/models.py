"""The models that are served: looked up by name, replaced without a pause."""

from __future__ import annotations

import asyncio
import gc
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from service.batching.batcher import Batcher
from service.batching.budget import Budget
from service.batching.lanes import Admission
from service.batching.pool import Pool
from service.errors import NotReady, UnknownModel
from service.models.served import ServedModel
from service.models.visits import Visits
from service.runtime.bundle import Manifest
from service.runtime.progress import Progress
from service.runtime.resources import available_memory
from service.runtime.sessions import thread_count
from service.settings import Settings
from service.watch.metrics import Metrics

if TYPE_CHECKING:  # a service without Redis starts without its client, whose import takes long
    from service.fleet.link import Link


class Models(ABC):
    """What requests find: models by name. Where they come from, the two kinds below this one know."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        """Serve nothing yet; needs a running event loop."""
        self._settings = settings
        self._metrics = metrics
        self.visits = Visits()
        self.refused: dict[str, str] = {}
        """Folders whose bundle is not, or not yet, what is served, and why."""
        self._served: dict[str, ServedModel] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._default: str | None = None
        self._reason: str | None = None
        self._progress = Progress()
        self._stopping = False
        self._pool = Pool(settings.decode_threads)
        self.budget = Budget(settings.decode_memory or available_memory() // 2, settings.decode_threads)
        """What requests decode their large pictures in."""
        self._link: Link | None = None
        """To Redis, where results are kept."""

    @property
    def refusal(self) -> str | None:
        """Why no request at all can be served, or None where some can."""
        if self._stopping:
            return "the service is stopping"
        return None if self._served else self._progress.reason or self._reason

    @property
    def reason(self) -> str | None:
        """Why not every model can be used, or None where they all can: what readiness tells."""
        reasons = (self.refusal, *(model.reason for model in self))
        return next((reason for reason in reasons if reason is not None), None)

    @property
    def told(self) -> str | None:
        """The reason as strangers may read it: without the path of the models' folder."""
        return None if self.reason is None else self._without_path(self.reason)

    def _without_path(self, reason: str) -> str:
        return reason.replace(str(self._settings.models_dir), "the models' folder")

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
            raise NotReady(f"No model can be used yet: {self._without_path(self.refusal or '')}")
        wanted, _, version = (name or self._default or "").partition("@")
        model = self._served.get(wanted)
        if model is None or (version and version != model.manifest.version):
            known = ", ".join(model.id for model in self)
            raise UnknownModel(f"There is no model {name!r} here; there is {known}", param="model")
        return model

    @abstractmethod
    def reload(self) -> None:
        """Take in what the models' folder holds now, in the background."""

    async def close(self) -> None:
        """Stop every model, and what decodes for them."""
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        await asyncio.gather(*(model.close() for model in self))
        self._pool.close()
        self.budget.close()

    def _swap(self, serving: Iterable[ServedModel], default: str | None) -> None:
        """Serve these from now on, and close the others when no request uses them any more."""
        before = list(self)
        if not before:
            gc.collect()
            gc.freeze()  # what is loaded by now stays: no request has to wait while it is looked through
        self._served = {model.manifest.name: model for model in serving}
        self._default = default
        self._reason = None
        for model in self:
            model.show()
        for model in before:
            if model not in self:
                task = asyncio.create_task(self._retire(model))
                self._retiring.add(task)
                task.add_done_callback(self._retiring.discard)

    async def _retire(self, model: ServedModel) -> None:
        try:
            # Its work takes no longer than a request may; another as long for slow bodies before the work.
            await self._unused(2 * self._settings.request_timeout_s)
        finally:
            await model.close()

    async def _unused(self, within_s: float) -> None:
        """Wait until nobody uses any more what was served before, or the time has passed."""
        await self.visits.ended(within_s)

    def _serve(self, manifest: Manifest, batcher: Batcher) -> ServedModel:
        settings = self._settings
        if settings.cache_ttl_s and self._link is not None:
            from service.fleet.cache import CachedBatcher
            from service.fleet.names import Names

            names = Names(settings.redis_prefix)
            batcher = CachedBatcher(
                batcher,
                self._pool,
                self._link,
                names,
                manifest,
                ttl_s=settings.cache_ttl_s,
                max_bytes=settings.cache_max_bytes,
                metrics=self._metrics,
            )
        # Beyond the queue, what runs.
        max_admitted = settings.max_queue + max(settings.max_batch, thread_count(settings))
        admission = Admission(max_admitted=max_admitted, small_items=settings.small_items)
        return ServedModel(manifest, batcher, admission)
