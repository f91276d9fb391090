"""`emofeedback-train evaluate loop`: the loop against luck at equal pictures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from emofeedback.domain.assessment import Judge
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.generation import Generator
from emofeedback.domain.limits import BASE_POLICY
from emofeedback.generator.preflight import check_policies
from emofeedback.observability.console import say
from emofeedback.profiles.overrides import load_profile
from emofeedback.storage.files import write_keeping
from emofeedback_trainer.core.pairs import Pair
from emofeedback_trainer.core.task import load_task
from emofeedback_trainer.evaluation import loop, loop_table
from emofeedback_trainer.evaluation.going_on import claim, of_profile
from emofeedback_trainer.evaluation.output import add_output_options, present, with_engines
from emofeedback_trainer.evaluation.provenance import (
    Data,
    Model,
    Provenance,
    digests,
    plain,
    policy_digest,
    this_command,
)

_EXAMPLES = """examples:
  emofeedback-train evaluate loop --out runs/loop
                                        the panel, base and policy, up to 24 pictures; the same command goes on where
                                        it was cut
  emofeedback-train evaluate loop --task nano-fresh --pictures 96 --out runs/loop-fresh
                                        48 further pairs, up to 96 pictures
  emofeedback-train evaluate loop --runs 3 --out runs/loop
                                        goes on with two further runs of every pair
  emofeedback-train evaluate loop --policy nano-final --policy nano-fused --imagine nano-fused --out runs/loop-fused
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `emofeedback-train evaluate loop`."""
    parser.description = (
        "Three ways to spend the same pictures: the best of n from the prompt as asked for, the best of n from one "
        "rewrite made before any picture is seen, and the loop. The judge chooses, the independent judge measures. "
        "Keeps table.md, metrics.json, loop.png and choices.jsonl, from which a cut measurement goes on."
    )
    parser.epilog = _EXAMPLES
    parser.add_argument("--profile", default="nano", help="a built-in profile or a .toml file (default: nano)")
    parser.add_argument(
        "--task",
        action="append",
        help="whose held-out pairs are asked for, may be repeated: as `prompts` of a training configuration, or "
        "nano-panel (default), nano-fresh",
    )
    parser.add_argument("--policy", action="append", help="may be repeated; default: the base and the profile's own")
    parser.add_argument(
        "--imagine",
        action="append",
        metavar="POLICY",
        help="of the policies, those that paint from what the judge imagines; may be repeated (default: as the profile "
        "says for its own)",
    )
    parser.add_argument("--pictures", type=int, choices=loop.BUDGETS, default=24, help="most spent (default: 24)")
    parser.add_argument(
        "--runs", type=int, default=1, help="of every pair, each with seeds of its own (default: 1); more can be added"
    )
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Measures and prints.

    Raises:
        InvalidRequest, NotFound: an option or a policy is refused, before any model is loaded; or the folder's
            measurement was begun otherwise.
        EmoFeedbackError: a run failed; the finished ones are kept.
    """
    if arguments.out is None:
        raise InvalidRequest.of("out", "is missing: what was measured is kept there")
    if arguments.runs < 1:
        raise InvalidRequest.of("runs", f"is {arguments.runs}, it must be 1 or more")
    profile = load_profile(arguments.profile)
    own = (profile.generator.policy,) if profile.generator.policy else ()
    policies = tuple(arguments.policy or (BASE_POLICY, *own))
    check_policies(profile.generator, policies)
    tasks = [load_task(name) for name in arguments.task or ["nano-panel"]]
    pairs: dict[int, Pair] = {}
    for task in tasks:
        pairs |= dict(enumerate(task.evaluation[: arguments.limit], task.first))
    independent = tasks[0].independent(profile.generator.checkpoint)
    if independent is None:
        raise InvalidRequest.of("task", f"{tasks[0].name} has no independent judge of this generator's pictures")
    out: Path = arguments.out

    async def measure(generator: Generator, judge: Judge) -> tuple[list[loop.Choice], tuple[Model, ...]]:
        spender = loop.Spender(
            generator=generator,
            judge=judge,
            independent=independent,
            settings=profile.optimizer,
            policies=policies,
            imagining=tuple(arguments.imagine or (own if profile.optimizer.imagine else ())),
            budgets=tuple(budget for budget in loop.BUDGETS if budget <= arguments.pictures),
            runs=arguments.runs,
        )
        maker = Model.of_generator(await generator.model(), profile.generator)
        models = (maker, Model.of("judge", await judge.model()), Model.of("independent judge", independent.info))
        # Pairs, runs, policies and pictures may be added to what is there.
        claim(
            out,
            {
                **of_profile(profile),
                "task": {str(task.first): task.name for task in tasks},
                "imagine": {policy: policy in spender.imagining for policy in spender.policies},
                "policy": {policy: policy_digest(policy, profile.generator) for policy in spender.policies},
                "digest": digests(models),
            },
        )
        choices = await spender.measure(pairs, out / "choices.jsonl", lambda choice: _report(choice, pairs))
        return choices, models

    choices, models = with_engines(profile, measure)
    asked = [choice for choice in choices if choice.task in pairs and choice.run < arguments.runs]
    cells = loop_table.standings(asked, arguments.seed)
    write_keeping(out / "loop.png", loop_table.draw(cells))
    data = tuple(Data.of_pairs(task.name, task.evaluation[: arguments.limit]) for task in tasks)
    provenance = Provenance(command=this_command(), seed=arguments.seed, models=models, data=data)
    content = {"cells": plain(cells), "provenance": plain(provenance)}
    present(arguments, content=content, table=f"{loop_table.markdown(cells)}\n\n{provenance.to_markdown()}")


def _report(choice: loop.Choice, pairs: Mapping[int, Pair]) -> None:
    say(
        f"loop: run {choice.run + 1}, pair {list(pairs).index(choice.task) + 1} of {len(pairs)}, "
        f"policy {choice.policy}, {choice.way}, {choice.pictures} pictures: error {choice.independent:.2f}",
        sys.stderr,
    )
