"""The worker: takes items from Redis, runs as many as its engines like, answers; alone or as one of many.

While all its threads are busy it fetches what already waits, so that the device has no pause under load and a
lone item never waits for company. An item is answered, acknowledged and deleted in one step; one whose worker
died is claimed by another after `claim_idle_ms`, runs alone then, and is buried after `max_deliveries`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from redis.exceptions import ResponseError

from service.batching.batch import Ran, run_batch
from service.batching.lanes import BULK_TURN, LANES, Lanes
from service.errors import InternalError, ItemBuried, QueueAway
from service.fleet.jobs import Job, Source
from service.fleet.link import Link
from service.fleet.membership import Membership
from service.fleet.names import GROUP, Names
from service.fleet.outbox import RETRY_S, Outbox
from service.fleet.scripts import CLAIM, call
from service.fleet.tasks import end
from service.fleet.wire import Fields, Malformed, Reply, Request
from service.runtime.engine import STAGES, Engine, Stage
from service.settings import Settings
from service.watch.logs import logger
from service.watch.metrics import About, Metrics

BLOCK_MS = 500


class Worker:
    """Runs the items of some models on one device until it is told to stop."""

    def __init__(self, settings: Settings, engines: Sequence[Engine], metrics: Metrics) -> None:
        """Nothing is taken before `run`."""
        self._settings = settings
        self._metrics = metrics
        self._engines: Mapping[str, Engine] = {engine.manifest.id: engine for engine in engines}
        self._names = Names(settings.redis_prefix)
        self._link = Link(settings)
        self._sources = {
            (stream := self._names.requests(model, stage, lane)).encode(): Source(stream, model, stage, lane)
            for lane in LANES
            for model in self._engines
            for stage in STAGES
        }
        self._member = Membership(
            self._link,
            self._names,
            {source.stream: source.model for source in self._sources.values()},
            provider=",".join(sorted({engine.provider for engine in engines})),
            claim_idle_ms=settings.claim_idle_ms,
        )
        self._ready: dict[tuple[str, Stage], Lanes[Job]] = {
            (model, stage): Lanes() for model in self._engines for stage in STAGES
        }
        self._suspects: deque[Job] = deque()
        """Items whose last worker died, perhaps of them. The first may be running: alone."""
        self._concurrency = max(engine.concurrency for engine in engines)
        self._at_once = self._concurrency * max(engine.max_batch for engine in engines)
        """Items that run at a time, and that are fetched at a time: others wait for work, too."""
        self._running: set[asyncio.Task[None]] = set()
        self._held: dict[tuple[str, bytes], Job] = {}
        """All that this worker has claimed and not yet answered."""
        self._outbox = Outbox(self._link, self._names, metrics, settled=self._forget)
        self._threads = ThreadPoolExecutor(self._concurrency, thread_name_prefix="engine")
        self._away = False
        self._stopping = asyncio.Event()
        for (model, stage), line in self._ready.items():
            name = self._engines[model].manifest.name
            metrics.queue_depth.labels(name, stage).set_function(partial(len, line))

    @property
    def name(self) -> str:
        """Its name among the consumers."""
        return self._member.name

    def stop(self) -> None:
        """Take nothing more, finish what was taken, end."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop`, whatever happens to Redis meanwhile."""
        await self._join()
        tasks = [asyncio.create_task(self._repeat(work, pause_s)) for work, pause_s in self._chores()]
        logger.info("worker_ready", worker=self.name, models=sorted(self._engines))
        idle = False
        while self._running or self._has_ready() or not self._stopping.is_set():
            self._collect()
            self._start()
            if not self._has_ready() and not self._stopping.is_set():
                await self._fetch(wait=idle and not self._is_full())
                idle = not self._has_ready()
            if self._running and (self._is_full() or self._stopping.is_set()):
                await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
        await self._outbox.drain()
        await end(tasks)
        await self._leave()
        logger.info("stopped", worker=self.name)

    # What comes in

    async def _fetch(self, *, wait: bool) -> None:
        """Take what waits, small items first; with `wait`, wait a moment for the first one."""
        count = self._at_once
        small = [source.stream for source in self._sources.values() if source.lane == "small"]
        bulk = [source.stream for source in self._sources.values() if source.lane == "bulk"]
        try:
            if wait:
                await self._read(count, [*small, *bulk], "BLOCK", BLOCK_MS)
                return
            taken = await self._read(count, small)
            await self._read(max(count // BULK_TURN, count - taken, 1), bulk)
        except QueueAway as error:
            self._note(error)
            await self._pause()
        except ResponseError as error:
            self._refused("read_refused", error)
            await self._pause()
            await self._join()

    async def _read(self, count: int, streams: Sequence[str], *options: str | int) -> int:
        command = ("XREADGROUP", "GROUP", GROUP, self.name, "COUNT", count, *options)
        [answer] = await self._link.run([(*command, "STREAMS", *streams, *[">"] * len(streams))])
        if isinstance(answer, ResponseError):
            raise answer
        taken = 0
        for stream, entries in answer or []:
            for entry, fields in entries:
                await self._accept(self._sources[stream], entry, fields, deliveries=1)
                taken += 1
        return taken

    async def _accept(self, source: Source, entry: bytes, fields: Fields, deliveries: int) -> None:
        """Put an entry in line; or away, where it is malformed or has taken down too many workers."""
        try:
            request = Request.parse(fields, source.stage, self._engines[source.model].manifest)
            if not request.reply_to.startswith(self._names.replies("")):
                raise Malformed(f"answers are not written to {request.reply_to!r}")
        except Malformed as error:
            await self._outbox.bury(source, entry, fields, f"malformed: {error}", InternalError.code)
            return
        if deliveries > self._settings.max_deliveries:
            await self._outbox.bury(source, entry, fields, f"delivered {deliveries} times", ItemBuried.code)
            return
        job = Job(source, entry, request)
        self._held[source.stream, entry] = job
        if deliveries > 1:
            self._suspects.append(job)
        else:
            self._ready[source.model, source.stage].put(job, source.lane)

    # What is run

    def _has_ready(self) -> bool:
        return bool(self._suspects) or any(self._ready.values())

    def _is_full(self) -> bool:
        return len(self._running) >= (1 if self._suspects else self._concurrency)

    def _start(self) -> None:
        """Run what is ready on the threads that are free."""
        while self._has_ready() and not self._is_full():
            if jobs := self._next_batch():
                others = len(self._running) + sum(map(len, self._ready.values()))
                work = self._do(jobs, crowded=others + 1 >= self._concurrency)
                self._running.add(asyncio.create_task(work))

    def _collect(self) -> None:
        """Forget what has ended; an error that nobody foresaw ends the worker, and others take its items."""
        for task in [task for task in self._running if task.done()]:
            self._running.remove(task)
            task.result()

    async def _do(self, jobs: Sequence[Job], *, crowded: bool) -> None:
        loop = asyncio.get_running_loop()
        ran = await loop.run_in_executor(self._threads, self._run_batch, jobs, crowded)
        if self._suspects and self._suspects[0] is jobs[0]:
            self._suspects.popleft()
        self._answer(jobs, ran)

    def _next_batch(self) -> list[Job]:
        """A batch of the longest line: items that somebody still waits for."""
        if self._suspects:
            if self._awaited(self._suspects[0]):
                return [self._suspects[0]]
            self._suspects.popleft()
            return []
        (model, _), line = max(self._ready.items(), key=lambda entry: len(entry[1]))
        jobs: list[Job] = []
        while line and len(jobs) < self._engines[model].max_batch:
            job = line.pop()
            if self._awaited(job):
                jobs.append(job)
        return jobs

    def _awaited(self, job: Job) -> bool:
        """Whether the item's time has not passed; else it is dropped."""
        written_ms = int(job.entry.partition(b"-")[0])
        if 1000 * self._member.clock.at(time.monotonic()) <= written_ms + job.request.ttl_ms:
            return True
        self._outbox.drop(job)
        return False

    def _run_batch(self, jobs: Sequence[Job], crowded: bool) -> Ran:
        """On one of the engines' threads."""
        source = jobs[0].source
        engine = self._engines[source.model]
        return run_batch(
            partial(engine.run, crowded=crowded),
            source.stage,
            [job.request.arrays for job in jobs],
            model=engine.manifest.name,
            request_ids=[job.request.request_id for job in jobs],
            traces=[job.request.trace for job in jobs],
        )

    # What goes out

    def _answer(self, jobs: Sequence[Job], ran: Ran) -> None:
        source, metrics = jobs[0].source, self._metrics
        name = self._engines[source.model].manifest.name
        metrics.batch_size.labels(name, source.stage).observe(len(jobs))
        metrics.images.labels(name, source.stage).inc(len(jobs))
        about: About = {"model": name, "stage": source.stage, "batch_size": len(jobs)}
        traces = [job.request.trace for job in jobs]
        metrics.stage("inference", ran.started, ran.ended, traces, **about)
        started_ms = 1000 * self._member.clock.at(ran.started)
        replies = []
        for job, result in zip(jobs, ran.results, strict=True):
            queue_s = max(0.0, started_ms - int(job.entry.partition(b"-")[0])) / 1000
            metrics.stage("queue", ran.started - queue_s, ran.started, [job.request.trace], **about)
            failed = isinstance(result, Exception)
            replies.append(
                Reply(
                    item=job.request.item,
                    arrays=None if failed else result,  # type: ignore[arg-type]
                    error=InternalError.code if failed else "",
                    queue_s=queue_s,
                    inference_s=ran.ended - ran.started,
                )
            )
        self._outbox.deliver(jobs, replies)

    def _forget(self, job: Job) -> None:
        self._held.pop((job.source.stream, job.entry), None)

    # What else there is to do

    def _chores(self) -> list[tuple[Any, float]]:
        every_s = self._settings.claim_idle_ms / 3000
        return [(self._beat, every_s), (self._claim, every_s), (self._member.sweep, 20 * every_s)]

    async def _repeat(self, work: Any, pause_s: float) -> None:
        while True:
            try:
                await work()
            except QueueAway as error:
                self._note(error)
            except ResponseError as error:
                self._refused("chore_refused", error)
            except Exception:
                logger.exception("chore_failed", worker=self.name)
            await asyncio.sleep(pause_s)

    async def _beat(self) -> None:
        await self._member.beat(self._held)
        self._note(None)

    async def _claim(self) -> None:
        """Take over what workers that died have left."""
        if self._stopping.is_set():
            return
        idle_ms, count = self._settings.claim_idle_ms, self._settings.max_batch
        sources = list(self._sources.values())
        answers = await self._link.run(
            [call(CLAIM, [source.stream], GROUP, self.name, idle_ms, count) for source in sources]
        )
        for source, answer in zip(sources, answers, strict=True):
            if isinstance(answer, ResponseError):
                raise answer
            claimed = [each for each in answer if (source.stream, each[0]) not in self._held]
            if claimed:
                logger.warning("claimed", stream=source.stream, items=len(claimed))
                self._metrics.redeliveries.inc(len(claimed))
            for entry, parts, deliveries in claimed:
                fields = dict(zip(parts[::2], parts[1::2], strict=True))
                await self._accept(source, entry, fields, deliveries)

    async def _join(self) -> None:
        """Join the fleet, as soon as Redis is there."""
        while not self._stopping.is_set():
            try:
                await self._member.join()
                self._note(None)
                return
            except (QueueAway, ResponseError) as error:
                self._note(error)
                await self._pause()

    async def _leave(self) -> None:
        try:
            await self._member.leave()
        except QueueAway:
            logger.warning("left_without_a_word", worker=self.name)
        await self._link.close()
        self._threads.shutdown()

    def _note(self, error: QueueAway | ResponseError | None) -> None:
        """Log when Redis goes and when it is back."""
        if error is not None and not self._away:
            logger.error("redis_away", worker=self.name, reason=str(error.__cause__ or error))
        elif error is None and self._away:
            logger.info("redis_back", worker=self.name)
        self._away = error is not None

    def _refused(self, event: str, error: ResponseError) -> None:
        """Log what Redis refuses; not that the streams are gone, because they are made again at once."""
        if not str(error).startswith(("NOGROUP", "UNBLOCKED the stream key no longer exists")):
            logger.error(event, worker=self.name, reason=str(error))

    async def _pause(self) -> None:
        """Wait a moment, or less where this worker is to stop."""
        try:
            await asyncio.wait_for(self._stopping.wait(), RETRY_S)
        except TimeoutError:
            return
