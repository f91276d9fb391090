"""Questions about pictures, answers and descriptions, to the wire and back."""

from __future__ import annotations

from collections.abc import Sequence

from emofeedback.domain import validation as checks
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.questions import (
    AnswerOutcome,
    Description,
    DescriptionOutcome,
    Pictures,
    Question,
    QuestionAnswer,
    ReplyFailure,
)
from emofeedback.v1 import judge_pb2 as pb

# --- questions ---------------------------------------------------------------------------------------------------


def question_to_proto(question: Question) -> pb.Question:
    return pb.Question(images=question.images, text=question.text, options=question.options)


def ask_request_to_proto(questions: Sequence[Question], request_id: str) -> pb.AskRequest:
    return pb.AskRequest(questions=map(question_to_proto, questions), request_id=request_id)


def ask_request_from_proto(message: pb.AskRequest) -> tuple[Question, ...]:
    """The questions. Raises `InvalidRequest`."""
    checks.check_most("questions", message.questions, LIMITS.questions_per_call)
    questions = tuple(_question_from_proto(asked, f"questions[{i}]") for i, asked in enumerate(message.questions))
    checks.check_questions(questions)
    return questions


def streamed_question_from_proto(message: pb.AskStreamRequest) -> tuple[int, Question]:
    """The key and the question. Raises `InvalidRequest`, which names it by its key."""
    field = f"questions[{message.key}]"
    question = _question_from_proto(message.question, field)
    checks.check_question(field, question)
    return message.key, question


def _question_from_proto(message: pb.Question, field: str) -> Question:
    checks.check_most(f"{field}.images", message.images, LIMITS.question_images)
    checks.check_most(f"{field}.options", message.options, LIMITS.most_options)
    return Question(images=tuple(message.images), text=message.text, options=tuple(message.options))


# --- pictures to describe ----------------------------------------------------------------------------------------


def describe_request_to_proto(pictures: Sequence[Pictures], request_id: str) -> pb.DescribeRequest:
    return pb.DescribeRequest(pictures=[pb.Pictures(images=images) for images in pictures], request_id=request_id)


def describe_request_from_proto(message: pb.DescribeRequest) -> tuple[Pictures, ...]:
    """The pictures, one or two in each place. Raises `InvalidRequest`."""
    checks.check_most("pictures", message.pictures, LIMITS.questions_per_call)
    pictures = tuple(_pictures_from_proto(shown, f"pictures[{i}]") for i, shown in enumerate(message.pictures))
    checks.check_descriptions(pictures)
    return pictures


def streamed_pictures_from_proto(message: pb.DescribeStreamRequest) -> tuple[int, Pictures]:
    """The key and the pictures. Raises `InvalidRequest`, which names them by their key."""
    field = f"pictures[{message.key}]"
    pictures = _pictures_from_proto(message.pictures, field)
    checks.check_pictures(field, pictures)
    return message.key, pictures


def _pictures_from_proto(message: pb.Pictures, field: str) -> Pictures:
    checks.check_most(f"{field}.images", message.images, LIMITS.question_images)
    return tuple(message.images)


# --- what the judge says -----------------------------------------------------------------------------------------


def answer_to_proto(outcome: AnswerOutcome) -> pb.AnswerOutcome:
    if isinstance(outcome, ReplyFailure):
        return pb.AnswerOutcome(failure=pb.ReplyFailure(reason=outcome.reason))
    answer = pb.QuestionAnswer(
        text=outcome.text,
        option=outcome.option,
        confidence=outcome.confidence,
        in_domain=outcome.in_domain,
        domain_score=outcome.domain_score,
        reasoning=outcome.reasoning,
    )
    return pb.AnswerOutcome(answer=answer)


def answer_from_proto(message: pb.AnswerOutcome, field: str = "outcome") -> AnswerOutcome:
    """Raises `InvalidRequest` under `field` where the outcome is missing or of an unknown kind."""
    match message.WhichOneof("outcome"):
        case "answer":
            said = message.answer
            return QuestionAnswer(
                text=said.text,
                option=said.option if said.HasField("option") else None,
                confidence=said.confidence if said.HasField("confidence") else None,
                domain_score=_domain_score(said),
                reasoning=said.reasoning,
            )
        case "failure":
            return ReplyFailure(reason=message.failure.reason)
        case _:
            raise InvalidRequest.of(field, "is missing or of an unknown kind")


def description_to_proto(outcome: DescriptionOutcome) -> pb.DescriptionOutcome:
    if isinstance(outcome, ReplyFailure):
        return pb.DescriptionOutcome(failure=pb.ReplyFailure(reason=outcome.reason))
    description = pb.Description(text=outcome.text, in_domain=outcome.in_domain, domain_score=outcome.domain_score)
    return pb.DescriptionOutcome(description=description)


def description_from_proto(message: pb.DescriptionOutcome, field: str = "outcome") -> DescriptionOutcome:
    """Raises `InvalidRequest` under `field` where the outcome is missing or of an unknown kind."""
    match message.WhichOneof("outcome"):
        case "description":
            said = message.description
            return Description(text=said.text, domain_score=_domain_score(said))
        case "failure":
            return ReplyFailure(reason=message.failure.reason)
        case _:
            raise InvalidRequest.of(field, "is missing or of an unknown kind")


def _domain_score(said: pb.QuestionAnswer | pb.Description) -> float | None:
    return said.domain_score if said.HasField("domain_score") else None
