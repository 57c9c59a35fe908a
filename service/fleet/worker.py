"""The worker: takes items from Redis, runs as many as its engines like, answers; alone or as one of many.

Each of its threads does all of that in turn: the answers of a batch and the search for the next one travel
together. A thread waits in Redis only while a batch could run at once, so that a lone item never waits for
company, nor for a busy worker; where more waits than that, a spare thread fetches ahead, so that the device
has no pause. An item is answered, acknowledged and deleted in one step; one whose worker died is claimed by
another after `claim_idle_ms`, runs alone then, and is buried after `max_deliveries`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import cache, partial
from threading import Lock
from typing import Any

from redis.exceptions import ResponseError

from service.batching.batch import Ran, run_batch
from service.batching.batcher import Outputs
from service.batching.lanes import LANES, Lane
from service.batching.layout import Malformed
from service.errors import InternalError, ItemBuried, QueueAway
from service.fleet.jobs import Job, Source
from service.fleet.line import Line
from service.fleet.lineup import Lineup, Look
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
        concurrency = max(engine.concurrency for engine in engines)
        self._lanes = {lane: [each.stream for each in sources if each.lane == lane] for lane in LANES}
        self._lineup = Lineup(
            {model: engine.max_batch for model, engine in self._engines.items()}, concurrency
        )
        self._num_threads = concurrency + 1
        """One fetches while the others run."""
        self._away, self._noting = False, Lock()
        for model, engine in self._engines.items():
            for stage in STAGES:
                depth = metrics.queue_depth.labels(engine.manifest.name, stage)
                depth.set_function(self._lineup.waiting(model, stage))

    @property
    def name(self) -> str:
        """Its name among the consumers."""
        return self._member.name

    def stop(self) -> None:
        """Take nothing more, finish what was taken, end."""
        self._lineup.stop()

    def run(self) -> None:
        """Work until `stop`, whatever happens to Redis meanwhile.

        What nobody foresaw ends the worker and is raised: others take its items.
        """
        line, outbox = Line(self._settings), Outbox(self._names, self._metrics)
        while not self._lineup.stopping and not self._do(partial(self._join, line)):
            time.sleep(RETRY_S)
        every_s, beats = self._settings.claim_idle_ms / 3000, 0
        with ThreadPoolExecutor(self._num_threads, thread_name_prefix="engine") as threads:
            working = {threads.submit(self._work) for _ in range(self._num_threads)}
            logger.info("worker_ready", worker=self.name, models=sorted(self._engines))
            failed = None
            while working:
                done, working = wait(working, every_s, FIRST_EXCEPTION)
                failed = next((error for each in done if (error := each.exception())), failed)
                if failed is not None:
                    self.stop()
                self._do(partial(self._beat, line))
                if not self._lineup.stopping:
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
            if jobs := self._lineup.take(partial(self._awaited, outbox)):
                self._run(jobs, outbox)
            if look := self._lineup.look():
                try:
                    self._exchange(line, outbox, look)
                finally:
                    self._lineup.looked()
            elif outbox.commands:
                self._exchange(line, outbox)
            elif not jobs and not self._lineup.rest():
                line.close()
                return

    # What comes in, and goes out

    def _exchange(self, line: Line, outbox: Outbox, look: Look | None = None) -> None:
        """Say what there is to say, and take what waits.

        What Redis has not heard stays in the outbox until it has, or nobody waits any more.
        """
        count, reads = len(outbox.commands), () if look is None else self._reads(look)
        try:
            answers = line.run([*outbox.commands, *(command for _, command in reads)])
        except QueueAway as error:
            self._note(error)
            if time.monotonic() > outbox.ends:
                self._settle(outbox)
            time.sleep(RETRY_S)
            return
        self._note(None)
        self._settle(outbox)
        said, found = answers[:count], answers[count:]
        for answer in said:
            if isinstance(answer, ResponseError):
                logger.error("answer_refused", worker=self.name, reason=str(answer))
        if refused := [answer for answer in found if isinstance(answer, ResponseError)]:
            self._refused("read_refused", refused[0])
            time.sleep(RETRY_S)
            self._do(partial(self._member.prepare, line))
        elif found:
            self._found([(most, answer) for (most, _), answer in zip(reads, found, strict=True)], outbox)

    def _reads(self, look: Look) -> list[tuple[int, Command]]:
        """Commands that take items, and how many at most of each stream."""
        if look.wait:
            streams = [*self._lanes["small"], *self._lanes["bulk"]]
            return [(look.small, self._read(look.small, streams, "BLOCK", BLOCK_MS))]
        counts: dict[Lane, int] = {"small": look.small, "bulk": look.bulk}
        return [(most, self._read(most, self._lanes[lane])) for lane, most in counts.items() if most]

    def _read(self, count: int, streams: Sequence[str], *options: str | int) -> Command:
        command = ("XREADGROUP", "GROUP", GROUP, self.name, "COUNT", count, *options)
        return (*command, "STREAMS", *streams, *[">"] * len(streams))

    def _settle(self, outbox: Outbox) -> None:
        self._lineup.settle(outbox.jobs)
        outbox.clear()

    def _found(self, found: Sequence[tuple[int, Any]], outbox: Outbox) -> None:
        """Put what a look has found in line."""
        small, more = 0, False
        for most, answer in found:
            for stream, entries in answer or ():
                source = self._sources[stream]
                self._accept(source, ((entry, parts, 1) for entry, parts in entries), outbox)
                more |= len(entries) >= most
                small += len(entries) if source.lane == "small" else 0
        self._lineup.found(small=small, more=more)

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
            self._lineup.put(Job(source, entry, request, item), suspect=deliveries > 1)

    # What is run

    def _awaited(self, outbox: Outbox, job: Job) -> bool:
        """Whether the item's time has not passed; else it is dropped."""
        if 1000 * self._member.clock.at(time.monotonic()) <= job.written_ms + job.request.ttl_ms:
            return True
        outbox.drop(job)
        return False

    def _run(self, jobs: list[Job], outbox: Outbox) -> None:
        source = jobs[0].source
        engine = self._engines[source.model]

        def run(stage: Stage, arrays: Arrays, outputs: Outputs) -> Arrays:
            return engine.run(stage, arrays, outputs, crowded=self._lineup.is_crowded)

        try:
            ran = run_batch(run, source.stage, jobs, model=engine.manifest.name)
        finally:
            self._lineup.ran(jobs)
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
        self._member.beat(line, self._lineup.held())

    def _claim(self, line: Line, outbox: Outbox) -> None:
        """Take over what workers that died have left."""
        idle_ms, count = self._settings.claim_idle_ms, self._settings.max_batch
        sources = list(self._sources.values())
        answers = line.run(
            [call(CLAIM, [source.stream], GROUP, self.name, idle_ms, count) for source in sources]
        )
        held = set(self._lineup.held())
        for source, answer in zip(sources, answers, strict=True):
            if isinstance(answer, ResponseError):
                raise answer
            claimed = [each for each in answer if (source.stream, each[0]) not in held]
            if claimed:
                logger.warning("claimed", stream=source.stream, items=len(claimed))
                self._metrics.redeliveries.inc(len(claimed))
                self._accept(source, claimed, outbox)
        if outbox.commands:
            self._exchange(line, outbox)

    def _leave(self, line: Line) -> None:
        try:
            self._member.leave(line)
        except QueueAway:
            logger.warning("left_without_a_word", worker=self.name)
        line.close()

    def _note(self, error: QueueAway | None) -> None:
        """Log when Redis goes and when it is back."""
        if (error is not None) == self._away:
            return
        with self._noting:
            was, self._away = self._away, error is not None
        if error is None and was:
            logger.info("redis_back", worker=self.name)
        elif error is not None and not was:
            logger.error("redis_away", worker=self.name, reason=str(error.__cause__ or error))

    def _refused(self, event: str, error: ResponseError) -> None:
        """Log what Redis refuses; not that the streams are gone, because they are made again at once."""
        if not str(error).startswith(("NOGROUP", "UNBLOCKED the stream key no longer exists")):
            logger.error(event, worker=self.name, reason=str(error))
