"""`emofeedback-train evaluate judge`: a judge on a data set."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, get_args

from emofeedback.domain.assessment import Judge
from emofeedback.domain.errors import InvalidRequest
from emofeedback_trainer.data.reading import LAYOUTS, read
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.data.storage import read_split
from emofeedback_trainer.evaluation.confidence import Sampling
from emofeedback_trainer.evaluation.going_on import claim
from emofeedback_trainer.evaluation.judge import JudgeMetrics, Way, judge_metrics, look
from emofeedback_trainer.evaluation.output import add_judge_options, add_output_options, engines_of, present
from emofeedback_trainer.evaluation.provenance import Data, Model, Provenance, digests, samples_digest, this_command

_EXAMPLES = """examples:
  emofeedback-train evaluate judge data/scenes
                                        the embedded judge on the test split of a folder made by `data`
  emofeedback-train evaluate judge data/scenes --way aloud --validation val --json
                                        reasoning aloud, with a temperature fitted on the split val
  emofeedback-train evaluate judge data/scenes --way sampled --replies 8 --limit 100
                                        most of eight sampled replies, their agreement as confidence
  emofeedback-train evaluate judge oasis/ --layout oasis --profile sd35-medium --out runs/oasis
                                        the full-size judge on a data set in its published layout; the same command
                                        goes on where it was cut
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `emofeedback-train evaluate judge`."""
    parser.description = (
        "A judge's errors and correlations on valence, arousal and dominance, its accuracy on emotions, how well "
        "their shares rank them, with --ranking its own ranking, and whether its confidence can be believed. Keeps "
        "table.md, metrics.json, and what was seen of each picture, from which a cut measurement goes on."
    )
    parser.epilog = _EXAMPLES
    parser.add_argument("data", type=Path, help="folder of the data")
    parser.add_argument(
        "--layout", choices=LAYOUTS, help="the published layout of the folder; default: that of `data`'s own folders"
    )
    parser.add_argument("--split", help="the split to measure on (default: test, or a published data set's all)")
    parser.add_argument("--validation", metavar="SPLIT", help="fit a temperature of the confidence on this split")
    parser.add_argument("--way", choices=get_args(Way), default="short", help="how the judge looks (default: short)")
    parser.add_argument("--replies", type=int, default=8, help="replies a picture, for --way sampled (default: 8)")
    parser.add_argument("--temperature", type=float, default=0.7, help="of the sampled replies (default: 0.7)")
    parser.add_argument("--ranking", action="store_true", help="ask for a ranking of emotions, where the data has them")
    add_judge_options(parser)
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Measures and prints.

    Raises:
        InvalidRequest: an option or the data is refused, before any model is loaded; or the folder's measurement was
            begun otherwise.
        EmoFeedbackError: the judge can't be had, or failed.
    """
    engines = engines_of(arguments)
    if arguments.replies < 2:
        raise InvalidRequest.of("replies", f"is {arguments.replies}, agreement needs 2 or more")
    samples = _samples(arguments, arguments.split)
    validation = _samples(arguments, arguments.validation) if arguments.validation else []
    if {sample.id for sample in samples} & {sample.id for sample in validation}:
        raise InvalidRequest.of("validation", "shares samples with the split that is measured on")
    data = tuple(
        Data(name=f"{arguments.data.name}{which}", digest=samples_digest(some), n=len(some))
        for which, some in (("", samples), (" (validation)", validation))
        if some
    )
    options = ("profile", "split", "validation", "limit", "way", "replies", "temperature", "seed", "ranking")
    settings = {name: getattr(arguments, name) for name in options}
    settings |= {"data": [one.digest for one in data]}
    metrics, judge = asyncio.run(_measured(arguments, engines.judge(), samples, validation, settings))
    provenance = Provenance(command=this_command(), seed=arguments.seed, models=(judge,), data=data)
    present(arguments, content=metrics.to_json(provenance), table=metrics.to_markdown(provenance))


async def _measured(
    arguments: argparse.Namespace,
    running: AbstractAsyncContextManager[Judge],
    samples: Sequence[Sample],
    validation: Sequence[Sample],
    settings: Mapping[str, Any],
) -> tuple[JudgeMetrics, Model]:
    sampling = Sampling(replies=arguments.replies, temperature=arguments.temperature, seed=arguments.seed)
    async with running as judge:
        model, out = Model.of("judge", await judge.model()), arguments.out
        claim(out, {**settings, "digest": digests([model])})
        kept = out and out / "validation.jsonl"
        before = await look(judge, validation, arguments.way, sampling, kept=kept)
        kept = out and out / "seen.jsonl"
        seen = await look(judge, samples, arguments.way, sampling, with_ranking=arguments.ranking, kept=kept)
        return judge_metrics(seen, validation=before, seed=arguments.seed), model


def _samples(arguments: argparse.Namespace, split: str | None) -> list[Sample]:
    """The first samples of a split, as many as asked for."""
    if arguments.layout is None:
        return read_split(arguments.data, split or "test")[: arguments.limit]
    found = read(arguments.layout, arguments.data).samples
    chosen = [sample for sample in found if split is None or sample.split == split][: arguments.limit]
    if not chosen:
        raise InvalidRequest.of("split", f"{split!r} holds no sample of {arguments.data}")
    return chosen
