"""The models that are served: loaded in the background, looked up by name, replaced without a pause."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from service.batching.batcher import Batcher
from service.batching.budget import Budget
from service.batching.lanes import Admission
from service.batching.local import LocalBatcher
from service.batching.pool import Pool
from service.errors import NotReady, UnknownModel
from service.models.served import ServedModel
from service.models.visits import Visits
from service.runtime.bundle import Bundle, BundleError, Manifest, find_bundles, read_bundle
from service.runtime.engine import Engine
from service.runtime.progress import Progress
from service.runtime.providers import DeviceError
from service.runtime.resources import available_memory
from service.runtime.sessions import thread_count
from service.settings import Settings
from service.watch.logs import logger
from service.watch.metrics import Metrics

if TYPE_CHECKING:  # a service without Redis starts without its client, whose import takes long
    from service.fleet.fleet import Fleet
    from service.fleet.link import Link

WORKERS_EVERY_S = 0.25


class Models:
    """Every bundle of the models' folder. Not ready until all are loaded, verified and warm.

    Later the folder may change: `reload` takes it in, bundle by bundle, while requests go on.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        """Begin to load; needs a running event loop."""
        self._settings = settings
        self._metrics = metrics
        self.visits = Visits()
        self.refused: dict[str, str] = {}
        """Folders whose bundle is not, or not yet, what is served, and why."""
        self._served: dict[str, ServedModel] = {}
        self._folders: dict[Path, ServedModel] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._default: str | None = None
        self._reason: str | None = None
        self._progress = Progress()
        self._stopping = False
        self._pool = Pool(settings.decode_threads)
        self.budget = Budget(settings.decode_memory or available_memory() // 2, settings.decode_threads)
        """What requests decode their large pictures in."""
        self._fleet: Fleet | None = None
        self._link: Link | None = None
        if settings.batcher == "redis":
            from service.fleet.fleet import Fleet

            self._fleet = Fleet(settings, self._pool, metrics)
            self._link = self._fleet.link
        elif settings.cache_ttl_s:
            from service.fleet.link import Link

            self._link = Link(settings)
        self._loading = asyncio.create_task(self._load())

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
            raise NotReady(f"No model can be used yet: {self._without_path(self.refusal or '')}")
        wanted, _, version = (name or self._default or "").partition("@")
        model = self._served.get(wanted)
        if model is None or (version and version != model.manifest.version):
            known = ", ".join(model.id for model in self)
            raise UnknownModel(f"There is no model {name!r} here; there is {known}", param="model")
        return model

    def reload(self) -> None:
        """Take in what the folder holds now, in the background; asked again meanwhile, begin anew.

        A new or changed bundle serves once it is verified and warm (with Redis: once a worker has it). What
        it replaces, like one that is gone, is closed after the requests that may use it. A bundle that can't
        be served leaves what its folder held before; `refused` says why.
        """
        self._loading.cancel()
        self._loading = asyncio.create_task(self._load())

    async def close(self) -> None:
        """Stop loading and stop every model."""
        tasks = [self._loading, *self._retiring]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(model.close() for model in self))
        self._pool.close()
        self.budget.close()
        if self._fleet is not None:
            await self._fleet.close()
        if self._link is not None:
            await self._link.close()

    async def _load(self) -> None:
        self.refused = {}
        try:
            plan = await self._plan()
            async with AsyncExitStack() as unused:
                started = {folder: await self._start(folder, entry, unused) for folder, entry in plan.items()}
                serving = {folder: model for folder, model in started.items() if model is not None}
                self._check([model.manifest.name for model in serving.values()])
                unused.pop_all()
        except (BundleError, DeviceError) as error:
            reason = str(error)
            logger.error("models_failed", reason=reason)
        except Exception:
            reason = "the models could not be loaded; the log tells why"
            logger.exception("models_failed")
        else:
            if not self._served:
                gc.collect()
                gc.freeze()  # what is loaded by now stays: no request has to wait while it is looked through
            self._swap(serving)
            return
        finally:
            self._progress.done()
        if self._served:
            self.refused[self._settings.models_dir.name] = reason
        else:
            self._reason = reason

    async def _plan(self) -> dict[Path, Bundle | ServedModel]:
        """What each folder is to serve: a bundle that is new, or the model that is served already.

        Raises `BundleError`.
        """
        plan: dict[Path, Bundle | ServedModel] = {}
        for folder in find_bundles(self._settings.models_dir):
            try:
                bundle = await asyncio.to_thread(read_bundle, folder)
            except BundleError as error:
                if before := self._refuse(folder, error):
                    plan[folder] = before
                continue
            known = self._served.get(bundle.manifest.name)
            plan[folder] = known if known and known.manifest == bundle.manifest else bundle
        self._check([entry.manifest.name for entry in plan.values()])
        return plan

    def _check(self, names: Sequence[str]) -> None:
        """Raise `BundleError` where models of these names can't be served together."""
        if not names:
            raise BundleError(f"no bundle in {self._settings.models_dir} can be served")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise BundleError(f"two bundles have the same name: {', '.join(twice)}")
        if self._settings.model not in (None, *names):
            raise BundleError(f"the default model {self._settings.model!r} is not among {', '.join(names)}")

    def _refuse(self, folder: Path, error: BundleError | DeviceError) -> ServedModel | None:
        """Note why a bundle can't be served; the model that its folder goes on to serve.

        Raises the error where nothing is served yet: a start is whole or fails.
        """
        if not self._served:
            raise error
        self.refused[folder.name] = str(error)
        logger.error("bundle_refused", bundle=folder.name, reason=str(error))
        return self._folders.get(folder)

    async def _start(
        self, folder: Path, entry: Bundle | ServedModel, unused: AsyncExitStack
    ) -> ServedModel | None:
        """The model for a folder, new and warm or as it was; `unused` closes new ones."""
        if isinstance(entry, ServedModel):
            return entry
        try:
            model = self._serve(entry.manifest, await self._batcher(entry))
        except (BundleError, DeviceError) as error:
            return self._refuse(folder, error)
        unused.push_async_callback(model.close)
        while self._served and model.reason is not None:  # no worker has it yet: go on with what there is
            self.refused[folder.name] = f"not yet: {model.reason}"
            await asyncio.sleep(WORKERS_EVERY_S)
        self.refused.pop(folder.name, None)
        return model

    def _swap(self, serving: dict[Path, ServedModel]) -> None:
        """Serve these from now on, and close the others when no request uses them any more."""
        before = list(self)
        self._folders = serving
        self._served = {model.manifest.name: model for model in serving.values()}
        kept = self._default if self._default in self._served else next(iter(self._served))
        self._default = self._settings.model or kept
        self._reason = None
        if self._fleet is None:
            self._metrics.show_models([(model.manifest, model.provider) for model in self])
        for model in self:
            model.show()
        for model in before:
            if model not in self:
                task = asyncio.create_task(self._retire(model))
                self._retiring.add(task)
                task.add_done_callback(self._retiring.discard)
        logger.info("models_served", models=[model.id for model in self], refused=self.refused)

    async def _retire(self, model: ServedModel) -> None:
        try:
            # Its work takes no longer than a request may; another as long for slow bodies before the work.
            await self.visits.ended(2 * self._settings.request_timeout_s)
        finally:
            await model.close()
        if model.manifest.name not in self._served:
            self._metrics.forget_model(model.manifest.name)
        logger.info("model_closed", model=model.id)

    async def _batcher(self, bundle: Bundle) -> Batcher:
        """What runs a bundle's items: the workers, or an engine of this process."""
        if self._fleet is not None:
            return self._fleet.serve(bundle.manifest)
        engine = await asyncio.to_thread(Engine, bundle, self._settings, self._progress.tell)
        return LocalBatcher.of(engine, self._pool, max_queue=self._settings.max_queue, metrics=self._metrics)

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
