"""`emofeedback-train evaluate eemo-bench`: a model's answers to EEmo-Bench."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from emofeedback.domain.assessment import Judge
from emofeedback.domain.errors import InvalidRequest
from emofeedback_trainer.evaluation.answering import answer
from emofeedback_trainer.evaluation.eemo_bench import read_answers, score
from emofeedback_trainer.evaluation.output import add_judge_options, add_output_options, engines_of, present
from emofeedback_trainer.evaluation.provenance import Data, Model, Provenance, file_digest, this_command

_EXAMPLES = """examples:
  emofeedback-train evaluate eemo-bench --responses eemo_bench_pair_gpt-4o.json --json
                                        accuracy on the closed questions of a published answer file
  emofeedback-train evaluate eemo-bench --responses mine.json --truth eemo_bench_single.json
                                        ranking score and V-A-D correlations of predictions by image_name
  emofeedback-train evaluate eemo-bench --questions eemo_bench_single.json --images images/ --responses ours.json \\
    --profile sd35-medium               our own judge answers first; the same command goes on where it was cut

Columns of an answer file: question_type, perceptual_dimension, options, correct_answer, response; or image_name with
judge_response, choose_response, predict_emotion_list, valence_predict, arousal_predict, dominance_predict.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `emofeedback-train evaluate eemo-bench`."""
    parser.description = (
        "Score a model's answer file as EEmo-Bench does: closed questions by the chosen option, rankings of emotions, "
        "correlations of valence, arousal and dominance. With --questions and --images our own judge writes the file."
    )
    parser.epilog = _EXAMPLES
    parser.add_argument("--responses", type=Path, required=True, help="the answer file (JSON)")
    parser.add_argument("--truth", type=Path, help="the ground truth of single images, where the answers don't hold it")
    parser.add_argument("--questions", type=Path, help="a file of the benchmark, to be answered by our own judge")
    parser.add_argument("--images", type=Path, help="folder of the benchmark's pictures; with --questions")
    add_judge_options(parser)
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Scores and prints.

    Raises:
        InvalidRequest: an option or a file is refused; file, row and column are named.
        EmoFeedbackError: our own judge can't be had, or failed.
    """
    models: tuple[Model, ...] = ()
    if (arguments.questions is None) != (arguments.images is None):
        raise InvalidRequest.of("questions", "and images belong together: what is asked, and about which pictures")
    if arguments.questions:
        models = (asyncio.run(_answered(arguments, engines_of(arguments).judge())),)
    answers = read_answers(arguments.responses, arguments.truth)
    scores = score(answers, seed=arguments.seed)
    files = [path for path in (arguments.responses, arguments.truth) if path]
    provenance = Provenance(
        command=this_command(),
        seed=arguments.seed,
        models=models or (Model(role="answers", name=arguments.responses.stem, digest=""),),
        data=tuple(Data(name=path.name, digest=file_digest(path), n=answers.rows) for path in files),
    )
    present(arguments, content=scores.to_json(provenance), table=scores.to_markdown(provenance))


async def _answered(arguments: argparse.Namespace, running: AbstractAsyncContextManager[Judge]) -> Model:
    async with running as judge:
        await answer(judge, arguments.questions, arguments.images, arguments.responses, limit=arguments.limit)
        return Model.of("judge", await judge.model())
