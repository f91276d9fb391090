"""Whatever anybody sends, to any RPC: it is the caller's error, and the services go on."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import psutil
import pytest

from emofeedback.domain.assessment import AssessmentOutcome
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.questions import AnswerOutcome, DescriptionOutcome, Pictures, Question
from emofeedback.domain.reasoning import EmotionTokens, Imagination
from emofeedback.generator.servicer import GeneratorServicer
from emofeedback.judge.images import read_image
from emofeedback.judge.servicer import JudgeServicer
from emofeedback.optimizer.servicer import PromptOptimizerServicer
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback.rpc.gate import APPLICATIONS, Gate
from emofeedback.v1 import generator_pb2_grpc, judge_pb2_grpc, optimizer_pb2_grpc, trainer_pb2_grpc
from emofeedback_trainer.service.servicer import TrainerServicer
from emofeedback_trainer.service.store import RunStore
from emofeedback_trainer.service.supervisor import Supervisor
from support.fakes import ScriptedGenerator, ScriptedJudge, paint
from support.mutations import damaged, message, rpcs
from support.scripted_training import processes

SEEN = paint("a park", 1)
AT_ONCE = 16
SECONDS = 10.0
"""A call that hasn't ended by then never would."""
ALLOWED = {
    grpc.StatusCode[name]
    for name in ("OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED", "CANCELLED")
}


class Onlooker(ScriptedJudge):
    """Decodes every picture as the judge does, sees the same in each, and remembers nothing."""

    async def _begin(self, method: str) -> None:
        logs = (self.calls, self.conversations, self.decodings, self.compared, self.users, self.ways, self.subjects)
        for log in (*logs, self.questions, self.shown):
            log.clear()

    def _outcome(self, image: bytes, aloud: bool) -> AssessmentOutcome:
        read_image(image, field="image")
        return super()._outcome(SEEN, aloud)

    async def reason(self, subject: bytes | Imagination, *, variations: int = 0) -> EmotionTokens:
        if isinstance(subject, bytes):
            read_image(subject, field="image")
        return await super().reason(subject, variations=variations)

    async def ask(self, questions: Sequence[Question]) -> list[AnswerOutcome]:
        _ = [read_image(image, field="image") for question in questions for image in question.images]
        seen = [replace(question, images=(SEEN,) * len(question.images)) for question in questions]
        return await super().ask(seen)

    async def describe(self, pictures: Sequence[Pictures]) -> list[DescriptionOutcome]:
        _ = [read_image(image, field="image") for images in pictures for image in images]
        return await super().describe([(SEEN,) * len(images) for images in pictures])

    async def score(self, images: Sequence[bytes], prompt: str) -> list[float]:
        return [0.5 for i, image in enumerate(images) if read_image(image, field=f"images[{i}]")]


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[grpc.aio.Channel]:
    """All four services behind their gate; engines that answer at once, runs that wait for ever."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", LIMITS.message_bytes)])
    Gate("").stand_before(server)
    generator, judge = ScriptedGenerator(), Onlooker()
    optimizer = PromptOptimizerServicer(generator, judge, NANO_PROFILE.optimizer, None)
    trainer = TrainerServicer(Supervisor(RunStore(folder), processes()), None)
    generator_pb2_grpc.add_GeneratorServiceServicer_to_server(GeneratorServicer(generator, None), server)  # type: ignore[arg-type]
    judge_pb2_grpc.add_JudgeServiceServicer_to_server(JudgeServicer(judge, None), server)  # type: ignore[arg-type]
    optimizer_pb2_grpc.add_PromptOptimizerServiceServicer_to_server(optimizer, server)  # type: ignore[arg-type]
    trainer_pb2_grpc.add_TrainerServiceServicer_to_server(trainer, server)  # type: ignore[arg-type]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        await server.stop(None)


async def code_of(channel: grpc.aio.Channel, path: str, data: bytes) -> grpc.StatusCode:
    """How a call with one message ends. All are made as streams both ways, which on the wire is the same."""
    application = APPLICATIONS.get(path.strip("/").partition("/")[0], "")
    call = channel.stream_stream(path, None, None)(iter([data]), metadata=[("application", application)])
    try:
        async for _ in call:
            pass
        return grpc.StatusCode.OK
    except grpc.aio.AioRpcError as error:
        return error.code()


async def told(folder: Path, count: int) -> Counter[grpc.StatusCode]:
    """How so many calls end, to every RPC in turn: a third with valid bytes, the others after accidents."""
    chance, codes, slowest = random.Random(7), Counter[grpc.StatusCode](), 0.0
    everything = list(rpcs())
    async with served(folder) as channel:

        async def call(number: int) -> None:
            nonlocal slowest
            path, kind, _ = everything[number % len(everything)]
            data = message(kind, chance).SerializeToString()
            data = data if number % 3 == 0 else damaged(data, chance)
            began = time.monotonic()
            code = await asyncio.wait_for(code_of(channel, path, data), SECONDS)
            slowest = max(slowest, time.monotonic() - began)
            assert code in ALLOWED, f"{path} answers {code} to {data!r}"
            codes[code] += 1

        for first in range(0, count, AT_ONCE):
            await asyncio.gather(*map(call, range(first, min(first + AT_ONCE, count))))
    print(f"{count} messages: {dict(codes)}, the slowest took {slowest:.2f} s")
    return codes


async def test_a_few_hundred_accidents_are_the_caller_s_errors(tmp_path: Path) -> None:
    codes = await told(tmp_path, 400)
    assert codes[grpc.StatusCode.INVALID_ARGUMENT] > 100


@pytest.mark.chaos
async def test_a_million_accidents_are_the_caller_s_errors_and_leave_nothing_behind(tmp_path: Path) -> None:
    process = psutil.Process()
    await told(tmp_path / "warm", 2_000)
    before = process.memory_info().rss
    await told(tmp_path / "all", 1_000_000)
    grown = (process.memory_info().rss - before) / 2**20
    print(f"memory: {grown:+.0f} MiB")
    assert grown < 200
