"""The models of a folder: loaded in this process, or served by workers once these have them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from service.batching.batcher import Batcher
from service.batching.local import LocalBatcher
from service.host.desk import Desk
from service.host.edition import Edition
from service.models.models import Models
from service.models.served import ServedModel
from service.runtime.bundle import Bundle, BundleError, find_bundles, read_bundle
from service.runtime.engine import Engine
from service.runtime.providers import CPU, DeviceError
from service.settings import Settings
from service.watch.logs import logger
from service.watch.metrics import Metrics

if TYPE_CHECKING:  # a service without Redis starts without its client, whose import takes long
    from service.fleet.fleet import Fleet

WORKERS_EVERY_S = 0.25


class LoadedModels(Models):
    """Every bundle of the models' folder. Not ready until all are loaded, verified and warm.

    Later the folder may change: `reload` takes it in, bundle by bundle, while requests go on.
    """

    def __init__(self, settings: Settings, metrics: Metrics, desk: Desk | None = None) -> None:
        """Begin to load; needs a running event loop. `desk` lets other processes use what is loaded."""
        super().__init__(settings, metrics)
        self._desk = desk
        self._folders: dict[Path, ServedModel] = {}
        self._fleet: Fleet | None = None
        if settings.batcher == "redis":
            from service.fleet.fleet import Fleet

            self._fleet = Fleet(settings, self._pool, metrics)
            self._link = self._fleet.link
        elif settings.cache_ttl_s:
            from service.fleet.link import Link

            self._link = Link(settings)
        self._loading = asyncio.create_task(self._load())

    async def loaded(self) -> None:
        """Wait until every model is loaded, or can't be: `reason` tells."""
        await asyncio.wait([self._loading])

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
        self._loading.cancel()
        await asyncio.gather(self._loading, return_exceptions=True)
        await super().close()
        if self._fleet is not None:
            await self._fleet.close()
        elif self._link is not None:
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
            await self._take_in(serving)
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

    async def _take_in(self, serving: dict[Path, ServedModel]) -> None:
        """Serve these from now on, here and wherever the desk is heard of."""
        self._folders = serving
        names = [model.manifest.name for model in serving.values()]
        # The first, though on processors no model in fp16, which is for GPUs, where there is another.
        first = min(serving.values(), key=lambda model: model.manifest.is_for_gpus and model.provider == CPU)
        kept = self._default if self._default in names else first.manifest.name
        self._swap(serving.values(), self._settings.model or kept)
        if self._fleet is None:
            self._metrics.show_models([(model.manifest, model.provider) for model in self])
        if self._desk is not None:
            await self._desk.show(self.edition(self._desk))
        logger.info("models_served", models=[model.id for model in self], refused=self.refused)

    def edition(self, desk: Desk) -> Edition:
        """What those at the desk may use, and why not more."""
        numbered = {desk.number(model.id): model for model in self}
        return Edition(
            models={number: model.manifest for number, model in numbered.items()},
            providers={number: model.provider for number, model in numbered.items()},
            default=self._default,
            refused=self.refused,
            reason=self.refusal,
        )

    async def _retire(self, model: ServedModel) -> None:
        await super()._retire(model)
        if model.manifest.name not in self._served:
            self._metrics.forget_model(model.manifest.name)
        logger.info("model_closed", model=model.id)

    async def _unused(self, within_s: float) -> None:
        await super()._unused(within_s)
        if self._desk is not None:
            await self._desk.unused(within_s)

    async def _batcher(self, bundle: Bundle) -> Batcher:
        """What runs a bundle's items: the workers, or an engine of this process."""
        if self._fleet is not None:
            return self._fleet.serve(bundle.manifest)
        engine = await asyncio.to_thread(Engine, bundle, self._settings, self._progress.tell)
        batcher = LocalBatcher.of(
            engine, self._pool, max_queue=self._settings.max_queue, metrics=self._metrics
        )
        if self._desk is not None:
            self._desk.open(bundle.manifest, batcher)
        return batcher
