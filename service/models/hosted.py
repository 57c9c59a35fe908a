"""The models of the engine that the processes of this host share, as it tells of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from service.host.batcher import HostBatcher
from service.host.connection import Connection, keep_connected
from service.host.edition import Edition
from service.models.models import Models
from service.models.served import ServedModel
from service.settings import Settings
from service.watch.metrics import Metrics


class HostedModels(Models):
    """What the engine serves. Not ready while there is no engine, or it is not ready itself."""

    def __init__(self, settings: Settings, metrics: Metrics, engine: Path) -> None:
        """Look for the engine, whose socket is at `engine`; needs a running event loop."""
        super().__init__(settings, metrics)
        self._connection: Connection | None = None
        self._numbered: dict[int, ServedModel] = {}
        if settings.cache_ttl_s:
            from service.fleet.link import Link

            self._link = Link(settings)
        self._connecting = asyncio.create_task(keep_connected(engine, self._hear))

    def reload(self) -> None:
        """Nothing: the engine looks into the folder, and tells."""

    async def close(self) -> None:
        """Leave the engine."""
        self._connecting.cancel()
        await asyncio.gather(self._connecting, return_exceptions=True)
        await super().close()
        if self._link is not None:
            await self._link.close()

    def _hear(self, connection: Connection, number: int, edition: Edition) -> None:
        """Serve what an engine does. All models of another engine than before are new."""
        known = self._numbered if connection is self._connection else {}
        self._connection = connection
        self._numbered = {
            each: known.get(each) or self._model(connection, each, edition) for each in edition.models
        }
        self.refused = edition.refused
        self._progress.done()
        self._swap(self._numbered.values(), edition.default)
        self._reason = edition.reason
        connection.heard(number)
        task = asyncio.create_task(self._leave(connection, number))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def _model(self, connection: Connection, number: int, edition: Edition) -> ServedModel:
        batcher = HostBatcher(
            connection,
            number,
            edition.providers[number],
            self._pool,
            max_queue=self._settings.max_queue,
            metrics=self._metrics,
        )
        return self._serve(edition.models[number], batcher)

    async def _leave(self, connection: Connection, number: int) -> None:
        await self.visits.ended(2 * self._settings.request_timeout_s)
        connection.left(number)
