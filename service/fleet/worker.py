"""The worker: takes items from Redis, runs as many as its engines like, answers; alone or as one of many.

Each of its threads does all of that in turn: the answers of a batch and the search for the next one travel
together. A thread waits in Redis only while a batch could run at once, so that a lone item never waits for
company, nor for a busy worker; where more waits than that, a spare thread fetches ahead, so that the device
has no pause. An item is answered, acknowledged and deleted in one step; one whose worker died is claimed by
another after `claim_idle_ms`, runs alone then, and is buried after `max_deliveries`.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import cache, partial
from threading import Condition
from typing import Any

from redis.exceptions import ResponseError

from service.batching.batch import Ran, run_batch
from service.batching.batcher import Outputs
from service.batching.lanes import BULK_TURN, LANES, Lane, Lanes
from service.batching.layout import Malformed
from service.errors import InternalError, ItemBuried, QueueAway
from service.fleet.jobs import Job, Source
from service.fleet.line import Line
from service.fleet.membership import Membership
from service.fleet.names import GROUP, Names
from service.fleet.outbox import Outbox
from service.fleet.resp import Command
from service.fleet.scripts import CLAIM, call
from service.fleet.wire import Fields, Reply, Request, Taken
from service.runtime.engine import STAGES, Arrays, Engine, Stage
from service.settings import Settings
from service.watch.logs import logger
from service.watch.metrics import About, Metrics

BLOCK_MS = 500
RETRY_S = 0.25
SWEEP_BEATS = 20
"""Consumers that are gone are looked for once in so many beats."""


class Worker:
    """Runs the items of some models on one device until it is told to stop."""

    def __init__(self, settings: Settings, engines: Sequence[Engine], metrics: Metrics) -> None:
        """Nothing is taken before `run`."""
        self._settings = settings
        self._metrics = metrics
        self._batch_size = cache(metrics.batch_size.labels)
        self._images = cache(metrics.images.labels)
        self._engines: Mapping[str, Engine] = {engine.manifest.id: engine for engine in engines}
        self._names = Names(settings.redis_prefix)
        self._replies = self._names.replies("")
        sources = [
            Source(
                self._names.requests(model, stage, lane),
                model,
                stage,
                lane,
                Taken.by(stage, engine.manifest),
            )
            for lane in LANES
            for model, engine in self._engines.items()
            for stage in STAGES
        ]
        self._sources = {source.stream.encode(): source for source in sources}
        self._member = Membership(
            self._names,
            {source.stream: source.model for source in sources},
            provider=",".join(sorted({engine.provider for engine in engines})),
            claim_idle_ms=settings.claim_idle_ms,
        )
        self._concurrency = max(engine.concurrency for engine in engines)
        self._max_batch = max(engine.max_batch for engine in engines)
        self._lanes = {lane: [each.stream for each in sources if each.lane == lane] for lane in LANES}
        self._first_come = self._read(self._max_batch, [each.stream for each in sources], "BLOCK", BLOCK_MS)
        self._changed = Condition()
        """Held by whoever looks at or changes what follows."""
        self._ready: dict[tuple[str, Stage], Lanes[Job]] = {
            (model, stage): Lanes() for model in self._engines for stage in STAGES
        }
        self._num_ready = 0
        self._suspects: deque[Job] = deque()
        """Items whose last worker died, perhaps of them. The first may be running: alone."""
        self._held: dict[tuple[str, bytes], Job] = {}
        """All that this worker has claimed and not yet answered."""
        self._running = 0
        """Batches that run."""
        self._reading = 0
        """Threads that look into Redis for another one."""
        self._more = False
        """Whether a look has found as much as it may take: more may wait."""
        self._small = self._looks = 0
        self._away = False
        self._stopping = False
        for (model, stage), line in self._ready.items():
            name = self._engines[model].manifest.name
            metrics.queue_depth.labels(name, stage).set_function(partial(len, line))

    @property
    def name(self) -> str:
        """Its name among the consumers."""
        return self._member.name

    def stop(self) -> None:
        """Take nothing more, finish what was taken, end."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def run(self) -> None:
        """Work until `stop`, whatever happens to Redis meanwhile.

        What nobody foresaw ends the worker and is raised: others take its items.
        """
        line, outbox = Line(self._settings), Outbox(self._names, self._metrics)
        while not self._stopping and not self._do(partial(self._join, line)):
            time.sleep(RETRY_S)
        every_s, beats = self._settings.claim_idle_ms / 3000, 0
        with ThreadPoolExecutor(self._concurrency + 1, thread_name_prefix="engine") as threads:
            working = {threads.submit(self._work) for _ in range(self._concurrency + 1)}
            logger.info("worker_ready", worker=self.name, models=sorted(self._engines))
            failed = None
            while working:
                done, working = wait(working, every_s, FIRST_EXCEPTION)
                failed = next((error for each in done if (error := each.exception())), failed)
                if failed is not None:
                    self.stop()
                self._do(partial(self._beat, line))
                if not self._stopping:
                    self._do(partial(self._claim, line, outbox))
                if beats % SWEEP_BEATS == SWEEP_BEATS - 1:
                    self._do(partial(self._member.sweep, line))
                beats += 1
        self._leave(line)
        if failed is not None:
            raise failed
        logger.info("stopped", worker=self.name)

    # What each thread does

    def _work(self) -> None:
        line, outbox = Line(self._settings), Outbox(self._names, self._metrics)
        while True:
            if jobs := self._take(outbox):
                self._run(jobs, outbox)
            looks = self._look()
            if looks or outbox.commands:
                self._exchange(line, outbox, looks)
            elif not jobs and not self._rest():
                line.close()
                return

    def _take(self, outbox: Outbox) -> list[Job]:
        """The next batch, which counts as running; or nothing, where none is ready or no more may run."""
        with self._changed:
            if not self._can_run():
                return []
            jobs = self._next_batch(outbox)
            self._running += bool(jobs)
            if self._can_run() or self._may_look():
                self._changed.notify()
            return jobs

    def _look(self) -> list[tuple[int, Command]]:
        """How to take from Redis what waits there, and how much at most; nothing where there is no need.

        Small items go first, and of the bulk ones at least a quarter of what may be taken. Where all that
        waited was taken before, one look waits a moment for what comes first.
        """
        with self._changed:
            if not self._may_look():
                return []
            self._reading += 1
            count = self._max_batch
            if not self._more:
                return [(count, self._first_come)]
            self._looks += 1
            bulk = max(count - self._small, count // BULK_TURN, int(self._looks % BULK_TURN == 0))
            counts: dict[Lane, int] = {"small": count, "bulk": bulk}
            return [(most, self._read(most, self._lanes[lane])) for lane, most in counts.items() if most]

    def _rest(self) -> bool:
        """Wait until there is something to do; False at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._can_run() or self._may_look() or self._is_over())
            return not self._is_over()

    def _can_run(self) -> bool:
        return self._has_ready() and self._running < (1 if self._suspects else self._concurrency)

    def _may_look(self) -> bool:
        """Whether what comes could run at once, or next where more waits than that."""
        batches = self._running + self._reading + math.ceil(self._num_ready / self._max_batch)
        return not self._suspects and not self._stopping and batches < self._concurrency + self._more

    def _is_over(self) -> bool:
        return self._stopping and not self._has_ready()

    def _has_ready(self) -> bool:
        return bool(self._suspects or self._num_ready)

    # What comes in, and goes out

    def _read(self, count: int, streams: Sequence[str], *options: str | int) -> Command:
        command = ("XREADGROUP", "GROUP", GROUP, self.name, "COUNT", count, *options)
        return (*command, "STREAMS", *streams, *[">"] * len(streams))

    def _exchange(self, line: Line, outbox: Outbox, looks: Sequence[tuple[int, Command]]) -> None:
        """Say what there is to say, and take what waits.

        What Redis has not heard stays in the outbox until it has, or nobody waits any more.
        """
        count = len(outbox.commands)
        try:
            answers = line.run([*outbox.commands, *(command for _, command in looks)])
            self._note(None)
            self._settle(outbox)
            for answer in answers[:count]:
                if isinstance(answer, ResponseError):
                    logger.error("answer_refused", worker=self.name, reason=str(answer))
            found = [(most, answer) for (most, _), answer in zip(looks, answers[count:], strict=True)]
            if refused := [answer for _, answer in found if isinstance(answer, ResponseError)]:
                self._refused("read_refused", refused[0])
                time.sleep(RETRY_S)
                self._do(partial(self._member.prepare, line))
            elif found:
                self._found(found, outbox)
        except QueueAway as error:
            self._note(error)
            if time.monotonic() > outbox.ends:
                self._settle(outbox)
            time.sleep(RETRY_S)
        finally:
            with self._changed:
                self._reading -= bool(looks)

    def _settle(self, outbox: Outbox) -> None:
        with self._changed:
            for job in outbox.jobs:
                self._held.pop((job.source.stream, job.entry), None)
        outbox.clear()

    def _found(self, found: Sequence[tuple[int, Any]], outbox: Outbox) -> None:
        """Put what looks have found in line."""
        self._more, self._small = False, 0
        for most, answer in found:
            for stream, entries in answer or ():
                source = self._sources[stream]
                self._accept(source, ((entry, parts, 1) for entry, parts in entries), outbox)
                self._more |= len(entries) >= most
                self._small += len(entries) if source.lane == "small" else 0

    def _accept(self, source: Source, entries: Iterable[Any], outbox: Outbox) -> None:
        """Put entries in line; or away, where one is malformed or has taken down too many workers."""
        for entry, parts, deliveries in entries:
            fields: Fields = dict(zip(parts[::2], parts[1::2], strict=True))
            try:
                request, item = Request.parse(fields, source.taken)
                if not request.reply_to.startswith(self._replies):
                    raise Malformed(f"answers are not written to {request.reply_to!r}")
            except Malformed as error:
                outbox.bury(source, entry, fields, f"malformed: {error}", InternalError.code)
                continue
            if deliveries > self._settings.max_deliveries:
                outbox.bury(source, entry, fields, f"delivered {deliveries} times", ItemBuried.code)
                continue
            job = Job(source, entry, request, item)
            with self._changed:
                self._held[source.stream, entry] = job
                if deliveries > 1:
                    self._suspects.append(job)
                else:
                    self._ready[source.model, source.stage].put(job, source.lane)
                    self._num_ready += 1

    # What is run

    def _next_batch(self, outbox: Outbox) -> list[Job]:
        """A batch of the longest line: items that somebody still waits for."""
        if self._suspects:
            if self._awaited(self._suspects[0], outbox):
                return [self._suspects[0]]
            self._suspects.popleft()
            return []
        (model, _), line = max(self._ready.items(), key=lambda entry: len(entry[1]))
        jobs: list[Job] = []
        while line and len(jobs) < self._engines[model].max_batch:
            job = line.pop()
            self._num_ready -= 1
            if self._awaited(job, outbox):
                jobs.append(job)
        return jobs

    def _awaited(self, job: Job, outbox: Outbox) -> bool:
        """Whether the item's time has not passed; else it is dropped."""
        if 1000 * self._member.clock.at(time.monotonic()) <= job.written_ms + job.request.ttl_ms:
            return True
        outbox.drop(job)
        return False

    def _run(self, jobs: list[Job], outbox: Outbox) -> None:
        source = jobs[0].source
        engine = self._engines[source.model]

        def run(stage: Stage, arrays: Arrays, outputs: Outputs) -> Arrays:
            crowded = self._running + self._num_ready >= self._concurrency
            return engine.run(stage, arrays, outputs, crowded=crowded)

        try:
            ran = run_batch(run, source.stage, jobs, model=engine.manifest.name)
        finally:
            with self._changed:
                self._running -= 1
                if self._suspects and self._suspects[0] is jobs[0]:
                    self._suspects.popleft()
                if self._can_run():
                    self._changed.notify()
        self._answer(jobs, ran, outbox)

    def _answer(self, jobs: Sequence[Job], ran: Ran, outbox: Outbox) -> None:
        source, metrics = jobs[0].source, self._metrics
        name = self._engines[source.model].manifest.name
        self._batch_size(name, source.stage).observe(len(jobs))
        self._images(name, source.stage).inc(len(jobs))
        about: About = {"model": name, "stage": source.stage, "batch_size": len(jobs)}
        metrics.stage("inference", ran.started, ran.ended, [job.trace for job in jobs], **about)
        started_ms, inference_s = 1000 * self._member.clock.at(ran.started), ran.ended - ran.started
        replies: list[tuple[Job, Reply]] = []
        for job, result in zip(jobs, ran.results, strict=True):
            queue_s = max(0.0, started_ms - job.written_ms) / 1000
            metrics.stage("queue", ran.started - queue_s, ran.started, [job.trace], **about)
            if isinstance(result, Exception):
                reply = Reply(error=InternalError.code, queue_s=queue_s, inference_s=inference_s)
            else:
                reply = Reply(arrays=result, queue_s=queue_s, inference_s=inference_s)
            replies.append((job, reply))
        outbox.answer(replies)

    # What else there is to do

    def _do(self, chore: Callable[[], None]) -> bool:
        """Do it, or log why not."""
        try:
            chore()
        except QueueAway as error:
            self._note(error)
            return False
        except ResponseError as error:
            self._refused("chore_refused", error)
            return False
        except Exception:
            logger.exception("chore_failed", worker=self.name)
            return False
        self._note(None)
        return True

    def _join(self, line: Line) -> None:
        try:
            self._member.prepare(line)
            self._beat(line)
        except ResponseError as error:
            raise QueueAway from error

    def _beat(self, line: Line) -> None:
        with self._changed:
            held = list(self._held)
        self._member.beat(line, held)

    def _claim(self, line: Line, outbox: Outbox) -> None:
        """Take over what workers that died have left."""
        idle_ms, count = self._settings.claim_idle_ms, self._settings.max_batch
        sources = list(self._sources.values())
        answers = line.run(
            [call(CLAIM, [source.stream], GROUP, self.name, idle_ms, count) for source in sources]
        )
        for source, answer in zip(sources, answers, strict=True):
            if isinstance(answer, ResponseError):
                raise answer
            with self._changed:
                claimed = [each for each in answer if (source.stream, each[0]) not in self._held]
            if claimed:
                logger.warning("claimed", stream=source.stream, items=len(claimed))
                self._metrics.redeliveries.inc(len(claimed))
                self._accept(source, claimed, outbox)
        with self._changed:
            self._changed.notify_all()
        if outbox.commands:
            self._exchange(line, outbox, ())

    def _leave(self, line: Line) -> None:
        try:
            self._member.leave(line)
        except QueueAway:
            logger.warning("left_without_a_word", worker=self.name)
        line.close()

    def _note(self, error: QueueAway | None) -> None:
        """Log when Redis goes and when it is back."""
        if error is None and not self._away:
            return
        with self._changed:
            was, self._away = self._away, error is not None
        if error is None and was:
            logger.info("redis_back", worker=self.name)
        elif error is not None and not was:
            logger.error("redis_away", worker=self.name, reason=str(error.__cause__ or error))

    def _refused(self, event: str, error: ResponseError) -> None:
        """Log what Redis refuses; not that the streams are gone, because they are made again at once."""
        if not str(error).startswith(("NOGROUP", "UNBLOCKED the stream key no longer exists")):
            logger.error(event, worker=self.name, reason=str(error))
