"""How a judge is asked about pictures in somebody's own words, and to describe them: prompts, an engine, readers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import TypeVar

from emofeedback.concurrency import as_completed, both
from emofeedback.domain.assessment import Conversation, Decoding
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.questions import (
    AnswerOutcome,
    DescriptionOutcome,
    Pictures,
    Question,
    ReplyFailure,
)
from emofeedback.domain.validation import check_descriptions, check_pictures, check_question, check_questions
from emofeedback.judge.answers import parse_answer, parse_choice, parse_description
from emofeedback.judge.certainty import Certainty
from emofeedback.judge.chats import Chats
from emofeedback.judge.domain import worth
from emofeedback.judge.engines.base import pictures
from emofeedback.judge.engines.completion import Completion
from emofeedback.judge.prompts import description_conversation, question_conversation
from emofeedback.observability.metrics import PARSE_FAILURES, REPLIES

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class Questions:
    """Answers and describes by a judge's chats."""

    def __init__(self, chats: Chats, decoding: Decoding, certainty: Certainty) -> None:
        """`decoding` is that of replies, which are prose or begin with thoughts."""
        self._chats = chats
        self._replying = decoding
        self._certainty = certainty

    async def ask(self, questions: Sequence[Question]) -> list[AnswerOutcome]:
        """See `Judge`."""
        check_questions(questions)
        with _named("questions"):
            return await self._answers({f"questions[{i}]": question for i, question in enumerate(questions)})

    async def ask_stream(
        self, questions: AsyncIterator[tuple[int, Question]]
    ) -> AsyncGenerator[tuple[int, AnswerOutcome], None]:
        """See `Judge`. A bad question, named by its key, ends the stream."""

        async def answer(key: int, question: Question) -> AnswerOutcome:
            field = f"questions[{key}]"
            check_question(field, question)
            with _named(field):
                [outcome] = await self._answers({field: question})
            return outcome

        async with aclosing(_as_ready(questions, answer)) as outcomes:
            async for outcome in outcomes:
                yield outcome

    async def describe(self, shown: Sequence[Pictures]) -> list[DescriptionOutcome]:
        """See `Judge`."""
        check_descriptions(shown)
        with _named("pictures"):
            return await self._descriptions({f"pictures[{i}]": images for i, images in enumerate(shown)})

    async def describe_stream(
        self, shown: AsyncIterator[tuple[int, Pictures]]
    ) -> AsyncGenerator[tuple[int, DescriptionOutcome], None]:
        """See `Judge`. Bad pictures, named by their key, end the stream."""

        async def describe(key: int, images: Pictures) -> DescriptionOutcome:
            field = f"pictures[{key}]"
            check_pictures(field, images)
            with _named(field):
                [outcome] = await self._descriptions({field: images})
            return outcome

        async with aclosing(_as_ready(shown, describe)) as outcomes:
            async for outcome in outcomes:
                yield outcome

    async def _answers(self, questions: Mapping[str, Question]) -> list[AnswerOutcome]:
        """Of questions under the names of their fields; those with options apart, by their probabilities."""
        conversations = {
            field: question_conversation(asked.images, asked.text, asked.options) for field, asked in questions.items()
        }
        closed, open_ = (
            {field: talk for field, talk in conversations.items() if bool(questions[field].options) is has_options}
            for has_options in (True, False)
        )
        chosen, said = await both(
            self._replies("choice", closed, self._replying, top_logprobs=True),
            self._replies("answer", open_, self._replying),
        )
        choices = {field: self._choice(r, questions[field].options) for field, r in chosen.items()}
        answers = {field: _weighed(parse_answer(r), r) for field, r in said.items()}
        _count("choice", choices.values())
        _count("answer", answers.values())
        return [(choices | answers)[field] for field in questions]

    def _choice(self, reply: Completion, options: Sequence[str]) -> AnswerOutcome:
        return _weighed(parse_choice(reply, options, self._certainty.choice_temperature), reply, len(options))

    async def _descriptions(self, shown: Mapping[str, Pictures]) -> list[DescriptionOutcome]:
        """Of pictures under the names of their fields."""
        conversations = {field: description_conversation(images) for field, images in shown.items()}
        replies = await self._replies("description", conversations, self._replying)
        outcomes = [_described(reply) for reply in replies.values()]
        _count("description", outcomes)
        return outcomes

    async def _replies(
        self, kind: str, conversations: Mapping[str, Conversation], decoding: Decoding, *, top_logprobs: bool = False
    ) -> dict[str, Completion]:
        """Replies to conversations, each under the name of the field whose `images` it holds."""
        if not conversations:
            return {}
        chats = [
            await self._chats.prepared(talk, [f"{field}.images[{i}]" for i in range(len(pictures(talk)))])
            for field, talk in conversations.items()
        ]
        replies = await self._chats.complete(kind, chats, decoding, top_logprobs=top_logprobs)
        return dict(zip(conversations, replies, strict=True))


def _weighed(outcome: AnswerOutcome, reply: Completion, options: int = 1) -> AnswerOutcome:
    """With its domain score, and its confidence at what that is then worth: at worst a guess among the options."""
    if isinstance(outcome, ReplyFailure) or reply.surprise is None:
        return outcome
    confidence = outcome.confidence
    worn = None if confidence is None else worth(confidence, reply.surprise, 1 / options)
    return replace(outcome, domain_score=reply.surprise, confidence=worn)


def _described(reply: Completion) -> DescriptionOutcome:
    outcome = parse_description(reply)
    return outcome if isinstance(outcome, ReplyFailure) else replace(outcome, domain_score=reply.surprise)


def _count(kind: str, outcomes: Collection[AnswerOutcome | DescriptionOutcome]) -> None:
    REPLIES.record(len(outcomes), kind=kind)
    PARSE_FAILURES.record(sum(isinstance(outcome, ReplyFailure) for outcome in outcomes), kind=kind)


@contextmanager
def _named(field: str) -> Iterator[None]:
    """An engine sees conversations: what it refuses as one is the caller's question."""
    try:
        yield
    except InvalidRequest as error:
        [first, *_] = error.violations
        if first.field != "conversations":
            raise
        raise InvalidRequest.of(field, f"is too long for the model: {first.problem}") from error


async def _as_ready(
    items: AsyncIterator[tuple[int, Item]], work: Callable[[int, Item], Awaitable[Outcome]]
) -> AsyncGenerator[tuple[int, Outcome], None]:
    """The outcome of each item under its key, in the order in which they are ready."""

    async def one(keyed: tuple[int, Item]) -> tuple[int, Outcome]:
        return keyed[0], await work(*keyed)

    async with aclosing(as_completed(items, one, limit=LIMITS.questions_per_call)) as outcomes:
        async for outcome in outcomes:
            yield outcome
