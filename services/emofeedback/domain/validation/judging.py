"""Are the judge's requests within their limits?"""

from __future__ import annotations

from collections.abc import Sequence

from emofeedback.domain.assessment import ControlTokens, Conversation, Decoding, Message
from emofeedback.domain.errors import FieldViolation
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.questions import Pictures, Question
from emofeedback.domain.reasoning import Imagination
from emofeedback.domain.validation import fields
from emofeedback.domain.validation.fields import Violations


def check_assessment(images: Sequence[bytes], user: str) -> None:
    """A batch of encoded images, whether each is a picture is for the judge to see; and a person's id, or none."""
    fields.require(fields.images("images", images), fields.user("user", user, required=False))


def check_user(user: str, *, required: bool = True) -> None:
    """The id of a person, or where none is required, perhaps none."""
    fields.require(fields.user("user", user, required=required))


def check_streamed_image(image: bytes, user: str, first_user: str) -> None:
    """One encoded image of a stream, and the person that it names: the one that the first image named."""
    fields.require(fields.image("image", image), _same_user("user", user, first_user))


def check_scoring(images: Sequence[bytes], prompt: str) -> None:
    """A batch of encoded images and the prompt that they should fit."""
    fields.require(fields.images("images", images), fields.text("prompt", prompt))


def check_comparison(text: str, candidates: Sequence[str]) -> None:
    """A text and the texts to compare with it."""
    fields.require(
        fields.text("text", text),
        fields.each("candidates", candidates, LIMITS.images_per_call, fields.text),
    )


def check_conversations(conversations: Sequence[Conversation], decoding: Decoding) -> None:
    """Conversations with images, and how their replies are sampled."""
    fields.require(
        fields.each("conversations", conversations, LIMITS.conversations_per_call, _conversation),
        fields.number("decoding.max_new_tokens", decoding.max_new_tokens, 1, LIMITS.new_tokens),
        fields.number("decoding.temperature", decoding.temperature, 0, LIMITS.temperature),
        fields.number("decoding.seed", decoding.seed, 0, LIMITS.seed),
    )


def check_questions(questions: Sequence[Question]) -> None:
    """A batch of questions about pictures."""
    fields.require(fields.each("questions", questions, LIMITS.questions_per_call, _question))


def check_question(field: str, question: Question) -> None:
    """One question, under the name of its field."""
    fields.require(_question(field, question))


def check_descriptions(pictures: Sequence[Pictures]) -> None:
    """A batch of pictures to describe, one or two in each place."""
    fields.require(fields.each("pictures", pictures, LIMITS.questions_per_call, _pictures))


def check_pictures(field: str, pictures: Pictures) -> None:
    """One or two pictures to describe, under the name of their field."""
    fields.require(_pictures(field, pictures))


def check_reasoning(subject: bytes | Imagination, variations: int) -> None:
    """A picture, or one to imagine, and how many times; whether it is a picture, and whether the model has learned so
    many, is for the judge to see."""
    if isinstance(subject, Imagination):
        fields.require(
            fields.text("imagination.prompt", subject.prompt),
            fields.number("variations", variations, 0, LIMITS.emotion_variations),
        )
    else:
        fields.require(fields.image("image", subject), _of_image("variations", variations))


def _question(field: str, question: Question) -> Violations:
    yield from _pictures(field, question.images)
    yield from fields.text(f"{field}.text", question.text, limit=LIMITS.question_characters)
    if question.options:
        yield from _options(f"{field}.options", question.options)


def _pictures(field: str, pictures: Pictures) -> Violations:
    yield from fields.each(f"{field}.images", pictures, LIMITS.question_images, fields.image)


def _options(field: str, options: Sequence[str]) -> Violations:
    if not LIMITS.fewest_options <= len(options) <= LIMITS.most_options:
        bounds = f"{LIMITS.fewest_options} to {LIMITS.most_options} are needed, or none for an open question"
        yield FieldViolation(field, f"has {len(options)} {'entry' if len(options) == 1 else 'entries'}, {bounds}")
        return
    seen: dict[str, int] = {}
    for i, option in enumerate(options):
        yield from fields.text(f"{field}[{i}]", option, limit=LIMITS.option_characters)
        first = seen.setdefault(" ".join(option.split()).casefold(), i)
        if first != i:
            yield FieldViolation(f"{field}[{i}]", f"says the same as {field}[{first}], each option must be another one")


def _of_image(field: str, variations: int) -> Violations:
    if variations not in (0, 1):
        yield FieldViolation(field, f"is {variations}, of an image there is one (1, or 0)")


def _same_user(field: str, user: str, first_user: str) -> Violations:
    if user != first_user:
        yield FieldViolation(field, f"is {user!r}, the stream began with {first_user!r}: each stream is for one person")


def _conversation(field: str, turns: Conversation) -> Violations:
    yield from fields.each(f"{field}.messages", turns, LIMITS.conversation_messages, _message)


def _message(field: str, message: Message) -> Violations:
    yield from fields.each(f"{field}.parts", message.parts, LIMITS.message_parts, _part)


def _part(field: str, part: str | bytes | ControlTokens) -> Violations:
    match part:
        case bytes():
            yield from fields.image(f"{field}.image", part)
        case str():
            yield from fields.text(f"{field}.text", part, required=False, limit=LIMITS.text_characters)
        case ControlTokens():
            yield FieldViolation(field, "is of the model's own tokens, it must be a text or an image")
