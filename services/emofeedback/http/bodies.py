"""What requests carry, as JSON. Types are checked here; limits are the domain's (`domain.validation`)."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.generation import GenerationRequest
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.optimization import OptimizationRequest
from emofeedback.domain.questions import Pictures, Question
from emofeedback.domain.reasoning import Reasoning, reasoning_of
from emofeedback.domain.validation import check_optimization_request, target_from

_BODY = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Feeling(BaseModel):
    """A point on the plane, or one of the eight emotions."""

    model_config = _BODY

    valence: float | None = None
    """Unpleasant (1) to pleasant (9)."""
    arousal: float | None = None
    """Calm (1) to stirred (9)."""
    emotion: str | None = None
    """Instead of both, one of the eight."""
    dominance: float | None = None
    """Beside them, helpless (1) to in control (9): it counts in which picture is chosen, not in the prompts. null: any.
    """


class LoopBody(Feeling):
    """One run of the loop."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"prompt": "a dog in a meadow", "valence": 8, "arousal": 6, "rounds": 2}]}
    )

    prompt: str
    """What the picture shows."""
    rounds: int = 3
    """At most."""
    images: int = 8
    """A round."""
    seed: int = 0
    """Of the first picture of a round."""
    tolerance: float | None = None
    """Stop once the error is at most this: |dV| + |dA|, and + |dD| with dominance."""
    time_budget: float | None = None
    """Seconds after which no new round starts."""
    policy: str = ""
    """A trained policy, or `base`; empty: the profile's own."""
    person: str = ""
    """By whose calibration valence and arousal are corrected; empty: uncorrected."""
    steps: int | None = None
    """Denoising steps of every picture; None: the policy's own, else the profile's."""
    imagine: bool | None = None
    """Paint from what the judge imagines; needs a policy that was fused with it. null: as the profile says."""

    def request(self) -> OptimizationRequest:
        """The run that is asked for.

        Raises:
            InvalidRequest: a field is out of its limits.
        """
        asked = OptimizationRequest(
            prompt=self.prompt,
            target=target_from(self.valence, self.arousal, self.emotion),
            rounds=self.rounds,
            images=self.images,
            seed=self.seed,
            tolerance=self.tolerance,
            time_budget=self.time_budget,
            policy=self.policy,
            user=self.person,
            steps=self.steps,
            imagine=self.imagine,
            dominance=self.dominance,
        )
        check_optimization_request(asked)
        return asked


class ImagesBody(LoopBody):
    """Pictures, as OpenAI's clients ask for them; with a feeling, the best of a run of the loop."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"prompt": "a castle at night", "n": 2},
                {"prompt": "a dog in a meadow", "valence": 8, "arousal": 6, "rounds": 2, "images": 4},
            ]
        }
    )

    n: int = 1
    """Pictures in the reply: one seed each, or the best of the run."""
    size: str = "auto"
    """`auto`, or the size that the generator paints, as `512x512`."""
    response_format: Literal["b64_json", "url"] = "b64_json"
    """`url` is a data URL: the picture itself."""
    output_format: Literal["png"] = "png"
    model: str = ""
    """The generator's name, or empty: there is one."""
    negative_prompt: str = ""
    """What should not be in the picture; without a feeling only."""
    guidance: float | None = None
    """Guidance scale; without a feeling only. None: the profile's."""
    quality: str | None = Field(default=None, deprecated=True)
    """Of OpenAI's; without effect."""
    style: str | None = Field(default=None, deprecated=True)
    """Of OpenAI's; without effect."""
    user: str | None = Field(default=None, deprecated=True)
    """Of OpenAI's; without effect. For whose eyes to use see `person`."""
    moderation: str | None = Field(default=None, deprecated=True)
    """Of OpenAI's; without effect."""
    background: str | None = Field(default=None, deprecated=True)
    """Of OpenAI's; without effect."""

    @property
    def has_feeling(self) -> bool:
        return any(value is not None for value in (self.valence, self.arousal, self.emotion, self.dominance))

    def generation(self) -> GenerationRequest:
        """What is asked of the generator where no feeling is named."""
        return GenerationRequest(
            prompt=self.prompt,
            seeds=tuple(range(self.seed, self.seed + self.n)),
            negative_prompt=self.negative_prompt,
            steps=self.steps,
            guidance=self.guidance,
            policy=self.policy,
        )


class AssessmentsBody(BaseModel):
    """Pictures to be judged."""

    model_config = _BODY

    images: Annotated[list[str], Field(max_length=LIMITS.images_per_call)]
    """PNG, JPEG or WebP files in base64, or data URLs of such."""
    reasoning: Annotated[Reasoning, BeforeValidator(reasoning_of, json_schema_input_type=bool | Reasoning)] = "none"
    """`aloud`, or true: ask for reasons as well; slower. The numbers then are those of the reasoned reply. `latent`:
    rate behind the judge's reasoning tokens. `none`, or false: rate at once."""
    person: str = ""
    """By whose calibration valence and arousal are corrected; empty: uncorrected."""

    def decoded(self) -> list[bytes]:
        """The files.

        Raises:
            InvalidRequest: one is no base64.
        """
        return [_decoded(f"images[{i}]", text) for i, text in enumerate(self.images)]


class QuestionBody(BaseModel):
    """Anything that somebody wants to know about one or two pictures."""

    model_config = _BODY

    images: Annotated[list[str], Field(max_length=LIMITS.question_images)]
    """One or two, as for assessments."""
    text: str
    """The question."""
    options: Annotated[list[str], Field(min_length=LIMITS.fewest_options, max_length=LIMITS.most_options)] | None = None
    """Answers to choose from; null: the judge answers in its own words."""


class QuestionsBody(BaseModel):
    """Questions about pictures."""

    model_config = _BODY

    questions: Annotated[list[QuestionBody], Field(max_length=LIMITS.questions_per_call)]

    def decoded(self) -> list[Question]:
        """The questions.

        Raises:
            InvalidRequest: a picture is no base64.
        """
        return [
            Question(
                images=_all_decoded(f"questions[{i}].images", asked.images),
                text=asked.text,
                options=tuple(asked.options or ()),
            )
            for i, asked in enumerate(self.questions)
        ]


class DescriptionsBody(BaseModel):
    """Pictures to be described."""

    model_config = _BODY

    pictures: Annotated[
        list[Annotated[list[str], Field(max_length=LIMITS.question_images)]],
        Field(max_length=LIMITS.questions_per_call),
    ]
    """In each place one, or two to tell apart, as for assessments."""

    def decoded(self) -> list[Pictures]:
        """The files.

        Raises:
            InvalidRequest: one is no base64.
        """
        return [_all_decoded(f"pictures[{i}]", images) for i, images in enumerate(self.pictures)]


class StartBody(LoopBody):
    """A run that is kept: it goes on when its caller leaves."""

    pause: bool = False
    """Wait after every round, so that a person can take over."""


class ContinueBody(BaseModel):
    """A cut or paused run that goes on."""

    model_config = _BODY

    prompt: str | None = None
    """What the next round paints; None: what the loop had written."""
    rounds: int | None = None
    """At most, all together; None: one more where all are done, else as it was asked for."""
    seed: int | None = None
    """Of the first picture of a round from now on; None: as before. A prompt that was painted goes on with further
    seeds."""
    pause: bool = False
    """Wait after every round."""


def _all_decoded(field: str, texts: list[str]) -> Pictures:
    return tuple(_decoded(f"{field}[{i}]", text) for i, text in enumerate(texts))


def _decoded(field: str, text: str) -> bytes:
    start, comma, rest = text.partition(",")
    try:
        return base64.b64decode(rest if comma and start.startswith("data:") else text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest.of(field, "is no base64") from error
