"""`emofeedback-train flow-grpo-evaluate`: what a policy has learned, measured on pairs that it never trained on.

Forty-eight held-out pairs of a neutral prompt and a target, four pictures each, painted in one round without textual
feedback, by the profile's own steps and guidance; the base paints the same seeds. The independent judge looks,
which neither rewards nor chooses.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.generation import ModelInfo
from emofeedback.domain.limits import BASE_POLICY
from emofeedback.generator.policy_store import PolicyStore
from emofeedback.in_process import local, silence_libraries
from emofeedback.observability.console import say
from emofeedback.profiles.overrides import load_profile
from emofeedback.profiles.profile import Profile
from emofeedback.storage.files import write_json, write_whole
from emofeedback_trainer.evaluation import ablation
from emofeedback_trainer.evaluation import policy_comparison as comparison
from emofeedback_trainer.evaluation.observations import look_at
from emofeedback_trainer.evaluation.pairs import EVALUATION_PAIRS, Pair
from emofeedback_trainer.evaluation.plane_picture import plane_picture
from emofeedback_trainer.nano.models.independent_judge import load_independent_judge

IMAGES = 4
"""Pictures a pair."""
_FIRST_SEED = 900_000

_EXAMPLES = """examples:
  emofeedback-train flow-grpo-evaluate
                                        the profile's own default policy
  emofeedback-train flow-grpo-evaluate --policy nano-final --policies runs/nano/policies --out runs/nano/evaluation
                                        a trained one; keeps table.md, figures.json and plane.png
  emofeedback-train flow-grpo-evaluate --policy nano-final --policies runs/nano/policies --out runs/nano/evaluation \\
    --ablation                          base, reward feedback, textual feedback, both: three rounds of eight for every
                                        pair, twice; the same command goes on where it was cut
  emofeedback-train flow-grpo-evaluate --limit 8 --json
                                        a quick look at the first eight pairs
"""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What came of it."""

    profile: str
    policy: str
    policy_digest: str
    base: ModelInfo
    steps: int
    guidance: float
    pairs: int
    rows: tuple[comparison.Row, ...]
    ablation: tuple[ablation.Row, ...] = ()

    def to_json(self, command: str) -> dict[str, Any]:
        """The content of `figures.json`."""
        return {
            "command": command,
            "profile": self.profile,
            "policy": self.policy,
            "policy_digest": self.policy_digest,
            "base": {"name": self.base.name, "digest": self.base.digest},
            "steps": self.steps,
            "guidance": self.guidance,
            "pairs": self.pairs,
            "images": IMAGES,
            "figures": [{**asdict(row), "reached": row.reached} for row in self.rows],
            "ablation": [asdict(row) for row in self.ablation],
        }

    def to_markdown(self, command: str) -> str:
        """The tables, with what they were measured with."""
        parts = [
            f"`{command}`",
            f"Policy {self.policy} ({self.policy_digest[:19]}) on {self.base.name} ({self.base.digest[:19]}): "
            f"{self.pairs} held-out pairs, {IMAGES} pictures each, by the profile's {self.steps} steps and guidance "
            f"{self.guidance:g}, one round, no textual feedback; feelings and subjects "
            "as the independent judge sees them.",
            comparison.markdown(self.rows),
        ]
        return "\n\n".join(parts + ([ablation.markdown(self.ablation)] if self.ablation else []))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `emofeedback-train flow-grpo-evaluate`."""
    parser.description = (
        "Measure a policy on 48 held-out pairs of a neutral prompt and a target, beside the base at the same seeds and "
        "beside always painting the middle of the plane. The independent judge knows the nano world only."
    )
    parser.epilog = _EXAMPLES
    parser.add_argument("--policy", help="name of the policy; default: the profile's own")
    parser.add_argument("--policies", help="folder or fsspec URI of the store that holds it; default: the profile's")
    parser.add_argument(
        "--profile", default="nano", help="a profile of the nano world, or a .toml file (default: nano)"
    )
    parser.add_argument("--out", type=Path, help="folder for table.md, figures.json, plane.png and the ablation's runs")
    parser.add_argument("--ablation", action="store_true", help="reward and textual feedback apart; needs --out; slow")
    parser.add_argument("--limit", type=int, default=len(EVALUATION_PAIRS), help="measure only so many pairs")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Measures and prints.

    Raises:
        InvalidRequest: no such profile, no policy named, or a number out of its range.
        EmoFeedbackError: the policy can't be had or does not fit.
    """
    profile = _profile(arguments)
    pairs = EVALUATION_PAIRS[: arguments.limit]
    silence_libraries()
    found = asyncio.run(evaluate(profile, pairs, out=arguments.out, with_ablation=arguments.ablation))
    command = "emofeedback-train " + shlex.join(sys.argv[1:])
    table = found.to_markdown(command)
    if arguments.out:
        write_whole(arguments.out / "table.md", f"{table}\n".encode(errors="backslashreplace"))
        write_json(arguments.out / "figures.json", found.to_json(command))
    say(json.dumps(found.to_json(command), indent=2) if arguments.json else table)


async def evaluate(
    profile: Profile, pairs: Sequence[Pair], *, out: Path | None = None, with_ablation: bool = False
) -> Evaluation:
    """Measures the profile's default policy; with `out`, leaves `plane.png` there, and the ablation's runs.

    Raises:
        EmoFeedbackError: as engines raise.
    """
    policy, independent = profile.generator.policy, load_independent_judge()
    async with local(profile) as engines:
        generator, judge = engines.generator, engines.judge
        measured = []
        for name in (policy, BASE_POLICY):
            say(f"painting {len(pairs)} pairs by {name}", sys.stderr)
            groups = await look_at(
                pairs,
                images=IMAGES,
                first_seed=_FIRST_SEED,
                policy=name,
                generator=generator,
                judge=judge,
                independent=independent,
            )
            measured.append(comparison.measured(pairs, groups))
        if out is not None:
            picture = await plane_picture(pairs[0].prompt, policy, generator=generator, judge=judge)
            write_whole(out / "plane.png", picture)
        runs: list[ablation.Row] = []
        if with_ablation and out is not None:
            runs = await ablation.measure(
                pairs,
                policy,
                out / "ablation",
                profile=profile,
                generator=generator,
                judge=judge,
                independent=independent,
            )
        return Evaluation(
            profile=profile.name,
            policy=policy,
            policy_digest=PolicyStore(profile.generator.policies).manifest(policy).digest,
            base=await generator.model(),
            steps=profile.generator.steps,
            guidance=profile.generator.guidance,
            pairs=len(pairs),
            rows=tuple(comparison.compare(pairs, *measured)),
            ablation=tuple(runs),
        )


def _profile(arguments: argparse.Namespace) -> Profile:
    """The profile with the asked-for policy as its default."""
    if not 2 <= arguments.limit <= len(EVALUATION_PAIRS):
        raise InvalidRequest.of("limit", f"is {arguments.limit}, it must lie in [2, {len(EVALUATION_PAIRS)}]")
    if arguments.ablation and arguments.out is None:
        raise InvalidRequest.of("out", "is missing, the ablation keeps its runs there")
    profile = load_profile(arguments.profile)
    store = arguments.policies or profile.generator.policies
    policy = arguments.policy or ("" if arguments.policies else profile.generator.policy)
    if not policy:
        raise InvalidRequest.of("policy", "is missing, and the profile paints with none of its own")
    return replace(profile, generator=replace(profile.generator, policies=store, policy=policy))
