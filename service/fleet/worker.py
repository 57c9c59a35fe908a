"""The worker: takes items from Redis, runs as many as its engines like, answers; alone or as one of many.

Each of its threads does all of that in turn: the answers of a batch and the search for the next one travel
together. A thread waits in Redis only while a batch could run at once, so that a lone item never waits for
company, nor for a busy worker; where more waits than that, a spare thread fetches ahead, so that the device
has no pause. An item is answered, acknowledged and deleted in one step; one whose worker died is claimed by
another after `claim_idle_ms`, runs alone then, and is buried after `max_deliveries`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import cache, partial

from redis.exceptions import ResponseError

from service.batching.batch import Ran, run_batch
from service.batching.batcher import Outputs
from service.batching.lanes import LANES
from service.errors import InternalError, QueueAway
from service.fleet.contact import Contact
from service.fleet.inbox import Inbox
from service.fleet.jobs import Job, Source
from service.fleet.line import Line
from service.fleet.lineup import Lineup, Look
from service.fleet.membership import Membership
from service.fleet.names import Names
from service.fleet.outbox import Outbox
from service.fleet.wire import Reply
from service.runtime.engine import STAGES, Arrays, Engine, Stage
from service.settings import Settings
from service.watch.logs import logger
from service.watch.metrics import About, Metrics

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
        sources = [
            Source.of(self._names, engine.manifest, stage, lane)
            for lane in LANES
            for engine in self._engines.values()
            for stage in STAGES
        ]
        self._member = Membership(
            self._names,
            {source.stream: source.model for source in sources},
            provider=",".join(sorted({engine.provider for engine in engines})),
            claim_idle_ms=settings.claim_idle_ms,
        )
        concurrency = max(engine.concurrency for engine in engines)
        self._lineup = Lineup(
            {model: engine.max_batch for model, engine in self._engines.items()}, concurrency
        )
        self._num_threads = concurrency + 1
        """One fetches while the others run."""
        self._inbox = Inbox(settings, sources, self._lineup, metrics, names=self._names, worker=self.name)
        self._contact = Contact(self.name)
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
        while not self._lineup.stopping and not self._contact.done(partial(self._join, line)):
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
                self._contact.done(partial(self._beat, line))
                if not self._lineup.stopping:
                    self._contact.done(partial(self._claim, line, outbox))
                if beats % SWEEP_BEATS == SWEEP_BEATS - 1:
                    self._contact.done(partial(self._member.sweep, line))
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
        count, reads = len(outbox.commands), [] if look is None else self._inbox.reads(look)
        try:
            answers = line.run([*outbox.commands, *(command for _, command in reads)])
        except QueueAway as error:
            self._contact.note(error)
            if time.monotonic() > outbox.ends:
                self._settle(outbox)
            time.sleep(RETRY_S)
            return
        self._contact.note(None)
        self._settle(outbox)
        said, found = answers[:count], answers[count:]
        for answer in said:
            if isinstance(answer, ResponseError):
                logger.error("answer_refused", worker=self.name, reason=str(answer))
        if refused := [answer for answer in found if isinstance(answer, ResponseError)]:
            self._contact.refused("read_refused", refused[0])
            time.sleep(RETRY_S)
            self._contact.done(partial(self._member.prepare, line))
        elif found:
            self._inbox.found(reads, found, outbox)

    def _settle(self, outbox: Outbox) -> None:
        self._lineup.settle(outbox.jobs)
        outbox.clear()

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
        self._inbox.claimed(line.run(self._inbox.claims()), outbox)
        if outbox.commands:
            self._exchange(line, outbox)

    def _leave(self, line: Line) -> None:
        try:
            self._member.leave(line)
        except QueueAway:
            logger.warning("left_without_a_word", worker=self.name)
        line.close()
