"""Are requests within their limits? The same questions on the wire, in process and in the command.

Each function raises `InvalidRequest` with what it finds, `MAX_VIOLATIONS` at most: the field under its dotted proto
name, what is wrong with it, and the limit. The entries of a list are looked at only where there may be so many.
"""

from emofeedback.domain.validation.fields import check_most
from emofeedback.domain.validation.generation import check_generation_request, check_trajectory_request
from emofeedback.domain.validation.judging import (
    check_assessment,
    check_comparison,
    check_conversations,
    check_descriptions,
    check_pictures,
    check_question,
    check_questions,
    check_reasoning,
    check_scoring,
    check_streamed_image,
    check_user,
)
from emofeedback.domain.validation.optimization import (
    check_gradient_request,
    check_loss_request,
    check_optimization_request,
    check_update_request,
)
from emofeedback.domain.validation.target import emotion_point, target_from, target_point
from emofeedback.domain.validation.training import check_run_list, check_run_name, check_run_request, check_watch

__all__ = [
    "check_assessment",
    "check_comparison",
    "check_conversations",
    "check_descriptions",
    "check_generation_request",
    "check_gradient_request",
    "check_loss_request",
    "check_most",
    "check_optimization_request",
    "check_pictures",
    "check_question",
    "check_questions",
    "check_reasoning",
    "check_run_list",
    "check_run_name",
    "check_run_request",
    "check_scoring",
    "check_streamed_image",
    "check_trajectory_request",
    "check_update_request",
    "check_user",
    "check_watch",
    "emotion_point",
    "target_from",
    "target_point",
]
