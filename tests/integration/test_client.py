"""The SDK against services that fail on order: both clients behave alike."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import grpc
import pytest

from emofeedback import AffectPoint, AsyncClient, Client, RetryPolicy
from emofeedback.domain.assessment import Assessment, Decoding, Message
from emofeedback.domain.errors import (
    EmoFeedbackError,
    FailedPrecondition,
    InternalError,
    InvalidRequest,
    MessageTooLarge,
    NotFound,
    NothingAnswers,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from emofeedback.domain.generation import GeneratedImage, GenerationQueued, GenerationRequest, GroupStarted, Trajectory
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.optimization import (
    GradientRequest,
    LossRequest,
    OptimizationFinished,
    RoundFinished,
    RoundStarted,
    UpdateRequest,
)
from emofeedback.domain.questions import Description, Question, ReplyFailure
from emofeedback.domain.reasoning import Imagination, Reasoning
from support.fakes import (
    GENERATOR_MODEL,
    JUDGE_MODEL,
    UNREADABLE,
    ScriptedGenerator,
    ScriptedJudge,
    arbitrary_feeling,
    look,
    paint,
)
from support.scripted_services import GROUP, PAINTING, QUICK, RUN, Fault, Services, arriving, collect, serving

# --- what it can do ----------------------------------------------------------------------------------------------


async def test_every_image_arrives_with_its_bytes_and_model(services: Services, connect: Any) -> None:
    events = await collect(connect(services.address).generator.generate(PAINTING))
    assert events[0] == GenerationQueued(images_ahead=0)
    images = [event for event in events if isinstance(event, GeneratedImage)]
    assert [(image.index, image.seed, look(image.data).seed) for image in images] == [(0, 1, 1), (1, 2, 2), (2, 3, 3)]
    assert {image.model for image in images} == {GENERATOR_MODEL}


async def test_trajectories_arrive_as_they_were_sampled(services: Services, connect: Any) -> None:
    request = replace(GROUP, guidance=2.0)
    events = await collect(connect(services.address).generator.sample_trajectories(request))
    assert events == await collect(ScriptedGenerator().sample_trajectories(request))
    assert [type(event) for event in events] == [GenerationQueued, GroupStarted] + [Trajectory] * 3


async def test_the_generator_names_its_model_and_its_policies(connect: Any) -> None:
    scripted = Services(generator=ScriptedGenerator(known_policies=("warm", "cold")))
    async with serving(scripted):
        client = connect(scripted.address)
        assert await client.generator.model() == GENERATOR_MODEL
        assert tuple(await client.generator.policies()) == ("warm", "cold")


async def test_the_judge_answers_as_it_does_in_process(services: Services, connect: Any) -> None:
    judge = connect(services.address).judge
    pictures = [paint("a harbor", seed) for seed in range(3)]
    conversation = (Message(role="user", parts=(pictures[0], "why?")),)
    local = ScriptedJudge()
    ways: tuple[bool | Reasoning, ...] = (False, True, "none", "latent", "aloud")
    for way in ways:
        assert await judge.assess(pictures, reasoning=way) == await local.assess(pictures, reasoning=way)
    assert services.judge.ways == local.ways
    harbor = Imagination(prompt="a harbor", target=AffectPoint(7, 3))
    assert await judge.reason(harbor, variations=2) == await local.reason(harbor, variations=2)
    assert await judge.reason(pictures[0]) == await local.reason(pictures[0])
    assert services.judge.subjects == local.subjects
    assert await judge.score(pictures, "a harbor") == await local.score(pictures, "a harbor")
    assert await judge.compare_texts("a", ["b", "c"]) == await local.compare_texts("a", ["b", "c"])
    assert await judge.converse([conversation], Decoding()) == await local.converse([conversation], Decoding())
    assert await judge.model() == JUDGE_MODEL


ASKED = [
    Question(images=(paint("a harbor", 1), paint("a fox", 2)), text="Which is calmer?", options=("first", "second")),
    Question(images=(paint("a boat", 3),), text="What is it?"),
]


async def test_questions_and_pictures_to_describe_arrive_as_they_were_asked(services: Services, connect: Any) -> None:
    client, local = connect(services.address), ScriptedJudge()
    pictures = [question.images for question in ASKED]
    assert await client.judge.ask(ASKED) == await local.ask(ASKED)
    assert await client.judge.describe(pictures) == await local.describe(pictures)
    assert services.judge.questions == ASKED and services.judge.shown == pictures
    answers = dict(await collect(client.judge.ask_stream(arriving(ASKED))))
    assert answers == dict(enumerate(await local.ask(ASKED)))
    descriptions = dict(await collect(client.judge.describe_stream(arriving(pictures))))
    assert descriptions == dict(enumerate(await local.describe(pictures)))


async def test_failures_and_domain_scores_come_through(connect: Any) -> None:
    failed = ReplyFailure(reason="the reply is none of the options")
    foreign = Description(text="Noise.", domain_score=3.5)
    judge = ScriptedJudge(answers=lambda question: failed, descriptions=lambda pictures: foreign)
    async with serving(Services(judge=judge)) as running:
        client = connect(running.address)
        assert await client.judge.ask(ASKED) == [failed, failed]
        [description] = await client.judge.describe([ASKED[0].images])
    assert description == foreign and description.in_domain is False


async def test_one_question_needs_no_list(services: Services, connect: Any) -> None:
    client, (harbor, fox) = connect(services.address), ASKED[0].images
    assert (await client.ask(harbor, "What is it?")).text == "a harbor"
    assert (await client.ask([harbor, fox], "Which?", ["first", "second"])).option == 1
    assert (await client.describe(harbor)).text == "a harbor"
    assert (await client.describe([harbor, fox])).text == "a harbor and then a fox"
    with pytest.raises(InvalidRequest, match=r"^options: is empty, 2 to 10 are needed; leave it out for an answer"):
        await client.ask(harbor, "Which?", [])
    with pytest.raises(InvalidRequest, match=r"^options: is one text, 2 to 10 are needed in a list"):
        await client.ask(harbor, "Which?", "first")
    with pytest.raises(InvalidRequest, match=r"options: has 1 entry, 2 to 10 are needed, or none"):
        await client.ask(harbor, "Which?", ["first"])


async def test_what_no_message_can_hold_is_refused_by_name_in_streams_too(services: Services, connect: Any) -> None:
    broken = replace(ASKED[1], text="half of a pair: \ud800")
    judge = connect(services.address).judge
    for call, field in (
        (lambda: judge.ask([broken]), "questions[0].text"),
        (lambda: collect(judge.ask_stream(arriving([broken]))), "questions[0].text"),
    ):
        with pytest.raises(InvalidRequest) as refusal:
            await call()
        assert [violation.field for violation in refusal.value.violations] == [field]


async def test_streamed_images_are_answered_under_their_keys(services: Services, connect: Any) -> None:
    pictures = [paint("a harbor", seed) for seed in range(12)]
    answers = dict(await collect(connect(services.address).judge.assess_stream(arriving(pictures))))
    assert answers == {key: arbitrary_feeling(look(picture)) for key, picture in enumerate(pictures)}


async def test_a_streamed_image_is_answered_before_the_next_is_there(services: Services) -> None:
    answered = asyncio.Event()

    async def one_by_one() -> AsyncIterator[tuple[int, bytes]]:
        yield 1, paint("a harbor", 1)
        await asyncio.wait_for(answered.wait(), 60)
        yield 2, paint("a harbor", 2)

    async with AsyncClient(services.address) as client:
        keys = []
        async for key, _ in client.judge.assess_stream(one_by_one()):
            keys.append(key)
            answered.set()
    assert keys == [1, 2]


async def test_a_run_tells_its_events_and_ends_with_the_answer(services: Services, connect: Any) -> None:
    events = await collect(connect(services.address).optimize(RUN))
    assert isinstance(events[0], RoundStarted)
    assert [event.round.index for event in events if isinstance(event, RoundFinished)] == [0, 1]
    assert isinstance(events[-1], OptimizationFinished)


async def test_create_returns_the_best_picture_over_all_rounds(services: Services, connect: Any) -> None:
    creation = await connect(services.address).create("a quiet harbor", target=AffectPoint(7, 3), rounds=2, images=3)
    losses = [candidate.loss for done in creation.rounds for candidate in done.candidates]
    assert creation.loss == min(losses)
    assert look(creation.image).seed == creation.seed
    assert look(creation.image).prompt == creation.prompt
    assert creation.assessment == arbitrary_feeling(look(creation.image))
    assert (creation.generator, creation.judge) == (GENERATOR_MODEL, JUDGE_MODEL)


async def test_create_takes_an_emotion_by_name(services: Services, connect: Any) -> None:
    await connect(services.address).create("a quiet harbor", emotion="awe", rounds=1, images=1)
    [call] = services.asked("Optimize")
    assert (call.request.target.point.valence, call.request.target.point.arousal) == (6.85, 3.83)


async def test_create_aims_at_what_the_judge_reads_in_a_picture(services: Services, connect: Any) -> None:
    photo = paint("a photograph", 7)
    client = connect(services.address)
    await client.create("a quiet harbor", feel_like=photo, rounds=1, images=1)
    [call] = services.asked("Optimize")
    felt = arbitrary_feeling(look(photo))
    assert isinstance(felt, Assessment)
    assert (call.request.target.point.valence, call.request.target.point.arousal) == (felt.valence, felt.arousal)
    with pytest.raises(InvalidRequest, match="feel_like: is a feeling already"):
        await client.create("a quiet harbor", feel_like=photo, emotion="awe")
    services.judge.feeling = lambda picture: UNREADABLE
    with pytest.raises(InvalidRequest, match="feel_like: gives no feeling"):
        await client.create("a quiet harbor", feel_like=photo)


async def test_create_wants_a_target_or_an_emotion(services: Services, connect: Any) -> None:
    client = connect(services.address)
    for given in ({}, {"target": AffectPoint(7, 3), "emotion": "awe"}, {"emotion": "boredom"}):
        with pytest.raises(InvalidRequest, match="target"):
            await client.create("a quiet harbor", **given)
    assert not services.calls


async def test_the_three_steps_stand_on_their_own(services: Services, connect: Any) -> None:
    client = connect(services.address)
    pictures = [paint("a harbor", seed) for seed in range(2)]
    near, far = [arbitrary_feeling(look(picture)) for picture in pictures]
    assert isinstance(near, Assessment) and isinstance(far, Assessment)
    target = near.point
    losses = await client.compute_loss(LossRequest(target=target, assessments=(near, far)))
    assert (losses.losses[0], losses.best, losses.worst) == (0, 0, 1)
    gradient = await client.estimate_gradient(
        GradientRequest(
            prompt="a harbor",
            target=target,
            best_image=pictures[0],
            best=near,
            worst_image=pictures[1],
            worst=far,
        )
    )
    assert gradient.analysis
    assert gradient.model == JUDGE_MODEL
    rewrite = await client.update_prompt(
        UpdateRequest(original_prompt="a harbor", prompt="a harbor", analysis=gradient.analysis, target=target)
    )
    assert "harbor" in rewrite.prompt
    assert not rewrite.fell_back


async def test_every_call_names_its_application_for_ray_serve(services: Services, connect: Any) -> None:
    client = connect(services.address)
    await client.generator.model()
    await client.judge.model()
    await collect(client.optimize(RUN))
    assert [call.metadata["application"] for call in services.calls] == ["generator", "judge", "optimizer"]


# --- errors ------------------------------------------------------------------------------------------------------


async def test_errors_of_a_service_come_back_as_they_were_raised(services: Services, connect: Any) -> None:
    client = connect(services.address)
    with pytest.raises(InvalidRequest) as invalid:
        await collect(client.generator.generate(GenerationRequest(prompt=" ", seeds=())))
    assert [violation.field for violation in invalid.value.violations] == ["prompt", "seeds"]
    with pytest.raises(NotFound, match="no policy 'dada'"):
        await collect(client.generator.generate(GenerationRequest(prompt="a", seeds=(1,), policy="dada")))
    assert len(services.calls) == 2, "neither error makes sense to retry"


@pytest.mark.parametrize("given", [{"seeds": (2**70,)}, {"seeds": (1,), "steps": 2**40}])
async def test_numbers_that_no_message_can_hold_are_named_too(
    services: Services, connect: Any, given: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest, match="must lie in"):
        await collect(connect(services.address).generator.generate(GenerationRequest(prompt="a", **given)))


async def test_a_defect_shows_a_reference_and_nothing_else(connect: Any) -> None:
    scripted = Services(judge=ScriptedJudge(failures={"assess": RuntimeError("/secret/path")}))
    async with serving(scripted):
        with pytest.raises(InternalError, match=r"reference [0-9a-f]{8}") as error:
            await connect(scripted.address).judge.assess([b"x"])
        assert "secret" not in str(error.value)
        assert len(scripted.calls) == 1, "a defect is not worth a retry"


@pytest.mark.parametrize("token", ["", "wrong", "let-me-in ", "Let-me-in"])
async def test_without_the_right_token_no_service_answers(connect: Any, token: str) -> None:
    async with serving(Services(token="let-me-in")) as scripted:
        client = connect(scripted.address, token=token)
        for call in (
            client.generator.model,
            client.judge.model,
            lambda: collect(client.generator.generate(PAINTING)),
            lambda: client.create("a harbor", emotion="awe"),
        ):
            with pytest.raises(Unauthenticated, match="token"):
                await call()
        assert await connect(scripted.address, token="let-me-in").judge.model() == JUDGE_MODEL


@pytest.mark.parametrize("kind", [AsyncClient, Client])
def test_a_token_that_no_metadata_can_carry_is_refused_at_once(kind: type) -> None:
    with pytest.raises(InvalidRequest, match=r"token: .* printable ASCII"):
        kind("127.0.0.1:9000", token="lët-me-ïn")


async def test_where_nothing_answers_the_error_says_how_to_start_it(connect: Any, unused_tcp_port: int) -> None:
    with pytest.raises(Unavailable, match=f"nothing answers at 127.0.0.1:{unused_tcp_port}.*emofeedback serve"):
        await connect(f"127.0.0.1:{unused_tcp_port}", retry=RetryPolicy(attempts=1)).judge.model()


async def test_a_request_over_the_limit_is_not_sent(services: Services, connect: Any) -> None:
    with pytest.raises(MessageTooLarge, match=f"at most {LIMITS.message_bytes}"):
        await connect(services.address).judge.assess([bytes(LIMITS.message_bytes)])
    assert not services.calls


@pytest.mark.parametrize(
    ("code", "details", "kind", "words"),
    [
        (grpc.StatusCode.UNIMPLEMENTED, "", FailedPrecondition, "does not offer GetModel"),
        (grpc.StatusCode.NOT_FOUND, "Application 'judge' not found.", NotFound, "Application 'judge' not found"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "queue full", ResourceExhausted, "no room"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max (9 vs. 4)", MessageTooLarge, "9 vs. 4"),
        (grpc.StatusCode.UNAVAILABLE, "errors resolving nowhere:9000", NothingAnswers, "nothing answers"),
        (grpc.StatusCode.UNAVAILABLE, "Socket closed", Unavailable, "connection to .* broke"),
        (grpc.StatusCode.INTERNAL, "The actor died", InternalError, "broke off"),
        (grpc.StatusCode.INTERNAL, "Internal error from Core", Unavailable, "ended the call while .* sent"),
    ],
)
async def test_bare_statuses_become_typed_errors(
    services: Services, connect: Any, code: grpc.StatusCode, details: str, kind: type[EmoFeedbackError], words: str
) -> None:
    services.faults["GetModel"] = [Fault(code, details)] * 20
    with pytest.raises(kind, match=words) as error:
        await connect(services.address, retry=replace(QUICK, patience=0.1)).judge.model()
    assert type(error.value) is kind


# --- one surface -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asynchronous", "part"), [(AsyncClient, ""), (AsyncClient, "generator"), (AsyncClient, "judge")]
)
def test_both_clients_have_the_same_methods_and_parameters(asynchronous: type, part: str) -> None:
    def surface(kind: Any) -> dict[str, list[tuple[str, Any, Any]]]:
        client = kind("127.0.0.1:1")
        owner = getattr(client, part) if part else client
        return {
            name: [(p.name, p.kind, p.default) for p in inspect.signature(method).parameters.values()]
            for name, method in inspect.getmembers(owner, callable)
            if not name.startswith("_")
        }

    assert surface(AsyncClient) == surface(Client)
    assert surface(Client)
