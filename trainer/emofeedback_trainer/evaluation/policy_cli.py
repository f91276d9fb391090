"""`emofeedback-train evaluate policy`: what a policy has learned, measured on pairs that it never trained on.

Held-out pairs of a neutral prompt and a target, four pictures each, generated in one round without textual feedback, by
a policy's own steps and guidance, else the profile's; the base has the same seeds. The task's independent judge looks,
which neither rewards nor chooses.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from emofeedback.domain.assessment import Judge
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.generation import Generator
from emofeedback.domain.limits import BASE_POLICY
from emofeedback.generator.policy_store import PolicyStore, Sampling
from emofeedback.observability.console import say
from emofeedback.profiles.profile import Profile
from emofeedback.storage.files import write_keeping
from emofeedback_trainer.core.pairs import Pair
from emofeedback_trainer.core.task import IndependentJudge, load_task
from emofeedback_trainer.evaluation import policy as comparison
from emofeedback_trainer.evaluation.going_on import KeptPictures, claim, of_profile
from emofeedback_trainer.evaluation.observations import look_at
from emofeedback_trainer.evaluation.output import (
    add_output_options,
    add_policy_options,
    policy_profile,
    present,
    with_engines,
)
from emofeedback_trainer.evaluation.plane_picture import plane_picture
from emofeedback_trainer.evaluation.provenance import Data, Model, Provenance, digests, plain, this_command

IMAGES = 4
"""Pictures a pair."""
_FIRST_SEED = 900_000

_EXAMPLES = """examples:
  emofeedback-train evaluate policy     the profile's own default policy
  emofeedback-train evaluate policy --policy nano-final --policies runs/nano/policies --out runs/nano/evaluation
                                        a trained one; the same command goes on where it was cut
  emofeedback-train evaluate policy --task my_world.task:TASK --profile mine.toml
                                        on the held-out pairs of a task of one's own
  emofeedback-train evaluate policy --limit 8 --json
                                        a quick look at the first eight pairs
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `emofeedback-train evaluate policy`."""
    parser.description = (
        "Measure a policy on a task's held-out pairs of a neutral prompt and a target, beside the base at the same "
        "seeds and beside always aiming at the middle of the plane, by the task's independent judge. Keeps table.md, "
        "metrics.json, plane.png and the pictures, from which a cut measurement goes on."
    )
    parser.epilog = _EXAMPLES
    add_policy_options(parser)
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Measures and prints.

    Raises:
        InvalidRequest: no such profile or task, no policy named, or a number out of its range; or the folder's
            measurement was begun otherwise.
        EmoFeedbackError: the policy can't be had or does not fit.
    """
    profile = policy_profile(arguments)
    if not profile.generator.policy:
        raise InvalidRequest.of("policy", "is missing, and the profile has none of its own")
    task = load_task(arguments.task)
    pairs = task.evaluation[: arguments.limit]
    independent = task.independent(profile.generator.checkpoint)
    if independent is None:
        raise InvalidRequest.of("task", f"{arguments.task!r} has no independent judge of this generator's pictures")
    data = Data.of_pairs(task.name, pairs)

    async def measured(generator: Generator, judge: Judge) -> tuple[list[comparison.Row], tuple[Model, ...]]:
        models = (
            Model.of_generator(await generator.model(), profile.generator),
            Model.of("judge", await judge.model()),
            Model.of("independent judge", independent.info),
        )
        claim(
            arguments.out,
            {
                **of_profile(profile),
                "task": task.name,
                "limit": arguments.limit,
                "digest": digests(models, policy=models[0].policy_digest, data=data.digest),
            },
        )
        rows = await measure(
            pairs,
            profile.generator.policy,
            generator=generator,
            judge=judge,
            independent=independent,
            out=arguments.out,
            seed=arguments.seed,
        )
        return rows, models

    rows, models = with_engines(profile, measured)
    provenance = Provenance(command=this_command(), seed=arguments.seed, models=models, data=(data,))
    own = own_sampling(profile)
    present(
        arguments, content=to_json(rows, profile, provenance, own), table=to_markdown(rows, profile, provenance, own)
    )


def own_sampling(profile: Profile) -> Sampling | None:
    """How the profile's policy, which is there, wants to be painted with; None: as the profile says."""
    policy, store = profile.generator.policy, profile.generator.policies
    return PolicyStore(store).manifest(policy).sampling if policy != BASE_POLICY else None


async def measure(
    pairs: Sequence[Pair],
    policy: str,
    *,
    generator: Generator,
    judge: Judge,
    independent: IndependentJudge,
    out: Path | None = None,
    seed: int = 0,
) -> list[comparison.Row]:
    """Measures a policy against the base; with `out`, leaves `plane.png` and the pictures there, and goes on with those
    that are there.

    Raises:
        EmoFeedbackError: as generator and judge raise, or a file can't be written.
    """
    measured = []
    for name in (policy, BASE_POLICY):
        say(f"generating for {len(pairs)} pairs by {name}", sys.stderr)
        groups = await look_at(
            pairs,
            images=IMAGES,
            first_seed=_FIRST_SEED,
            policy=name,
            generator=generator,
            judge=judge,
            independent=independent,
            kept=KeptPictures(out),
        )
        measured.append(comparison.measured(pairs, groups))
    if out is not None:
        write_keeping(out / "plane.png", await plane_picture(pairs[0].prompt, policy, generator=generator, judge=judge))
    return comparison.compare(pairs, *measured, seed=seed)


def to_json(
    rows: Sequence[comparison.Row], profile: Profile, provenance: Provenance, own: Sampling | None = None
) -> dict[str, Any]:
    """As `--json` prints it, with the policy's own sampling where it has one."""
    steps, guidance = _sampling(profile, own)
    content: dict[str, Any] = plain(
        {
            "profile": profile.name,
            "steps": steps,
            "guidance": guidance,
            "base_steps": profile.generator.steps,
            "base_guidance": profile.generator.guidance,
            "images": IMAGES,
            "metrics": [{**asdict(row), "reached": row.reached} for row in rows],
            "provenance": provenance,
        }
    )
    return content


def to_markdown(
    rows: Sequence[comparison.Row], profile: Profile, provenance: Provenance, own: Sampling | None = None
) -> str:
    """The table, with what it was measured with."""
    (steps, guidance), settings = _sampling(profile, own), profile.generator
    note = (
        f"{IMAGES} pictures a pair, {settings.policy} in {steps} steps and guidance {guidance:g}, {BASE_POLICY} in "
        f"{settings.steps} steps and guidance {settings.guidance:g}, one round, "
        "no textual feedback; feelings and subjects as the independent judge sees them."
    )
    return "\n".join([comparison.markdown(rows), "", note, "", provenance.to_markdown()])


def _sampling(profile: Profile, own: Sampling | None) -> tuple[int, float]:
    """The policy's steps and guidance."""
    return (len(own.levels), own.guidance) if own else (profile.generator.steps, profile.generator.guidance)
