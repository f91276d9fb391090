"""The engine on transformers: one worker thread that decodes what waits when it gets free, every caller in turn.

So images that arrive one by one while others are being judged share the next batch, whoever sent them, and one image
doesn't wait for all of somebody's many.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from emofeedback.domain.assessment import Decoding
from emofeedback.domain.callers import Caller, calling
from emofeedback.judge.engines.base import Chat
from emofeedback.judge.engines.completion import Completion
from emofeedback.turns import Demand, Turns

_ENCODING_THREADS = 4
"""A picture of 512 pixels takes one some 20 ms."""
_LONG_REPLY = 64
"""Tokens from which on a reply is a text rather than a rating."""
_GATHERING_SECONDS = 0.02
"""How long a text waits for those that are asked for with it, as a round's are: begun alone, it would take them nearly
as long again as all of them take together."""

if TYPE_CHECKING:
    from emofeedback.judge.engines.qwen import EncodedChat, Qwen


@dataclass(frozen=True, eq=False)
class _Job:
    """One chat that waits for its reply, or for what the model has in mind of it."""

    chat: Chat
    decoding: Decoding | None
    """None: its states are asked for."""
    top_logprobs: bool
    caller: Caller
    reply: Future[Any] = field(default_factory=Future)
    """Of a `Completion`, or of states."""

    @property
    def new_tokens(self) -> int | None:
        return None if self.decoding is None else self.decoding.max_new_tokens

    @property
    def long(self) -> bool:
        return self.new_tokens is not None and self.new_tokens >= _LONG_REPLY

    def goes_with(self, other: _Job) -> bool:
        """Short replies don't wait for long ones to end, so they are decoded apart; and apart from states."""
        return self.new_tokens == other.new_tokens


class TransformersEngine:
    """A `VisionLanguageEngine` that batches, up to `max_batch` chats, the calls that wait together."""

    def __init__(self, qwen: Qwen, *, max_batch: int) -> None:
        self.own = qwen.own
        self._qwen = qwen
        self._max_batch = max_batch
        self._turns = Turns[Caller](max_batch)
        self._closing = False
        self._encoders = ThreadPoolExecutor(_ENCODING_THREADS, thread_name_prefix="encoder")
        self._inbox: queue.SimpleQueue[Sequence[_Job] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="judge", daemon=True)
        self._thread.start()

    async def complete(
        self, chats: Sequence[Chat], decoding: Decoding, *, top_logprobs: bool = False, pattern: str = ""
    ) -> list[Completion]:
        """See `VisionLanguageEngine`. A cancelled chat is dropped, or ends at its next token. No reply is held to a
        pattern."""
        return await self._done([_Job(chat, decoding, top_logprobs, calling()) for chat in chats])

    async def states(self, chats: Sequence[Chat]) -> list[NDArray[np.float32]]:
        """See `VisionLanguageEngine`. A cancelled chat that waits is dropped."""
        return await self._done([_Job(chat, None, False, calling()) for chat in chats])

    async def _done(self, jobs: Sequence[_Job]) -> list[Any]:
        self._inbox.put(jobs)
        try:
            return await asyncio.gather(*(asyncio.wrap_future(job.reply) for job in jobs))
        finally:
            for job in jobs:
                job.reply.cancel()

    def close(self) -> None:
        """See `VisionLanguageEngine`."""
        self._inbox.put(None)
        self._closing = True
        self._thread.join()
        self._encoders.shutdown()

    def _work(self) -> None:
        """The thread: batch after batch, until the engine is closed."""
        waiting: deque[_Job] = deque()
        while self._collect(waiting):
            self._answer(self._next_batch(waiting))
        for job in waiting:
            job.reply.cancel()

    def _collect(self, waiting: deque[_Job]) -> bool:
        """Adds what has come in, pausing only where nothing waits, or a moment where nothing but texts does; False once
        the engine is closed."""
        while True:
            try:
                jobs = self._inbox.get(timeout=self._patience(waiting))
            except queue.Empty:
                return True
            if jobs is None:
                return False
            waiting.extend(jobs)

    def _patience(self, waiting: Sequence[_Job]) -> float | None:
        """Seconds in which further jobs are awaited; None: until there is one."""
        if not waiting:
            return None
        return _GATHERING_SECONDS if len(waiting) < self._max_batch and all(job.long for job in waiting) else 0

    def _next_batch(self, waiting: deque[_Job]) -> list[_Job]:
        """Takes the job whose turn it is, and as many others that go with it as a batch holds, by turns."""
        calls: dict[Caller, list[_Job]] = {}
        for job in waiting:
            calls.setdefault(job.caller, []).append(job)
        due = self._turns.most_due([_demand(call, len(jobs)) for call, jobs in calls.items()])
        first = calls[due.call][0]
        matching = {call: [job for job in jobs if job.goes_with(first)] for call, jobs in calls.items()}
        demands = [_demand(call, len(jobs)) for call, jobs in matching.items()]
        given = self._turns.next(demands, _as_long_as_one)
        taken = {job for call, count in given.items() for job in matching[call][:count]}
        batch = [job for job in waiting if job in taken]
        for job in batch:
            waiting.remove(job)
        return batch

    def _answer(self, jobs: Sequence[_Job]) -> None:
        """Settles every job's reply; an error reaches those whom it concerns, and never ends the thread."""
        readable = []
        wanted = [job for job in jobs if not job.reply.cancelled()]
        for job, encoded in [(job, self._encoders.submit(self._qwen.encode, job.chat)) for job in wanted]:
            try:
                readable.append((job, encoded.result()))
            except Exception as error:
                _settle(job, error)
        if not readable:
            return
        batch, chats = zip(*readable, strict=True)
        try:
            outcomes = self._outcomes(batch, chats)
        except Exception as error:
            for job in batch:
                _settle(job, error)
        else:
            for job, outcome in zip(batch, outcomes, strict=True):
                _settle(job, outcome)

    def _outcomes(self, batch: Sequence[_Job], chats: Sequence[EncodedChat]) -> Sequence[Any]:
        """Of jobs that go together: their replies, or their states."""
        decodings = [job.decoding for job in batch if job.decoding is not None]
        if not decodings:
            # One by one: a picture is painted from these numbers, so their bits must not depend on company.
            return [self._qwen.states([chat])[0].numpy() for chat in chats]
        return self._qwen.generate(
            chats,
            decodings,
            top_logprobs=any(job.top_logprobs for job in batch),
            wanted=lambda row: not (self._closing or batch[row].reply.cancelled()),
        )


def _demand(call: Caller, jobs: int) -> Demand[Caller]:
    return Demand(call=call, caller=call.name, priority=call.priority or "interactive", samples=jobs, steps=1)


def _as_long_as_one(jobs: int) -> float:
    """What a batch takes: places that are left are always filled, since a reply can't be put aside for another."""
    return 1.0


def _settle(job: _Job, outcome: Any) -> None:
    """Hands a job's outcome over, or the exception that was its end, unless its caller is gone."""
    if not job.reply.set_running_or_notify_cancel():
        return
    if isinstance(outcome, Exception):
        job.reply.set_exception(outcome)
    else:
        job.reply.set_result(outcome)
