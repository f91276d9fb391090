"""`emofeedback-train evaluate questions`: closed questions on pictures, answered by our own judge or by any model."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

from emofeedback.domain.assessment import Judge
from emofeedback.domain.errors import InvalidRequest
from emofeedback.observability.console import say
from emofeedback_trainer.data.reading import LAYOUTS, read
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.evaluation.language_model import Remembering
from emofeedback_trainer.evaluation.matching import matched
from emofeedback_trainer.evaluation.output import (
    OUR_JUDGE,
    add_judge_options,
    add_language_model_options,
    add_output_options,
    engines_of,
    language_model,
    present,
)
from emofeedback_trainer.evaluation.provenance import Data, Model, Provenance, file_digest, this_command
from emofeedback_trainer.evaluation.question_scores import QuestionScores, score, with_key
from emofeedback_trainer.evaluation.questions import ask, questions_of, read_answered

_EXAMPLES = """examples:
  emofeedback-train evaluate questions --responses merged.jsonl
                                        EmoCaliber's results on VECBench: accuracy, F1, ECE, Brier score, ROC AUC
  emofeedback-train evaluate questions --source vecbench VECBench/ --responses ours.jsonl --profile sd35-medium
                                        our own judge answers first; the same command goes on where it was cut
  emofeedback-train evaluate questions --source artemis ArtEmis/ --source artphoto ArtPhoto/ --source uniaa UNIAA/ \\
    --source aesbench AesBench/ --skip-bad --topic artemis artphoto sentiment AesE --responses ours.jsonl
                                        EEmo-Logic's cross-domain table; AesBench's authors keep their answers
  emofeedback-train evaluate questions --source uniaa UNIAA/ --topic sentiment --responses ours.jsonl \\
    --by http://127.0.0.1:8000/v1 --by-model qwen3-32b
                                        a language model reads the answers that are more than an option, beside the rule

A file of answers has JSON lines with task, question, candidates, ground_truth, response and perhaps confidence.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `emofeedback-train evaluate questions`."""
    parser.description = (
        "Score answers to closed questions by what is asked after; on VECBench's tasks also whether the confidence "
        "that an answer states can be believed, as EmoCaliber is measured. With sources our own judge answers first: "
        "their questions, and where a source has none, which of Mikels' eight emotions a picture is labelled with."
    )
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "--source",
        nargs=2,
        action="append",
        default=[],
        metavar=("LAYOUT", "FOLDER"),
        help=f"a data set for our own judge: its published layout, of {', '.join(LAYOUTS)}, and where it lies; give "
        "it again for more",
    )
    parser.add_argument("--skip-bad", action="store_true", help="leave bad rows of the sources out, and say which")
    parser.add_argument(
        "--topic",
        nargs="+",
        help="only the questions of these topics: sentiment, AesE (`data check` names them), or a source without "
        "questions, such as artemis",
    )
    parser.add_argument("--responses", type=Path, required=True, help="the file of answers (JSON lines)")
    parser.add_argument(
        "--replies", type=int, default=1, help="sampled ones a question; the share that agree is the confidence"
    )
    parser.add_argument("--temperature", type=float, default=0.7, help="of more than one reply (default: 0.7)")
    add_judge_options(parser)
    add_language_model_options(parser)
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Scores and prints.

    Raises:
        InvalidRequest: an option, the data or a line is refused, or no right answer is known.
        EmoFeedbackError: our own judge or the language model can't be had, or failed.
    """
    if arguments.replies < 1:
        raise InvalidRequest.of("replies", f"is {arguments.replies}, it must be 1 or more")
    if arguments.by != OUR_JUDGE:
        language_model(arguments, None)  # refused before a judge is loaded and has answered for an hour
    engines = engines_of(arguments) if arguments.source or arguments.by == OUR_JUDGE else None
    samples = _samples(arguments)
    scores, models = asyncio.run(_measured(arguments, samples, engines.judge() if engines else nullcontext(None)))
    answered = sum(one.accuracy.n for one in scores.by_topic.values()) + scores.without_key
    provenance = Provenance(
        command=this_command(),
        seed=arguments.seed,
        models=models,
        data=(Data(name=arguments.responses.name, digest=file_digest(arguments.responses), n=answered),),
    )
    present(arguments, content=scores.to_json(provenance), table=scores.to_markdown(provenance))


async def _measured(
    arguments: argparse.Namespace, samples: Sequence[Sample], running: AbstractAsyncContextManager[Judge | None]
) -> tuple[QuestionScores, tuple[Model, ...]]:
    async with running as judge:
        models = [Model(role="answers", name=arguments.responses.stem, digest="")]
        if samples and judge:
            await ask(
                Remembering(judge, arguments.responses.with_suffix(".replies.jsonl")),
                samples,
                arguments.responses,
                replies=arguments.replies,
                temperature=arguments.temperature,
            )
            models = [Model.of("judge", await judge.model())]
        answers = [one for one in read_answered(arguments.responses) if _is_asked(arguments, one.topic)]
        known = with_key(answers)
        if not known:
            raise InvalidRequest.of(
                str(arguments.responses),
                "holds no question whose right answer is known: its answers can be sent to the data's authors",
            )
        reader = language_model(arguments, judge)
        if reader is None:
            return score(answers, seed=arguments.seed), tuple(models)
        models.append(Model.of("language model", await reader.model()))
        return score(answers, matched=await matched(reader, known), seed=arguments.seed), tuple(models)


def _samples(arguments: argparse.Namespace) -> list[Sample]:
    """The sources' pictures with the questions that are to be asked, as many of each source as `--limit` says."""
    samples: list[Sample] = []
    for name, folder in arguments.source:
        reading = read(name, Path(folder), skip_bad=arguments.skip_bad)
        for bad in reading.skipped:
            say(f"left out: {name} {bad}", sys.stderr)
        asked = [
            replace(sample, questions=questions)
            for sample in reading.samples
            if (questions := tuple(one for one in questions_of(sample) if _is_asked(arguments, one.topic)))
        ]
        if not asked:
            topics = f"about {', '.join(arguments.topic)}" if arguments.topic else "and names no emotion of a picture"
            raise InvalidRequest.of(f"source {name}", f"asks no closed question {topics}")
        samples += asked[: arguments.limit]
    return samples


def _is_asked(arguments: argparse.Namespace, topic: str) -> bool:
    return arguments.topic is None or topic in arguments.topic
