"""A generator and a judge that follow a script, and a person whom the judge knows, for the tests of the loop, the
services and the command.

Their pictures are real PNGs that carry the prompt and the seed, so a scripted judge can say what it "sees"
as a function of both. Everything is deterministic, calls are logged, delays and failures are set by the test.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from PIL import Image, PngImagePlugin

from emofeedback.domain.affect import LEXICON, AffectPoint, Emotion, distance
from emofeedback.domain.assessment import Assessment, AssessmentFailure, AssessmentOutcome, Conversation, Decoding
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest, NotFound
from emofeedback.domain.generation import (
    GeneratedImage,
    GenerationEvent,
    GenerationQueued,
    GenerationRequest,
    GenerationStep,
    ModelInfo,
    TrajectoryEvent,
    TrajectoryRequest,
)
from emofeedback.domain.limits import BASE_POLICY
from emofeedback.domain.questions import (
    AnswerOutcome,
    Description,
    DescriptionOutcome,
    Pictures,
    Question,
    QuestionAnswer,
)
from emofeedback.domain.reasoning import EmotionTokens, Imagination, Reasoning, reasoning_of
from emofeedback.domain.recipe import PictureRecipe, ReadEmotion, with_recipe
from emofeedback.domain.tensors import Tensor
from emofeedback.domain.validation import (
    check_descriptions,
    check_generation_request,
    check_questions,
    check_reasoning,
    check_trajectory_request,
)
from emofeedback.judge.calibration import AxisCalibration, Calibration
from emofeedback.judge.certainty import distribution, ranked

if TYPE_CHECKING:
    from emofeedback.judge.calibration_store import CalibrationStore

GENERATOR_MODEL = ModelInfo(name="scripted-generator", digest="sha256:" + "1" * 64)
POLICY_DIGEST = "sha256:" + "4" * 64
JUDGE_MODEL = ModelInfo(name="scripted-judge", digest="sha256:" + "2" * 64)
SCORER_MODEL = ModelInfo(name="scripted-scorer", digest="sha256:" + "3" * 64)
SCRIPTED_VARIATIONS = 4
"""Imaginations of one feeling that a scripted judge has learned."""
UNREADABLE = AssessmentFailure(reason="the reply holds no rating")


@dataclass(frozen=True)
class Picture:
    """What a scripted judge sees in an image of a scripted generator; empty and -1 in any other image."""

    prompt: str
    seed: int
    felt: str = ""
    """`feeling_of` the emotion tokens that it was painted with; empty without any."""


def feeling_of(states: Tensor, variation: int, scale: float) -> str:
    """A short name for one variation of emotion tokens and how much it counts."""
    size = len(states.data) // states.shape[0]
    return hashlib.sha256(states.data[variation * size :][:size] + repr(scale).encode()).hexdigest()[:8]


def paint(prompt: str, seed: int, size: int = 16, felt: str = "") -> bytes:
    """A small PNG in a color of its own, with what it was painted from written inside."""
    note = PngImagePlugin.PngInfo()
    note.add_itxt("prompt", prompt)
    note.add_text("seed", str(seed))
    note.add_text("felt", felt)
    file = io.BytesIO()
    color = tuple(hashlib.sha256(f"{seed} {prompt}{felt}".encode()).digest()[:3])
    Image.new("RGB", (size, size), color).save(file, "PNG", pnginfo=note)
    return file.getvalue()


def look(image: bytes) -> Picture:
    """What is written inside an image of `paint`."""
    notes = Image.open(io.BytesIO(image)).info
    return Picture(notes.get("prompt", ""), int(notes.get("seed", -1)), notes.get("felt", ""))


def scripted_recipe(
    request: GenerationRequest, seed: int, png: bytes, model: ModelInfo, index: int = 0
) -> PictureRecipe:
    """How a scripted generator says that it made a picture."""
    with Image.open(io.BytesIO(png)) as picture:
        pixels = picture.convert("RGB").tobytes()
        width, height = picture.size
    return PictureRecipe(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        seed=seed,
        steps=request.steps or 2,
        guidance=request.guidance or 1.0,
        width=width,
        height=height,
        generator=model,
        policy_digest=POLICY_DIGEST if model.policy else "",
        pixels="sha256:" + hashlib.sha256(pixels).hexdigest(),
        version="0",
        emotion=None if request.emotion is None else _read_emotion(request, request.emotion, index),
    )


def _read_emotion(request: GenerationRequest, emotion: EmotionTokens, index: int) -> ReadEmotion:
    read = emotion.chosen([index % emotion.variations])
    return ReadEmotion(judge=emotion.judge, digest=read.digest, scale=request.emotion_scale)


def assessment(valence: float, arousal: float, reasoning: str = "") -> Assessment:
    """An assessment at a point, with the emotion whose word lies nearest, the others alike, and exact ratings."""
    point = AffectPoint(valence, arousal)
    emotion = min(LEXICON, key=lambda emotion: distance(LEXICON[emotion].point, point))
    return Assessment(
        valence=valence,
        arousal=arousal,
        emotion=emotion,
        confidence=0.75,
        reasoning=reasoning,
        valence_distribution=distribution({valence: 1.0}, valence),
        arousal_distribution=distribution({arousal: 1.0}, arousal),
        emotions=ranked({**dict.fromkeys(Emotion, 0.25 / 7), emotion: 0.75}),
    )


def arbitrary_feeling(picture: Picture) -> AssessmentOutcome:
    """Some point of the plane, always the same for the same prompt and seed."""
    digest = hashlib.sha256(f"{picture.prompt}|{picture.seed}".encode()).digest()
    return assessment(1 + digest[0] % 81 / 10, 1 + digest[1] % 81 / 10)


def last_option(question: Question) -> AnswerOutcome:
    """The option that was named last, or what the pictures were painted from."""
    if question.options:
        return QuestionAnswer(
            text=question.options[-1], option=len(question.options) - 1, confidence=0.75, reasoning="It is the last."
        )
    return QuestionAnswer(text=_painted_from(question.images))


def described(pictures: Pictures) -> DescriptionOutcome:
    """What the pictures were painted from."""
    return Description(text=_painted_from(pictures))


def _painted_from(pictures: Pictures) -> str:
    return " and then ".join(look(picture).prompt for picture in pictures)


def scripted_tokens(subject: bytes | Imagination, variations: int) -> EmotionTokens:
    """What a scripted judge has in mind: two tokens three wide, always the same of the same subject and variation."""
    shape = (variations, 2, 3)
    if isinstance(subject, Imagination):
        said = f"{subject.prompt}|{subject.target.valence:g}|{subject.target.arousal:g}".encode()
    else:
        said = subject
    noise = b"".join(hashlib.sha256(bytes([number]) + said).digest()[:6] for number in range(variations))
    values = [(byte - 128) / 64 for byte in noise]
    states = Tensor(element_type="float32", shape=shape, data=struct.pack(f"<{len(values)}f", *values))
    return EmotionTokens(states=states, judge=JUDGE_MODEL)


@dataclass
class ScriptedGenerator:
    """A Generator whose pictures are made by `paint`, and its trajectories by `scripted_trajectories`.

    `requests` and `groups` log every call, `steps_done` counts denoising steps and `closed_early` the calls that were
    closed or cancelled before their last image.
    """

    steps: int = 2
    delay: float = 0.0
    """Seconds a denoising step takes."""
    unknown_words: frozenset[str] = frozenset()
    subjects: str = ""
    """What it says that it can paint where it knows a word not."""
    longest_prompt: int = 1000
    """Words that it can read."""
    known_policies: tuple[str, ...] = ()
    fused: Mapping[str, ModelInfo] = field(default_factory=dict)
    """Those of them that read emotion tokens, and whose."""
    recipes: bool = False
    """Whether its pictures carry how they were made."""
    failures: Mapping[tuple[int, int], Exception] = field(default_factory=dict)
    """What is raised instead of painting: by call, counted from 0 among its kind, and position of the image in it."""
    backwards: bool = False
    """Paints the last seed first, as a batch may finish in any order."""
    requests: list[GenerationRequest] = field(default_factory=list)
    groups: list[TrajectoryRequest] = field(default_factory=list)
    steps_done: int = 0
    images_done: int = 0
    closed_early: int = 0

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        call = len(self.requests)
        self.requests.append(request)
        check_generation_request(request)
        model = self._model(request.policy)
        self._check_emotion(request)
        finished = False
        try:
            yield self._queued(request.prompt)
            for index in sorted(range(len(request.seeds)), reverse=self.backwards):
                if (call, index) in self.failures:
                    raise self.failures[call, index]
                for step in range(1, self.steps + 1):
                    await asyncio.sleep(self.delay)
                    self.steps_done += 1
                    yield GenerationStep(index=index, step=step, steps=self.steps)
                seed = request.seeds[index]
                data = paint(request.prompt, seed, felt=_felt(request, index))
                if self.recipes:
                    data = with_recipe(data, scripted_recipe(request, seed, data, model, index))
                self.images_done += 1
                yield GeneratedImage(index=index, seed=seed, data=data, width=16, height=16, model=model)
            finished = True
        finally:
            self.closed_early += not finished

    async def sample_trajectories(self, request: TrajectoryRequest) -> AsyncGenerator[TrajectoryEvent, None]:
        # Torch is not for everybody who paints by script.
        from support.scripted_trajectories import sample, start_group

        call = len(self.groups)
        self.groups.append(request)
        check_trajectory_request(request)
        model = self._model(request.policy)
        self._check_emotion(request)
        finished = False
        try:
            yield self._queued(request.prompt)
            group = start_group(request, model, POLICY_DIGEST if model.policy else "")
            yield group
            for index in sorted(range(len(request.seeds)), reverse=self.backwards):
                if (call, index) in self.failures:
                    raise self.failures[call, index]
                for _ in range(request.steps):
                    await asyncio.sleep(self.delay)
                    self.steps_done += 1
                self.images_done += 1
                image = paint(request.prompt, request.seeds[index], felt=_felt(request, index))
                yield sample(request, group, index, image, bias=0.25 if model.policy else 0.0)
            finished = True
        finally:
            self.closed_early += not finished

    async def model(self) -> ModelInfo:
        return GENERATOR_MODEL

    async def policies(self) -> Sequence[str]:
        return self.known_policies

    def _model(self, policy: str) -> ModelInfo:
        resolved = "" if policy == BASE_POLICY else policy
        if resolved and resolved not in self.known_policies:
            raise NotFound(f"there is no policy {policy!r}")
        return replace(GENERATOR_MODEL, policy=resolved)

    def _check_emotion(self, request: GenerationRequest | TrajectoryRequest) -> None:
        if request.emotion is None:
            return
        judge = self.fused.get(request.policy)
        if judge is None:
            raise FailedPrecondition(f"policy {request.policy!r} was not fused with a judge")
        if judge.digest != request.emotion.judge.digest:
            raise FailedPrecondition(f"{request.policy!r} reads {judge.digest}, not {request.emotion.judge.digest}")

    def _queued(self, prompt: str) -> GenerationQueued:
        words = tuple(word for word in prompt.split() if word in self.unknown_words)
        too_long = len(prompt.split()) > self.longest_prompt
        shortened = " ".join(prompt.split()[: self.longest_prompt]) if too_long else ""
        subjects = self.subjects if words else ""
        return GenerationQueued(images_ahead=0, unknown_words=words, subjects=subjects, shortened_prompt=shortened)


def _felt(request: GenerationRequest | TrajectoryRequest, index: int) -> str:
    if request.emotion is None:
        return ""
    states = request.emotion.states
    return feeling_of(states, index % states.shape[0], request.emotion_scale)


@dataclass
class ScriptedJudge:
    """A Judge that says what its script says.

    `analyses` and `rewrites` are its replies to conversations with and without images, used up in order;
    after them it goes on with sensible ones. `calls` logs the name of each method as it begins,
    `conversations` and `decodings` every conversation, `compared` every text that was compared, `users` whose
    calibration each call of `assess` and `assess_stream` asked for, `ways` how each call of `assess` is to reason,
    `subjects` what each call of `reason` is about, `questions` what it was asked, `shown` what it had to describe.
    """

    feeling: Callable[[Picture], AssessmentOutcome] = arbitrary_feeling
    alignment: Callable[[Picture, str], float] = lambda picture, prompt: 0.5
    similarity: Callable[[str, str], float] = lambda text, candidate: 0.9
    analyses: Iterable[str] = ()
    rewrites: Iterable[str] = ()
    answers: Callable[[Question], AnswerOutcome] = last_option
    descriptions: Callable[[Pictures], DescriptionOutcome] = described
    calibrations: CalibrationStore | None = None
    """What it knows of people; without it, everybody sees as it does."""
    delay: float = 0.0
    """Seconds that each assessment and each reply takes."""
    failures: Mapping[str, Exception] = field(default_factory=dict)
    """What a method, by its name, raises instead of doing its work."""
    calls: list[str] = field(default_factory=list)
    conversations: list[Conversation] = field(default_factory=list)
    decodings: list[Decoding] = field(default_factory=list)
    compared: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    ways: list[Reasoning] = field(default_factory=list)
    subjects: list[bytes | Imagination] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    shown: list[Pictures] = field(default_factory=list)
    cancelled: int = 0
    """Calls that were closed or cancelled while they waited."""

    def __post_init__(self) -> None:
        self._analyses, self._rewrites = iter(self.analyses), iter(self.rewrites)

    async def assess(
        self, images: Sequence[bytes], *, reasoning: bool | Reasoning = False, user: str = ""
    ) -> list[AssessmentOutcome]:
        await self._begin("assess")
        way, seen = reasoning_of(reasoning), self._eyes(user)
        self.ways.append(way)
        return [seen(self._outcome(image, aloud=way == "aloud")) for image in images]

    async def assess_stream(
        self, images: AsyncIterator[tuple[int, bytes]], *, user: str = ""
    ) -> AsyncGenerator[tuple[int, AssessmentOutcome], None]:
        seen = self._eyes(user)
        async for key, image in images:
            await self._begin("assess_stream")
            yield key, seen(self._outcome(image, aloud=False))

    async def ask(self, questions: Sequence[Question]) -> list[AnswerOutcome]:
        await self._begin("ask")
        check_questions(questions)
        self.questions.extend(questions)
        return [self.answers(question) for question in questions]

    async def ask_stream(
        self, questions: AsyncIterator[tuple[int, Question]]
    ) -> AsyncGenerator[tuple[int, AnswerOutcome], None]:
        async for key, question in questions:
            [outcome] = await self.ask([question])
            yield key, outcome

    async def describe(self, pictures: Sequence[Pictures]) -> list[DescriptionOutcome]:
        await self._begin("describe")
        check_descriptions(pictures)
        self.shown.extend(pictures)
        return [self.descriptions(images) for images in pictures]

    async def describe_stream(
        self, pictures: AsyncIterator[tuple[int, Pictures]]
    ) -> AsyncGenerator[tuple[int, DescriptionOutcome], None]:
        async for key, images in pictures:
            [outcome] = await self.describe([images])
            yield key, outcome

    async def score(self, images: Sequence[bytes], prompt: str) -> list[float]:
        await self._begin("score")
        return [self.alignment(look(image), prompt) for image in images]

    async def compare_texts(self, text: str, candidates: Sequence[str]) -> list[float]:
        await self._begin("compare_texts")
        self.compared.extend(candidates)
        return [self.similarity(text, candidate) for candidate in candidates]

    async def converse(self, conversations: Sequence[Conversation], decoding: Decoding) -> list[str]:
        await self._begin("converse")
        return [self._reply(conversation, decoding) for conversation in conversations]

    async def reason(self, subject: bytes | Imagination, *, variations: int = 0) -> EmotionTokens:
        await self._begin("reason")
        self.subjects.append(subject)
        check_reasoning(subject, variations)
        several = isinstance(subject, Imagination)
        if variations > SCRIPTED_VARIATIONS:
            raise InvalidRequest.of("variations", f"is {variations}, this judge has learned {SCRIPTED_VARIATIONS}")
        return scripted_tokens(subject, (variations or SCRIPTED_VARIATIONS) if several else 1)

    async def model(self) -> ModelInfo:
        return JUDGE_MODEL

    async def scorer(self) -> ModelInfo:
        return SCORER_MODEL

    async def _begin(self, method: str) -> None:
        self.calls.append(method)
        if method in self.failures:
            raise self.failures[method]
        try:
            await asyncio.sleep(self.delay)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def _eyes(self, user: str) -> Callable[[AssessmentOutcome], AssessmentOutcome]:
        self.users.append(user)
        if user and self.calibrations is not None:
            return self.calibrations.read(user, JUDGE_MODEL).apply
        return lambda outcome: outcome

    def _outcome(self, image: bytes, aloud: bool) -> AssessmentOutcome:
        outcome = self.feeling(look(image))
        if aloud and isinstance(outcome, Assessment):
            why = f"It feels like valence {outcome.valence:g}, arousal {outcome.arousal:g}."
            return replace(outcome, reasoning=why)
        return outcome

    def _reply(self, conversation: Conversation, decoding: Decoding) -> str:
        self.conversations.append(conversation)
        self.decodings.append(decoding)
        if any(isinstance(part, bytes) for message in conversation for part in message.parts):
            return next(self._analyses, "The first picture is brighter. Add warm light, take out the fog.")
        return next(self._rewrites, f"<prompt>a quiet harbor, warm light, version {len(self.conversations)}</prompt>")


def known_of(user: str, judge: ModelInfo, *, valence: tuple[float, float, float] = (3, 4, 5)) -> Calibration:
    """A person who says `valence` where the judge says 1, 5 and 9, and whose arousal is the judge's."""
    axis = AxisCalibration(values=valence, images=12, judge_error=2.0, error=1.0, standard_error=0.2)
    return Calibration(user=user, judge=judge, valence=axis, arousal=None, created="2026-01-01T00:00:00+00:00")
