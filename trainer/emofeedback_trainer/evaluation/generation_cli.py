"""`emofeedback-train evaluate generation`: a generator with and without each feedback."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.errors import InvalidRequest
from emofeedback.in_process import silence_libraries
from emofeedback.observability.console import say
from emofeedback.profiles.overrides import load_profile
from emofeedback_trainer.core.pairs import Pair
from emofeedback_trainer.core.task import Task, load_task
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.data.storage import read_split
from emofeedback_trainer.evaluation.output import add_output_options, add_policy_options, policy_profile, present
from emofeedback_trainer.evaluation.provenance import Data, Provenance, samples_digest, this_command

_SCORERS = ("clip", "aesthetic", "pick", "pick_processor")

_EXAMPLES = """examples:
  emofeedback-train evaluate generation --out runs/four
                                        the embedded models on 48 held-out pairs: base, reward feedback, textual
                                        feedback, both; the same command goes on where it was cut
  emofeedback-train evaluate generation --policy nano-000062 --policies runs/nft/policies --limit 12 --out runs/nft12
                                        another policy, on the first twelve pairs
  emofeedback-train evaluate generation --profile sd35-medium --data data/emoset --split test \\
    --independent other-judge.toml --policy emo-1000 --policies s3://bucket/policies --out runs/emoset
                                        the paper's setting: neutral captions of a test split, and another judge's
                                        profile as the independent one
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `emofeedback-train evaluate generation`."""
    parser.description = (
        "Base, reward feedback (a policy), textual feedback (the loop) and both, three rounds of eight pictures for "
        "every pair of prompt and target: V-Error and A-Error by the judge and by an independent one, CLIP-Score, "
        "CLIP-IQA, aesthetic score and PickScore. Keeps table.md, metrics.json, plane.png (one prompt all over the "
        "plane), errors.png (where on the plane each way misses), and the runs and seen/, from which a cut measurement "
        "goes on."
    )
    parser.epilog = _EXAMPLES
    add_policy_options(parser)
    parser.add_argument("--data", type=Path, help="a folder made by `data`: its neutral prompts with their V and A")
    parser.add_argument("--split", default="test", help="of --data (default: test)")
    parser.add_argument(
        "--independent",
        metavar="PROFILE",
        help="the second opinion: a profile with another judge; default: the task's independent judge",
    )
    for name in _SCORERS:
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            help="checkpoint (hub id or folder) instead of the usual one; empty: leave that score out",
        )
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Measures and prints.

    Raises:
        InvalidRequest: an option or the data is refused, before any model is loaded; or the folder's measurement was
            begun otherwise.
        FailedPrecondition: a model can't be had, or the folder holds runs of other models.
        EmoFeedbackError: a run failed; the finished ones are kept.
    """
    if arguments.out is None:
        raise InvalidRequest.of("out", "is missing: the runs are kept there")
    profile, task = policy_profile(arguments), load_task(arguments.task)
    if arguments.independent is None and not task.knows(profile.generator.checkpoint):
        raise InvalidRequest.of(
            "independent",
            f"is missing: {arguments.task} has no judge of this generator's pictures, name another profile",
        )
    pairs, data = _pairs(arguments, task)
    silence_libraries()
    from emofeedback_trainer.evaluation.generation import to_json, to_markdown
    from emofeedback_trainer.evaluation.generation_run import checkpoints_of, measure

    named = {name: getattr(arguments, name) for name in _SCORERS if getattr(arguments, name) is not None}
    ways, models = measure(
        pairs,
        profile=profile,
        task=task,
        independent=load_profile(arguments.independent) if arguments.independent else None,
        checkpoints=replace(checkpoints_of(profile), **named),
        data=data.name,
        out=arguments.out,
        seed=arguments.seed,
    )
    provenance = Provenance(command=this_command(), seed=arguments.seed, models=models, data=(data,))
    present(arguments, content=to_json(ways, provenance), table=to_markdown(ways, provenance))
    say(f"Pictures: {arguments.out / 'plane.png'}, {arguments.out / 'errors.png'}", sys.stderr)


def _pairs(arguments: argparse.Namespace, task: Task) -> tuple[Sequence[Pair], Data]:
    """What is asked for, and its name and hash."""
    if arguments.data is None:
        held_out = task.evaluation[: arguments.limit]
        return held_out, Data.of_pairs(task.name, held_out)
    samples = [sample for sample in read_split(arguments.data, arguments.split) if _is_asked_for(sample)]
    samples = samples[: arguments.limit]
    if len(samples) < 2:
        raise InvalidRequest.of("data", f"{arguments.data} has fewer than two samples with neutral prompt, V and A")
    pairs = [
        Pair(prompt=one.neutral_prompt, target=AffectPoint(one.valence, one.arousal))
        for one in samples
        if one.valence is not None and one.arousal is not None
    ]
    return pairs, Data(name=f"{arguments.data.name}, {arguments.split}", digest=samples_digest(samples), n=len(samples))


def _is_asked_for(sample: Sample) -> bool:
    return bool(sample.neutral_prompt) and sample.valence is not None and sample.arousal is not None
