"""`emofeedback-train evaluate eemo-bench`: a model's answers to EEmo-Bench."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

from emofeedback.domain.assessment import Judge
from emofeedback.domain.errors import InvalidRequest
from emofeedback_trainer.evaluation.adjudication import ROUNDS, adjudicated
from emofeedback_trainer.evaluation.answering import answer
from emofeedback_trainer.evaluation.eemo_bench import Scores, clear_questions, score
from emofeedback_trainer.evaluation.eemo_bench_answers import Answers, read_answers
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

_EXAMPLES = """examples:
  emofeedback-train evaluate eemo-bench --responses eemo_bench_pair_gpt-4o.json --json
                                        accuracy on the closed questions of a published answer file
  emofeedback-train evaluate eemo-bench --responses mine.json --truth eemo_bench_single.json
                                        ranking score and V-A-D correlations of predictions by image_name
  emofeedback-train evaluate eemo-bench --questions eemo_bench_single.json --images images/ --responses ours.json \\
    --profile sd35-medium               our own judge answers first; the same command goes on where it was cut
  emofeedback-train evaluate eemo-bench --responses ours.json --by http://127.0.0.1:8000/v1 --by-model qwen3-32b
                                        a language model reads answers in prose, and marks descriptions in five rounds

Columns of an answer file: question_type, perceptual_dimension, options, correct_answer, response; or image_name with
judge_response, choose_response, predict_emotion_list, valence_predict, arousal_predict, dominance_predict,
open_ended_response.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `emofeedback-train evaluate eemo-bench`."""
    parser.description = (
        "Score a model's answer file as EEmo-Bench does: closed questions by the chosen option, rankings of emotions, "
        "correlations of valence, arousal and dominance. With --questions and --images our own judge writes the file. "
        "With --by a language model reads the answers to closed questions, beside the rule, and marks the descriptions."
    )
    parser.epilog = _EXAMPLES
    parser.add_argument("--responses", type=Path, required=True, help="the answer file (JSON)")
    parser.add_argument("--truth", type=Path, help="the ground truth of single images, where the answers don't hold it")
    parser.add_argument("--questions", type=Path, help="a file of the benchmark, to be answered by our own judge")
    parser.add_argument("--images", type=Path, help="folder of the benchmark's pictures; with --questions")
    add_judge_options(parser)
    add_language_model_options(parser)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of marks, with --by (default: {ROUNDS})")
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Scores and prints.

    Raises:
        InvalidRequest: an option or a file is refused; file, row and column are named.
        EmoFeedbackError: our own judge or the language model can't be had, or failed.
    """
    if (arguments.questions is None) != (arguments.images is None):
        raise InvalidRequest.of("questions", "and images belong together: what is asked, and about which pictures")
    if arguments.rounds < 1:
        raise InvalidRequest.of("rounds", f"is {arguments.rounds}, it must be 1 or more")
    if arguments.by != OUR_JUDGE:
        language_model(arguments, None)  # refused before a judge is loaded and has answered for an hour
    needs_judge = arguments.questions or arguments.by == OUR_JUDGE
    running = engines_of(arguments).judge() if needs_judge else nullcontext(None)
    answers, scores, models = asyncio.run(_measured(arguments, running))
    files = [path for path in (arguments.responses, arguments.truth) if path]
    provenance = Provenance(
        command=this_command(),
        seed=arguments.seed,
        models=models,
        data=tuple(Data(name=path.name, digest=file_digest(path), n=answers.rows) for path in files),
    )
    present(arguments, content=scores.to_json(provenance), table=scores.to_markdown(provenance))


async def _measured(
    arguments: argparse.Namespace, running: AbstractAsyncContextManager[Judge | None]
) -> tuple[Answers, Scores, tuple[Model, ...]]:
    async with running as judge:
        if arguments.questions and judge:
            await answer(judge, arguments.questions, arguments.images, arguments.responses, limit=arguments.limit)
            models = [Model.of("judge", await judge.model())]
        else:
            models = [Model(role="answers", name=arguments.responses.stem, digest="")]
        answers = read_answers(arguments.responses, arguments.truth)
        reader = language_model(arguments, judge)
        if reader is None:
            return answers, score(answers, seed=arguments.seed), tuple(models)
        models.append(Model.of("language model", await reader.model()))
        found = await matched(reader, clear_questions(answers))
        marked = await adjudicated(reader, answers.descriptions, rounds=arguments.rounds, seed=arguments.seed)
        answers = replace(answers, descriptions=tuple(marked))
        return answers, score(answers, matched=found, seed=arguments.seed), tuple(models)
