"""The blocking client: the one for asyncio, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

from service.client.asynchronous import AsyncStellarClient
from service.client.stream import END

A = ParamSpec("A")
T = TypeVar("T")


def _blocking(
    method: Callable[Concatenate[AsyncStellarClient, A], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[StellarClient, A], T]:
    """A method that waits for the other client's."""

    @wraps(method)
    def call(self: StellarClient, /, *args: A.args, **kwargs: A.kwargs) -> T:
        return self._wait_for(method(self._client, *args, **kwargs))

    return call


def _iterating(
    method: Callable[Concatenate[AsyncStellarClient, A], AsyncGenerator[T, None]],
) -> Callable[Concatenate[StellarClient, A], Iterator[T]]:
    """A method that waits for each of the other client's results."""

    @wraps(method)
    def call(self: StellarClient, /, *args: A.args, **kwargs: A.kwargs) -> Iterator[T]:
        results = method(self._client, *args, **kwargs)

        async def following() -> T:
            return await anext(results, END)

        try:
            while (result := self._wait_for(following())) is not END:
                yield result
        finally:
            if not self._loop.is_closed():  # which ends what is under way
                self._wait_for(results.aclose())

    return call


Begin: TypeAlias = "Callable[[StellarClient, AsyncStellarClient], None]"


def _given(
    build: Callable[A, AsyncStellarClient],
) -> Callable[[Begin], Callable[Concatenate[StellarClient, A], None]]:
    """A constructor that takes what the other client's takes, and begins with such a client."""

    def decorate(begin: Begin) -> Callable[Concatenate[StellarClient, A], None]:
        @wraps(AsyncStellarClient.__init__)
        def construct(self: StellarClient, /, *args: A.args, **kwargs: A.kwargs) -> None:
            begin(self, build(*args, **kwargs))

        return construct

    return decorate


class StellarClient:
    """Asks a service for vectors, tokens and pictures; each call waits for its answer.

    Methods and errors are those of `AsyncStellarClient`. It may be used by many threads at once.
    """

    @_given(AsyncStellarClient)
    def __init__(self, client: AsyncStellarClient) -> None:
        self._client = client
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stellar-client", daemon=True)
        self._thread.start()

    embed = _blocking(AsyncStellarClient.embed)
    tokens = _blocking(AsyncStellarClient.tokens)
    heatmaps = _blocking(AsyncStellarClient.heatmaps)
    reconstruct = _blocking(AsyncStellarClient.reconstruct)
    models = _blocking(AsyncStellarClient.models)
    live = _blocking(AsyncStellarClient.live)
    ready = _blocking(AsyncStellarClient.ready)
    embed_all = _iterating(AsyncStellarClient.embed_all)
    tokens_all = _iterating(AsyncStellarClient.tokens_all)
    reconstruct_all = _iterating(AsyncStellarClient.reconstruct_all)

    def __enter__(self) -> StellarClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End what is under way, close the connections and end the thread."""
        if self._loop.is_closed():
            return
        self._wait_for(self._loop.shutdown_asyncgens())
        self._wait_for(self._client.close())
        self._wait_for(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop.is_closed():
            work.close()
            raise RuntimeError("the client is closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:  # Ctrl-C, too, ends the request
            future.cancel()
            raise
