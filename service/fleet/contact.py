"""A worker's contact with Redis: what its log tells when it is lost, made again or refused."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from redis.exceptions import ResponseError

from service.errors import QueueAway
from service.watch.logs import logger


class Contact:
    """Whether Redis is there, which all of a worker's threads note."""

    def __init__(self, worker: str) -> None:
        """`worker` is its name among the consumers."""
        self._worker = worker
        self._away, self._noting = False, Lock()

    def note(self, error: QueueAway | None) -> None:
        """Log when Redis goes and when it is back."""
        if (error is not None) == self._away:
            return
        with self._noting:
            was, self._away = self._away, error is not None
        if error is None and was:
            logger.info("redis_back", worker=self._worker)
        elif error is not None and not was:
            logger.error("redis_away", worker=self._worker, reason=str(error.__cause__ or error))

    def refused(self, event: str, error: ResponseError) -> None:
        """Log what Redis refuses; not that the streams are gone, because they are made again at once."""
        if not str(error).startswith(("NOGROUP", "UNBLOCKED the stream key no longer exists")):
            logger.error(event, worker=self._worker, reason=str(error))

    def done(self, chore: Callable[[], None]) -> bool:
        """Do it, or log why not; whether it is done."""
        try:
            chore()
        except QueueAway as error:
            self.note(error)
            return False
        except ResponseError as error:
            self.refused("chore_refused", error)
            return False
        except Exception:
            logger.exception("chore_failed", worker=self._worker)
            return False
        self.note(None)
        return True
