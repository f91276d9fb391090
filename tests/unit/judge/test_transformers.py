"""How calls share the worker thread: batches, cancellation, failures."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from emofeedback.domain.assessment import Decoding
from emofeedback.domain.callers import Caller, called_by
from emofeedback.domain.errors import InvalidRequest
from emofeedback.judge.engines.base import Chat, OwnTokens
from emofeedback.judge.engines.completion import Completion
from emofeedback.judge.engines.qwen import Qwen
from emofeedback.judge.engines.transformers import TransformersEngine

SHORT = Decoding(max_new_tokens=12)
LONG = Decoding(max_new_tokens=200)


def chat(name: str) -> Chat:
    return Chat(({"role": "user", "content": name},), ())


class ScriptedQwen:
    """Echoes chats, a batch at a time and only when the test lets it; their states are their lengths."""

    own = OwnTokens(reasons=(1, 2))

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.begun = threading.Semaphore(0)
        self.allowed = threading.Semaphore(0)
        self.stopped: list[bool] = []

    def encode(self, chat: Chat) -> str:
        name: str = chat.messages[0]["content"]
        if name == "too long":
            raise InvalidRequest.of("conversations", "too long")
        return name

    def generate(
        self, chats: Sequence[str], decodings: Sequence[Decoding], *, top_logprobs: bool, wanted: Callable[[int], bool]
    ) -> list[Completion]:
        self.batches.append(list(chats))
        self.begun.release()
        assert self.allowed.acquire(timeout=60)
        self.stopped = [not wanted(row) for row in range(len(chats))]
        if "broken" in chats:
            raise RuntimeError("out of memory")
        return [Completion(name, (), True) for name in chats]

    def states(self, chats: Sequence[str]) -> torch.Tensor:
        self.batches.append([f"states of {name}" for name in chats])
        self.begun.release()
        assert self.allowed.acquire(timeout=60)
        return torch.tensor([[[float(len(name))]] * 2 for name in chats])


@pytest.fixture
def qwen() -> ScriptedQwen:
    return ScriptedQwen()


@pytest.fixture
def engine(qwen: ScriptedQwen) -> Iterator[TransformersEngine]:
    engine = TransformersEngine(cast(Qwen, qwen), max_batch=3)
    yield engine
    qwen.allowed.release(100)
    engine.close()


def ask(engine: TransformersEngine, *names: str, decoding: Decoding = SHORT) -> asyncio.Task[list[Completion]]:
    return asyncio.create_task(engine.complete([chat(name) for name in names], decoding))


def think(engine: TransformersEngine, *names: str) -> asyncio.Task[list[NDArray[np.float32]]]:
    return asyncio.create_task(engine.states([chat(name) for name in names]))


async def begun(qwen: ScriptedQwen) -> None:
    """Waits until the next batch is being decoded."""
    assert await asyncio.to_thread(qwen.begun.acquire, True, 60)


async def test_the_replies_come_in_the_order_of_the_chats(engine: TransformersEngine, qwen: ScriptedQwen) -> None:
    qwen.allowed.release(3)
    names = list("abcdefg")
    assert [reply.text for reply in await ask(engine, *names)] == names
    assert qwen.batches == [["a", "b", "c"], ["d", "e", "f"], ["g"]]


async def test_calls_that_wait_while_one_is_decoded_share_the_next_batch(
    engine: TransformersEngine, qwen: ScriptedQwen
) -> None:
    first = ask(engine, "a")
    await begun(qwen)
    others = [ask(engine, name) for name in "bcd"]
    await asyncio.sleep(0.01)
    qwen.allowed.release(3)
    await asyncio.gather(first, *others)
    assert qwen.batches == [["a"], ["b", "c", "d"]]


async def test_one_chat_does_not_wait_for_all_of_somebody_s_many(
    engine: TransformersEngine, qwen: ScriptedQwen
) -> None:
    def asked_by(call: str, *names: str) -> asyncio.Task[list[Completion]]:
        called_by(Caller(name=call, call=call))
        return ask(engine, *names)

    many = asked_by("many", *"abcdefghi")
    await begun(qwen)
    one = asked_by("one", "z")
    streamed = [asked_by("stream", name) for name in "xyw"]
    await asyncio.sleep(0.01)
    qwen.allowed.release(9)
    await asyncio.gather(many, one, *streamed)
    assert "z" in qwen.batches[1] and "x" in qwen.batches[1]
    assert [name for batch in qwen.batches for name in batch if name in "abcdefghi"] == list("abcdefghi")


async def test_short_replies_are_not_decoded_with_long_ones(engine: TransformersEngine, qwen: ScriptedQwen) -> None:
    first = ask(engine, "a")
    await begun(qwen)
    others = [ask(engine, "b", decoding=LONG), ask(engine, "c"), ask(engine, "d", decoding=LONG)]
    await asyncio.sleep(0.01)
    qwen.allowed.release(3)
    await asyncio.gather(first, *others)
    assert qwen.batches == [["a"], ["b", "d"], ["c"]]


async def test_texts_that_are_asked_for_together_are_decoded_together(
    engine: TransformersEngine, qwen: ScriptedQwen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emofeedback.judge.engines.transformers._GATHERING_SECONDS", 60)  # until the batch is full
    qwen.allowed.release()
    await asyncio.gather(*(ask(engine, name, decoding=LONG) for name in "abc"))
    assert qwen.batches == [["a", "b", "c"]]


async def test_a_rating_waits_for_no_others(
    engine: TransformersEngine, qwen: ScriptedQwen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emofeedback.judge.engines.transformers._GATHERING_SECONDS", 120)
    qwen.allowed.release(2)
    await asyncio.gather(ask(engine, "a", decoding=LONG), ask(engine, "b"))
    assert qwen.batches == [["a"], ["b"]]


async def test_states_are_made_one_by_one_and_apart_from_replies(
    engine: TransformersEngine, qwen: ScriptedQwen
) -> None:
    """In company their last bits would be others, and a picture that was painted from them could not be made again."""
    first = ask(engine, "a")
    await begun(qwen)
    states, reply, others = think(engine, "bb", "ccc"), ask(engine, "d"), think(engine, "eeee")
    await asyncio.sleep(0.01)
    qwen.allowed.release(5)
    await asyncio.gather(first, states, reply, others)
    assert qwen.batches == [["a"], ["states of bb"], ["states of ccc"], ["states of eeee"], ["d"]]
    assert [one.tolist() for one in [*states.result(), *others.result()]] == [[[n], [n]] for n in (2, 3, 4)]
    assert [one.text for one in reply.result()] == ["d"]


async def test_states_that_nobody_waits_for_any_more_are_never_made(
    engine: TransformersEngine, qwen: ScriptedQwen
) -> None:
    first = ask(engine, "a")
    await begun(qwen)
    unwanted, unreadable, wanted = think(engine, "b"), think(engine, "too long"), think(engine, "c")
    await asyncio.sleep(0.01)
    unwanted.cancel()
    await asyncio.wait([unwanted])
    qwen.allowed.release(2)
    await asyncio.gather(first, wanted)
    assert qwen.batches == [["a"], ["states of c"]]
    with pytest.raises(InvalidRequest, match="too long"):
        await unreadable


async def test_a_cancelled_call_is_never_decoded(engine: TransformersEngine, qwen: ScriptedQwen) -> None:
    first = ask(engine, "a")
    await begun(qwen)
    unwanted, wanted = ask(engine, "b"), ask(engine, "c")
    await asyncio.sleep(0.01)
    unwanted.cancel()
    await asyncio.wait([unwanted])
    qwen.allowed.release(2)
    await asyncio.gather(first, wanted)
    assert qwen.batches == [["a"], ["c"]]


async def test_a_call_cancelled_while_it_is_decoded_stops_at_its_next_token(
    engine: TransformersEngine, qwen: ScriptedQwen
) -> None:
    first = ask(engine, "a")
    await begun(qwen)
    unwanted, wanted = ask(engine, "b"), ask(engine, "c")
    await asyncio.sleep(0.01)
    qwen.allowed.release()
    await first
    await begun(qwen)
    unwanted.cancel()
    await asyncio.wait([unwanted])
    qwen.allowed.release()
    assert [reply.text for reply in await wanted] == ["c"]
    assert qwen.stopped == [True, False]


async def test_the_chats_of_a_batch_are_encoded_side_by_side(
    engine: TransformersEngine, qwen: ScriptedQwen, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(3)

    def encode(chat: Chat) -> str:
        together.wait(timeout=60)
        return str(chat.messages[0]["content"])

    monkeypatch.setattr(qwen, "encode", encode)
    asked = ask(engine, "one", "two", "three")
    await begun(qwen)
    qwen.allowed.release()
    assert [reply.text for reply in await asked] == ["one", "two", "three"]


async def test_a_failed_batch_fails_its_calls_and_the_next_one_works(
    engine: TransformersEngine, qwen: ScriptedQwen
) -> None:
    qwen.allowed.release(2)
    with pytest.raises(RuntimeError, match="out of memory"):
        await ask(engine, "broken")
    assert [reply.text for reply in await ask(engine, "a")] == ["a"]


async def test_a_chat_that_the_model_cant_read_fails_its_own_call_only(
    engine: TransformersEngine, qwen: ScriptedQwen
) -> None:
    first = ask(engine, "a")
    await begun(qwen)
    unreadable, readable = ask(engine, "too long"), ask(engine, "b")
    await asyncio.sleep(0.01)
    qwen.allowed.release(2)
    with pytest.raises(InvalidRequest, match="too long"):
        await unreadable
    assert [reply.text for reply in await readable] == ["b"]
    await first


async def test_closing_ends_the_thread_and_cancels_what_waits(qwen: ScriptedQwen) -> None:
    engine = TransformersEngine(cast(Qwen, qwen), max_batch=1)
    running, waiting = ask(engine, "a"), ask(engine, "b")
    await begun(qwen)
    closing = asyncio.create_task(asyncio.to_thread(engine.close))
    while not engine._closing:
        await asyncio.sleep(0.01)
    qwen.allowed.release()
    await asyncio.wait([closing, running, waiting], timeout=60)
    assert waiting.cancelled()
    assert qwen.stopped == [True]
    assert qwen.batches == [["a"]]
    assert not engine._thread.is_alive()
