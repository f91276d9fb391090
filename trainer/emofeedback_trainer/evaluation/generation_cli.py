"""`emofeedback-train evaluate generation`: a generator with and without each feedback."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.limits import BASE_POLICY
from emofeedback.in_process import silence_libraries
from emofeedback.observability.console import say
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback.profiles.overrides import load_profile
from emofeedback.profiles.profile import Profile
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.data.storage import read_split
from emofeedback_trainer.evaluation.output import add_output_options, present
from emofeedback_trainer.evaluation.pairs import EVALUATION_PAIRS, Pair
from emofeedback_trainer.evaluation.provenance import Data, Provenance, samples_digest, this_command

CRITIC = "critic"
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
        "CLIP-IQA, aesthetic score and PickScore. Keeps table.md, figures.json, plane.png (one prompt all over the "
        "plane), errors.png (where on the plane each way misses) and the runs."
    )
    parser.epilog = _EXAMPLES
    parser.add_argument("--profile", default="nano", help="a built-in profile or a .toml file (default: nano)")
    parser.add_argument(
        "--policy", help=f"name of the policy; default: the profile's own; {BASE_POLICY!r}: leave reward feedback out"
    )
    parser.add_argument("--policies", help="folder or fsspec URI of the store that holds it; default: the profile's")
    parser.add_argument("--data", type=Path, help="a folder made by `data`: its neutral prompts with their V and A")
    parser.add_argument("--split", default="test", help="of --data (default: test)")
    parser.add_argument(
        "--independent",
        default=CRITIC,
        help=f"the second opinion: a profile with another judge, or {CRITIC!r}, which knows the nano world only",
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
        InvalidRequest: an option or the data is refused, before any model is loaded.
        FailedPrecondition: a model can't be had, or the folder holds runs of other models.
        EmoFeedbackError: a run failed; the finished ones are kept.
    """
    profile = _profile(arguments)
    pairs, data = _pairs(arguments)
    silence_libraries()
    from emofeedback_trainer.evaluation.generation import to_json, to_markdown
    from emofeedback_trainer.evaluation.generation_run import checkpoints_of, measure

    named = {name: getattr(arguments, name) for name in _SCORERS if getattr(arguments, name) is not None}
    ways, models = asyncio.run(
        measure(
            pairs,
            profile=profile,
            independent=None if arguments.independent == CRITIC else load_profile(arguments.independent),
            checkpoints=replace(checkpoints_of(profile), **named),
            out=arguments.out,
            seed=arguments.seed,
        )
    )
    provenance = Provenance(command=this_command(), seed=arguments.seed, models=models, data=(data,))
    present(arguments, content=to_json(ways, provenance), table=to_markdown(ways, provenance))
    say(f"Pictures: {arguments.out / 'plane.png'}, {arguments.out / 'errors.png'}", sys.stderr)


def _profile(arguments: argparse.Namespace) -> Profile:
    """The profile with the asked-for policy as its default, or with none."""
    if arguments.out is None:
        raise InvalidRequest.of("out", "is missing: the runs are kept there")
    if arguments.limit is not None and arguments.limit < 2:
        raise InvalidRequest.of("limit", f"is {arguments.limit}, it must be 2 or more")
    profile = load_profile(arguments.profile)
    if arguments.independent == CRITIC and profile.generator.checkpoint != NANO_PROFILE.generator.checkpoint:
        raise InvalidRequest.of(
            "independent", "the independent judge knows the nano world only: name a profile whose judge is another one"
        )
    store = arguments.policies or profile.generator.policies
    policy = arguments.policy or ("" if arguments.policies else profile.generator.policy)
    policy = "" if policy == BASE_POLICY else policy
    if policy and not store:
        raise InvalidRequest.of("policies", f"is missing, and the profile has no store that holds {policy!r}")
    return replace(profile, generator=replace(profile.generator, policies=store, policy=policy))


def _pairs(arguments: argparse.Namespace) -> tuple[Sequence[Pair], Data]:
    """What is painted, and its name and hash."""
    if arguments.data is None:
        held_out = EVALUATION_PAIRS[: arguments.limit]
        digest = hashlib.sha256(repr(held_out).encode()).hexdigest()
        return held_out, Data(name="held-out pairs of the nano world", digest=f"sha256:{digest}", n=len(held_out))
    samples = [sample for sample in read_split(arguments.data, arguments.split) if _is_asked_for(sample)]
    samples = samples[: arguments.limit]
    if len(samples) < 2:
        raise InvalidRequest.of("data", f"{arguments.data} has fewer than two samples with neutral prompt, V and A")
    pairs = [
        Pair(subject="", prompt=one.neutral_prompt, target=AffectPoint(one.valence, one.arousal))
        for one in samples
        if one.valence is not None and one.arousal is not None
    ]
    return pairs, Data(name=f"{arguments.data.name}, {arguments.split}", digest=samples_digest(samples), n=len(samples))


def _is_asked_for(sample: Sample) -> bool:
    return bool(sample.neutral_prompt) and sample.valence is not None and sample.arousal is not None
