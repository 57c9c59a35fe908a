"""Many pictures at once, in their order, within bounded memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sized
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.client.errors import StellarError

P = TypeVar("P")
T = TypeVar("T")
END: Any = object()


@dataclass(frozen=True)
class Result(Generic[P, T]):
    """What became of one picture."""

    picture: P
    """The picture as it was given."""
    outcome: T | StellarError

    @property
    def error(self) -> StellarError | None:
        """What went wrong, or None."""
        return self.outcome if isinstance(self.outcome, StellarError) else None

    @property
    def value(self) -> T:
        """The result. Raises the `StellarError` where there is none."""
        if isinstance(self.outcome, StellarError):
            raise self.outcome
        return self.outcome


async def in_order(
    pictures: Iterable[P],
    ask: Callable[[P], Coroutine[Any, Any, T]],
    *,
    at_once: int,
    progress: str | None,
) -> AsyncGenerator[Result[P, T], None]:
    """The results of all pictures in their order, `at_once` pictures or results being held at any time.

    `pictures` is read in threads, no further than needed. `progress` is the title of a bar on standard
    error, None for none. An error that concerns one picture is its result. Raises any other, and what
    `pictures` raises.
    """
    source = iter(pictures)
    held: deque[tuple[P, asyncio.Task[T]]] = deque()
    total = len(pictures) if isinstance(pictures, Sized) else None
    with progress_bar(shown=progress is not None) as bar:
        line = bar.add_task(progress or "", total=total)
        try:
            while True:
                while (
                    len(held) < at_once and (picture := await asyncio.to_thread(next, source, END)) is not END
                ):
                    held.append((picture, asyncio.create_task(ask(picture))))
                if not held:
                    return
                picture, task = held.popleft()
                outcome: T | StellarError
                try:
                    outcome = await task
                except StellarError as error:
                    if not error.concerns_picture:
                        raise
                    outcome = error
                bar.advance(line)
                yield Result(picture, outcome)
        finally:
            for _, task in held:
                task.cancel()
            await asyncio.gather(*(task for _, task in held), return_exceptions=True)


def progress_bar(*, shown: bool) -> Progress:
    """A bar on standard error where that is a terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not (shown and console.is_terminal),
    )
