"""`emofeedback-train fuse-evaluate`: what a fused policy's tokens are worth, beside all that it has to beat."""

from __future__ import annotations

import argparse
from pathlib import Path

from emofeedback.domain.errors import InvalidRequest
from emofeedback.in_process import silence_libraries
from emofeedback.profiles.overrides import load_profile
from emofeedback.storage.files import write_keeping
from emofeedback_trainer.core.task import load_task
from emofeedback_trainer.evaluation.output import add_output_options, present
from emofeedback_trainer.evaluation.provenance import Data, Model, Provenance, plain, this_command

_EXAMPLES = """examples:
  emofeedback-train fuse-evaluate       the profile's own policy, if it is a fused one
  emofeedback-train fuse-evaluate --run runs/fused --numbers runs/numbers --out runs/fused/evaluation
                                        a new one, and beside it the one without a judge; keeps table.md, metrics.json
                                        and pictures.png
  emofeedback-train fuse-evaluate --run runs/fused --task nano-fresh --json
                                        on pairs that nothing was ever tried on
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `emofeedback-train fuse-evaluate`."""
    parser.description = (
        "Measure a fused policy in one pass on a task's held-out pairs: with imagined tokens, with those of a picture, "
        "with another pair's and with none, beside the base and the released policy with the target's numbers in the "
        "prompt, the target's numbers through a network, and the imagination in words."
    )
    parser.epilog = _EXAMPLES
    parser.add_argument("--run", dest="fused", type=Path, help="folder of a fusion; default: the profile's own policy")
    parser.add_argument("--numbers", type=Path, help='folder of a fusion with states = "numbers", to compare')
    parser.add_argument("--released", help="the policy to beat, in the profile's store; default: the profile's own")
    parser.add_argument("--profile", default="nano", help="a built-in profile or a .toml file (default: nano)")
    parser.add_argument("--task", default="nano", help="whose held-out pairs are asked for (default: nano)")
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Measures and prints.

    Raises:
        InvalidRequest: no such profile or task, or a task without an independent judge.
        EmoFeedbackError: a policy or the judge can't be had, or they do not fit.
    """
    if arguments.limit is not None and arguments.limit < 2:
        raise InvalidRequest.of("limit", f"is {arguments.limit}, it must be 2 or more")
    profile = load_profile(arguments.profile)
    task = load_task(arguments.task)
    pairs = task.evaluation[: arguments.limit]
    independent = task.independent(profile.generator.checkpoint)
    if independent is None:
        raise InvalidRequest.of("task", f"{arguments.task!r} has no independent judge of this generator's pictures")
    silence_libraries()
    from emofeedback_trainer.fusion import evaluation
    from emofeedback_trainer.fusion.evaluation_run import IMAGES, FusedPolicy, paint_all
    from emofeedback_trainer.fusion.states import JudgeReasoner

    own = profile.generator
    fused = FusedPolicy.of_run(arguments.fused) if arguments.fused else FusedPolicy.found(own.policies, own.policy)
    groups = paint_all(
        pairs,
        profile,
        fused,
        released=arguments.released or own.policy,
        tell=task.tell,
        numbers=arguments.numbers,
        load_judge=JudgeReasoner,
    )
    painted = {way: evaluation.seen(pairs, some, independent) for way, some in groups.items()}
    rows = evaluation.compare(painted, seed=arguments.seed)
    provenance = Provenance(
        command=this_command(),
        seed=arguments.seed,
        models=(
            Model(role="fused policy", name=fused.name, digest=fused.digest),
            Model.of("judge", fused.fusion.judge),
            Model.of("independent judge", independent.info),
        ),
        data=(Data.of_pairs(task.name, pairs),),
    )
    if arguments.out:
        write_keeping(arguments.out / "pictures.png", evaluation.picture_grid(groups))
    note = f"{IMAGES} pictures a pair in one pass; feelings and subjects as the independent judge sees them."
    present(
        arguments,
        content=plain({"ways": rows, "images": IMAGES, "provenance": provenance}),
        table="\n".join([evaluation.markdown(rows), "", note, "", provenance.to_markdown()]),
    )
